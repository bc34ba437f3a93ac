"""Produces through ``taobao.tmc.messages.produce`` over HTTP. The only file that knows httpx.

What it must get right is what a failure proves. httpx tells when it begins to send a request; before that moment
nothing can have been accepted, after it anything can, whatever the exception is called:

    no connection, or the time was up before one       relay.unreachable     nothing was accepted
    the connection broke once sending had begun        relay.connection_cut  unknown
    the time was up once sending had begun             relay.timeout         unknown
    an answer                                          what relay.tmc reads in it

Connections are kept for a few seconds only: one that the platform has closed meanwhile would cost an unknown outcome.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx

from relay import __version__
from relay.message import Answer, Batch, Fault, Refused, Scope
from relay.producers import ProducerConfig
from relay.tmc.answer import UNREADABLE, read_answer
from relay.tmc.credential import Credential
from relay.tmc.request import MAX_MESSAGES, probe_body, request_body

# In texts, before JSON and form encoding make them up to three times as long. The largest message allowed fits.
MAX_BYTES = 512 * 1024
MAX_ANSWER_BYTES = 8 * 1024 * 1024
CONNECT_SECONDS = 5.0
KEEPALIVE_SECONDS = 5.0

_HEADERS = {
    "Content-Type": "application/x-www-form-urlencoded;charset=UTF-8",
    "Accept": "text/javascript,text/xml",
    "Accept-Encoding": "gzip",
    "User-Agent": f"outbox-relay/{__version__}",
}


class TmcProducer:
    def __init__(self, config: ProducerConfig) -> None:
        self.max_batch = min(config.batch_size, MAX_MESSAGES)
        self.max_bytes = MAX_BYTES
        self._config = config
        self._clients: _Clients | None = None

    async def open(self) -> None:
        if self._clients is None:
            # For the TCP and for the TLS part each. Both must end before the whole call does: a handshake that is
            # cancelled instead of timing out leaves its socket open behind it.
            self._clients = _Clients(connect_seconds=min(CONNECT_SECONDS, self._config.timeout_seconds / 3))

    async def close(self) -> None:
        clients, self._clients = self._clients, None
        if clients is not None:
            await clients.close()

    async def produce(self, batch: Batch) -> Answer:
        credential = self._config.credentials(batch.account)
        if credential is None:
            return _no_credentials(batch.account)
        body = request_body(
            credential,
            batch.messages,
            unix_seconds=self._config.now(),
            sign_method=self._config.sign_method,
            response_format=self._config.response_format,
            simplify=self._config.simplify,
        )
        answer = await self._call(body, credential, len(batch))
        if isinstance(answer, Refused):
            return replace(answer, app_key=credential.app_key, credential=credential.fingerprint)
        return answer

    async def probe(self, account: str) -> Answer:
        """What the platform says to a call without messages: code 40 where it accepts the account's credentials."""
        credential = self._config.credentials(account)
        if credential is None:
            return _no_credentials(account)
        body = probe_body(
            credential,
            unix_seconds=self._config.now(),
            sign_method=self._config.sign_method,
            response_format=self._config.response_format,
        )
        return await self._call(body, credential, 0)

    async def _call(self, body: bytes, credential: Credential, count: int) -> Answer:
        sending = _Sending()
        try:
            async with asyncio.timeout(self._config.timeout_seconds):
                response, answer = await self._post(body, sending)
        except TimeoutError:
            return sending.refused("relay.timeout", f"no answer in {self._config.timeout_seconds:g} s", body)
        except httpx.DecodingError:
            return sending.refused(UNREADABLE, "the answer cannot be uncompressed", body)
        except (httpx.HTTPError, OSError) as error:
            return sending.refused("relay.connection_cut", type(error).__name__, body)
        if answer is None:
            return sending.refused(UNREADABLE, f"the answer is longer than {MAX_ANSWER_BYTES} bytes", body)
        return read_answer(
            response.status_code,
            _blot(answer, credential),
            count=count,
            request_bytes=len(body),
            retry_after=response.headers.get("retry-after"),
            unix_seconds=self._config.now(),
        )

    async def _post(self, body: bytes, sending: _Sending) -> tuple[httpx.Response, bytes | None]:
        """The response and its body, uncompressed; None for one that is too long to be read."""
        if self._clients is None:
            raise RuntimeError("a producer is opened before it produces")
        async with (
            self._clients.one() as client,
            client.stream("POST", self._config.url, content=body, extensions={"trace": sending.trace}) as response,
        ):
            answer = bytearray()
            async for chunk in response.aiter_bytes():
                answer += chunk
                if len(answer) > MAX_ANSWER_BYTES:
                    return response, None
            return response, bytes(answer)


class _Clients:
    """As many clients as there were calls at once, each with one connection, all with the same TLS context.

    One client for all would look at every connection it has at the beginning and the end of every call: with 32 calls
    in flight that costs three times as much as the call itself.
    """

    def __init__(self, *, connect_seconds: float) -> None:
        self._connect_seconds = connect_seconds
        self._tls = httpx.create_ssl_context()
        self._all: list[httpx.AsyncClient] = []
        self._idle: list[httpx.AsyncClient] = []

    @asynccontextmanager
    async def one(self) -> AsyncIterator[httpx.AsyncClient]:
        """A client for one call: the one used last, whose connection is most likely still open."""
        client = self._idle.pop() if self._idle else self._another()
        try:
            yield client
        finally:
            self._idle.append(client)

    async def close(self) -> None:
        for client in self._all:
            await client.aclose()

    def _another(self) -> httpx.AsyncClient:
        client = httpx.AsyncClient(
            headers=_HEADERS,
            verify=self._tls,
            timeout=httpx.Timeout(None, connect=self._connect_seconds),
            limits=httpx.Limits(max_connections=None, keepalive_expiry=KEEPALIVE_SECONDS),
        )
        self._all.append(client)
        return client


class _Sending:
    """Whether httpx has begun to send the request itself, as opposed to a CONNECT to a proxy on the way."""

    def __init__(self) -> None:
        self.begun = False

    async def trace(self, event: str, info: dict[str, Any]) -> None:
        if event.endswith(".send_request_headers.started") and info["request"].method == b"POST":
            self.begun = True

    def refused(self, code: str, reason: str, body: bytes) -> Refused:
        if self.begun:
            return Refused(Fault.UNKNOWN, code, message=reason, request_bytes=len(body))
        message = f"nothing was sent: {reason}"
        return Refused(Fault.PROVIDER, "relay.unreachable", message=message, request_bytes=len(body), scope=Scope.APP)


def _no_credentials(account: str) -> Refused:
    message = f"no app key and secret are configured for the account {account!r}"
    return Refused(Fault.CREDENTIALS, "relay.no_credentials", message=message, scope=Scope.ACCOUNT)


def _blot(answer: bytes, credential: Credential) -> bytes:
    """The answer without what it may echo of the secret and the session: its codes and messages are stored.

    Real ones have 32 characters and more; a short one, from a trial, could be a word of the answer itself.
    """
    for secret in (credential.app_secret, credential.session):
        if secret and len(secret) >= 8:
            answer = answer.replace(secret.encode(), b"***")
    return answer
