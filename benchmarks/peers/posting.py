"""One signed call of the platform for one message, with the fastest ordinary HTTP client there is: aiohttp.

The body is made by the relay's own pure functions, so what is compared is not who encodes faster.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp  # type: ignore[import-not-found,unused-ignore]

from benchmarks.contenders import APP_KEY, APP_SECRET, SESSION
from benchmarks.peers import Handle
from relay.message import Message
from relay.tmc import Credential, request_body

_HEADERS = {"Content-Type": "application/x-www-form-urlencoded;charset=UTF-8"}


@asynccontextmanager
async def posting(url: str) -> AsyncIterator[Handle]:
    """A handler that returns when the platform has accepted the message, and raises when it has not."""
    credential = Credential(APP_KEY, APP_SECRET, SESSION)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def post(content: str) -> None:
            body = request_body(
                credential,
                [Message(1, "taobao_jds_TradeTrace", content)],
                unix_seconds=time.time(),
                sign_method="hmac-sha256",
                response_format="json",
                simplify=False,
            )
            async with session.post(url, data=body, headers=_HEADERS) as response:
                answer = await response.json(content_type=None)
            assert answer["tmc_messages_produce_response"]["is_all_success"]

        yield post
