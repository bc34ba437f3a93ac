"""Why the platform was not reached, in sentences that name the host or the proxy: never the name of a Python class."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from relay.message import Fault, Refused
from tests.fixtures.listening import (
    BATCH,
    Handler,
    anonymous_tls,
    at,
    http,
    listening,
    opened,
    refusal,
    request,
    until_gone,
    without_proxies,
)

FAR = "https://gateway.invalid/router/rest"
NOBODY = "nobody listens there, or a firewall refuses"


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    without_proxies(monkeypatch)


async def told(url: str) -> str:
    async with opened(url) as producer:
        said = await producer.produce(BATCH)
    assert refusal(said) == (Fault.PROVIDER, "relay.unreachable")
    assert isinstance(said, Refused)
    before, _, after = (said.message or "").partition("nothing was sent: ")
    assert (before, "Error" in after) == ("", False)
    return after


def answering_connect(status: str) -> Handler:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(http(b"", status))
        await writer.drain()

    return handler


@pytest.fixture
def nowhere() -> Any:
    """A port that is taken and not listened at."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.mark.parametrize(
    ("number", "why"),
    [
        (socket.EAI_NONAME, "there is no such name"),
        (socket.EAI_AGAIN, "the name server gives no answer"),
        (socket.EAI_FAIL, "the look-up failed"),
    ],
)
async def test_whose_name_cannot_be_resolved(number: int, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def look_up(*_asked: Any, **_how: Any) -> None:
        raise socket.gaierror(number, "in the words of the system")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    assert await told(FAR) == f"the name of gateway.invalid:443 cannot be resolved: {why}"
    monkeypatch.setenv("HTTPS_PROXY", "user:secret@garbage")
    assert await told(FAR) == f"the name of the proxy garbage:80 (HTTPS_PROXY) cannot be resolved: {why}"


async def test_who_refuses_the_connection(nowhere: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await told(at(nowhere)) == f"127.0.0.1:{nowhere}: {NOBODY}"
    monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{nowhere}")
    assert await told(FAR) == f"the proxy 127.0.0.1:{nowhere} (ALL_PROXY): {NOBODY}"


@pytest.mark.parametrize(
    ("status", "means"),
    [
        ("407 Proxy Authentication Required", "HTTP 407 to CONNECT gateway.invalid:443: it asks for a user and a pass"),
        ("403 Forbidden", "HTTP 403 to CONNECT gateway.invalid:443: it lets nobody through to there"),
        ("503 Service Unavailable", "HTTP 503 to CONNECT gateway.invalid:443: it cannot reach that"),
        ("418 I'm a teapot", "HTTP 418 to CONNECT gateway.invalid:443"),
    ],
)
async def test_what_a_proxy_answers_to_connect(status: str, means: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with listening(answering_connect(status)) as port:
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:password@127.0.0.1:{port}")
        said = await told(FAR)
    assert said.startswith(f"the proxy 127.0.0.1:{port} (HTTPS_PROXY) answers {means}")
    assert "password" not in said.replace("a user and a password", "")


async def test_a_proxy_that_is_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    async def greeting(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example.com ESMTP\r\n\r\n")
        await writer.drain()

    async def closing(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")

    for handler, means in ((greeting, "does not speak HTTP"), (closing, "was closed while it was being made")):
        async with listening(handler) as port:
            monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
            said = await told(FAR)
        assert f"the proxy 127.0.0.1:{port} (HTTPS_PROXY)" in said
        assert said.endswith(means)


async def test_tls_where_none_is_spoken(monkeypatch: pytest.MonkeyPatch) -> None:
    anonymous_tls(monkeypatch)

    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await until_gone(reader)

    async with listening(plain) as port:
        assert await told(at(port, "https")) == f"127.0.0.1:{port}: it speaks no TLS at that port"


async def test_a_handshake_that_ends_before_it_began(monkeypatch: pytest.MonkeyPatch) -> None:
    """As PostgreSQL does it with whoever speaks TLS at once."""
    anonymous_tls(monkeypatch)

    async def closing(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)

    async with listening(closing) as port:
        assert await told(at(port, "https")) == (
            f"127.0.0.1:{port}: it closed the connection while that was being made"
        )


async def test_how_a_connection_broke_once_sending_had_begun() -> None:
    async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await request(reader)

    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
        await writer.drain()

    async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(b"220 mail.example.com ESMTP\r\n\r\n")
        await writer.drain()

    expected = {
        silent: "the connection was closed before an answer came",
        half: "the answer broke off",
        other: "what came back cannot be read as HTTP",
    }
    for handler, words in expected.items():
        async with listening(handler) as port, opened(at(port)) as producer:
            said = await producer.produce(BATCH)
        assert isinstance(said, Refused)
        assert (said.fault, said.code, said.message) == (Fault.UNKNOWN, "relay.connection_cut", words)
