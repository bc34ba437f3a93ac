"""One signed call of the platform for one message: by httpx, one client for all of them, or by aiohttp.

httpx is what somebody who writes such a handler takes first; aiohttp is the fastest ordinary client. The body is made
by the relay's own pure functions, so what is compared is not who encodes faster.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp  # type: ignore[import-not-found,unused-ignore]
import httpx

from benchmarks.contenders import APP_KEY, APP_SECRET, SESSION
from benchmarks.peers import Handle
from relay.credential import Credential
from relay.message import Message
from relay.tmc import request_body

_HEADERS = {"Content-Type": "application/x-www-form-urlencoded;charset=UTF-8"}


_CREDENTIAL = Credential(APP_KEY, APP_SECRET, SESSION)

Send = Callable[[bytes], Awaitable[Any]]  # the body of a request -> its answer, decoded


@asynccontextmanager
async def posting(url: str, client: str) -> AsyncIterator[Handle]:
    """A handler that returns when the platform has accepted the message, and raises when it has not."""
    async with CLIENTS[client](url) as send:

        async def post(content: str) -> None:
            body = request_body(
                _CREDENTIAL,
                [Message(1, "taobao_jds_TradeTrace", content)],
                unix_seconds=time.time(),
                sign_method="hmac-sha256",
                response_format="json",
                simplify=False,
            )
            answer = await send(body)
            assert answer["tmc_messages_produce_response"]["is_all_success"]

        yield post


@asynccontextmanager
async def _httpx(url: str) -> AsyncIterator[Send]:
    unlimited = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(limits=unlimited, timeout=30, trust_env=False) as client:

        async def send(body: bytes) -> Any:
            return (await client.post(url, content=body, headers=_HEADERS)).json()

        yield send


@asynccontextmanager
async def _aiohttp(url: str) -> AsyncIterator[Send]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def send(body: bytes) -> Any:
            async with session.post(url, data=body, headers=_HEADERS) as response:
                return await response.json(content_type=None)

        yield send


CLIENTS = {"httpx": _httpx, "aiohttp": _aiohttp}
