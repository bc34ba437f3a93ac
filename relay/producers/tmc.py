"""Produces through ``taobao.tmc.messages.produce`` over HTTP.

What it must get right is what a failure proves. The transport tells when it is about to send the request; before that
moment nothing can have been accepted, after it anything can, whatever the exception is called:

    no connection, or the time was up before one       relay.unreachable     nothing was accepted
    the connection broke once sending had begun        relay.connection_cut  unknown
    the time was up once sending had begun             relay.timeout         unknown
    cancelled before sending                           NotSent               nothing was accepted
    an answer                                          what relay.tmc reads in it

Connections are kept for a few seconds only: one that the platform has closed meanwhile would cost an unknown outcome.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace

import httpx

from relay import __version__
from relay.credential import Credential
from relay.findings import Finding
from relay.message import Answer, Batch, Fault, Refused, Scope, no_credentials
from relay.producers import NotSent, ProducerContext, ProducerOptions, Timeout
from relay.producers.posting import PostingTransport
from relay.producers.unpacking import UnpackingError, unpacked
from relay.tmc.answer import UNREADABLE, read_answer
from relay.tmc.explaining import explain
from relay.tmc.probe import judged
from relay.tmc.request import MAX_MESSAGES, probe_body, request_body

# In texts, before JSON and form encoding make them up to three times as long. The largest message allowed fits.
MAX_BYTES = 512 * 1024
MAX_ANSWER_BYTES = 8 * 1024 * 1024
CONNECT_SECONDS = 5.0
KEEPALIVE_SECONDS = 5.0

_HEADERS = httpx.Headers(
    {
        "Connection": "keep-alive",
        "Content-Type": "application/x-www-form-urlencoded;charset=UTF-8",
        "Accept": "text/javascript,text/xml",
        "Accept-Encoding": "gzip",
        "User-Agent": f"outbox-relay/{__version__}",
    }
)


class TmcOptions(ProducerOptions):
    """As RELAY_TMC_... says, where ``relay.settings`` has their defaults and limits."""

    url: str
    sign_method: str = "hmac-sha256"
    format: str = "json"
    simplify: bool = False
    timeout_seconds: Timeout = 15


class TmcProducer:
    """The Taobao Open Platform: one call of ``taobao.tmc.messages.produce`` for up to 50 messages."""

    Options = TmcOptions
    explain = staticmethod(explain)
    needs_credentials = True
    messaging_system = "taobao_tmc"  # in traces

    def __init__(self, context: ProducerContext[TmcOptions]) -> None:
        self.max_batch = MAX_MESSAGES
        self.max_bytes = MAX_BYTES
        self._context = context
        self._options = context.options
        self._url = httpx.URL(context.options.url)  # once: reading it takes longer than signing a call
        self._transport: httpx.AsyncBaseTransport | None = None

    async def open(self) -> None:
        if self._transport is None:
            self._transport = PostingTransport(
                self._options.url,
                connect_seconds=min(CONNECT_SECONDS, self._context.timeout_seconds / 3),
                keepalive_seconds=KEEPALIVE_SECONDS,
            )

    async def close(self) -> None:
        transport, self._transport = self._transport, None
        if transport is not None:
            await transport.aclose()

    async def produce(self, batch: Batch) -> Answer:
        """Sign and post; a refusal of the credential comes with its app key and fingerprint."""
        credential = self._context.credentials(batch.account)
        if credential is None:
            return no_credentials(batch.account)
        body = request_body(
            credential,
            batch.messages,
            unix_seconds=self._context.now(),
            sign_method=self._options.sign_method,
            response_format=self._options.format,
            simplify=self._options.simplify,
        )
        answer = await self._call(body, credential, len(batch))
        if isinstance(answer, Refused) or answer.blames_no_message:
            return replace(answer, app_key=credential.app_key, credential=credential.fingerprint)
        return answer

    async def probe(self, account: str) -> Finding:
        """What the platform says to a call without messages: code 40 where it accepts the account's credentials."""
        credential = self._context.credentials(account)
        if credential is None:
            return judged(no_credentials(account), account)
        body = probe_body(
            credential,
            unix_seconds=self._context.now(),
            sign_method=self._options.sign_method,
            response_format=self._options.format,
        )
        return judged(await self._call(body, credential, 0), account)

    async def _call(self, body: bytes, credential: Credential, count: int) -> Answer:
        sending = _Sending()
        try:
            async with asyncio.timeout(self._context.timeout_seconds):
                response, answer = await self._post(body, sending)
        except asyncio.CancelledError:
            if sending.begun:
                raise
            raise NotSent from None  # the name is being looked up, or the other side does not answer yet
        except TimeoutError:
            return sending.refused("relay.timeout", f"no answer in {self._context.timeout_seconds:g} s", body)
        except httpx.HTTPError as error:  # in the transport's own words: a foreign text may repeat what was sent
            return sending.refused("relay.connection_cut", str(error), body)
        if isinstance(answer, UnpackingError) and response.status_code == 200:
            return replace(sending.refused(UNREADABLE, str(answer), body), http_status=200)
        return read_answer(
            response.status_code,
            b"" if isinstance(answer, UnpackingError) else _blot(answer, credential),
            count=count,
            request_bytes=len(body),
            retry_after=response.headers.get("retry-after"),
            content_type=response.headers.get("content-type"),
            unix_seconds=self._context.now(),
        )

    async def _post(self, body: bytes, sending: _Sending) -> tuple[httpx.Response, bytes | UnpackingError]:
        """The response and its body, unpacked, or why it cannot be: then the status may still say something."""
        if self._transport is None:
            raise RuntimeError("a producer is opened before it produces")
        extensions = {"sending": sending.begin}
        request = httpx.Request("POST", self._url, headers=_HEADERS, content=body, extensions=extensions)
        # The transport itself: a client around it would cost more than half as much again.
        response = await self._transport.handle_async_request(request)
        async with aclosing(response):
            packed = bytearray()
            async for chunk in response.aiter_raw():
                packed += chunk
                if len(packed) > MAX_ANSWER_BYTES:
                    return response, UnpackingError(f"the answer is longer than {MAX_ANSWER_BYTES} bytes")
        try:
            encoding = response.headers.get("content-encoding", "")
            return response, unpacked(bytes(packed), encoding, max_bytes=MAX_ANSWER_BYTES)
        except UnpackingError as error:
            return response, error


class _Sending:
    """Whether the request itself can have begun to leave, as opposed to a CONNECT to a proxy on the way."""

    def __init__(self) -> None:
        self.begun = False

    def begin(self) -> None:
        self.begun = True

    def refused(self, code: str, reason: str, body: bytes) -> Refused:
        if self.begun:
            return Refused(Fault.UNKNOWN, code, message=reason, request_bytes=len(body))
        message = f"nothing was sent: {reason}"
        return Refused(Fault.PROVIDER, "relay.unreachable", message=message, request_bytes=len(body), scope=Scope.APP)


def _blot(answer: bytes, credential: Credential) -> bytes:
    """The answer without what it may echo of the secret and the session: its codes and messages are stored.

    Real ones have 32 characters and more; a short one, from a trial, could be a word of the answer itself.
    """
    for secret in (credential.app_secret, credential.session):
        if secret and len(secret) >= 8:
            answer = answer.replace(secret.encode(), b"***")
    return answer
