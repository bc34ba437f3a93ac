"""A web page elsewhere cannot change the sandbox through a browser: neither from its origin nor under its name."""

from __future__ import annotations

import httpx
import pytest

from relay.sandbox.app import create_app
from relay.sandbox.platform import Platform

CHANGES = [("DELETE", "/messages", 204), ("POST", "/faults", 200)]


async def status(method: str, path: str, **headers: str) -> int:
    transport = httpx.ASGITransport(create_app(Platform()))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:9466") as client:
        return (await client.request(method, path, content="[]", headers=headers)).status_code


@pytest.mark.parametrize(("method", "path", "fine"), CHANGES)
async def test_who_may_change_it(method: str, path: str, fine: int) -> None:
    assert await status(method, path) == fine
    for host in ("localhost:9466", "sandbox:9466", "[::1]:9466", "sandbox.shop.svc.cluster.local", "10.1.2.3"):
        assert await status(method, path, host=host) == fine, host
    assert await status(method, path, host="localhost:9466", origin="http://localhost:9466") == fine
    assert await status(method, path, host="evil.example:9466") == 403
    for origin in ("http://evil.example", "null", "http://localhost:3000", "https://evil.example:9466"):
        assert await status(method, path, host="localhost:9466", origin=origin) == 403, origin


async def test_reading_and_the_gateway_itself_are_for_everybody() -> None:
    assert await status("GET", "/messages", host="evil.example") == 200
    assert await status("POST", "/router/rest", host="eco.taobao.com") == 200
