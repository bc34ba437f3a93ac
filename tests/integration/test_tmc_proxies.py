"""The proxies that the environment names: a request goes through them, and what was said to one proves nothing."""

from __future__ import annotations

import asyncio

import pytest

from relay.errors import ConfigurationError
from relay.message import Fault, Refused
from tests.fixtures.listening import (
    ACCEPTING,
    BATCH,
    Handler,
    always,
    anonymous_tls,
    assert_accepted,
    at,
    http,
    listening,
    opened,
    refusal,
    until_gone,
    without_proxies,
)

GOOD = http(ACCEPTING)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    without_proxies(monkeypatch)


async def test_a_proxy_for_http_gets_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bytes] = []
    async with listening(always(GOOD, seen)) as port:
        monkeypatch.setenv("HTTP_PROXY", f"http://user:p%40ss@127.0.0.1:{port}")
        async with opened("http://gateway.invalid/router/rest") as producer:
            assert_accepted(await producer.produce(BATCH))
    assert seen[0].startswith(b"POST http://gateway.invalid/router/rest HTTP/1.1\r\nHost: gateway.invalid\r\n")
    assert b"\r\nProxy-Authorization: Basic dXNlcjpwQHNz\r\n" in seen[0]


async def test_a_tunnel_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bytes] = []
    async with (
        listening(always(GOOD), anonymous_tls(monkeypatch)) as port,
        listening(tunnel(port, asked)) as proxy_port,
    ):
        monkeypatch.setenv("HTTPS_PROXY", f"127.0.0.1:{proxy_port}")
        async with opened("https://gateway.invalid/router/rest") as producer:
            for _ in range(2):
                assert_accepted(await producer.produce(BATCH))
    assert [head.partition(b"\r\n")[0] for head in asked] == [b"CONNECT gateway.invalid:443 HTTP/1.1"]


async def test_a_tunnel_without_an_end_has_carried_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The CONNECT was sent and granted, TLS to the platform was not answered."""

    async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await until_gone(reader)

    asked: list[bytes] = []
    async with listening(silent) as port, listening(tunnel(port, asked)) as proxy_port:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy_port}")
        async with opened("https://gateway.invalid/router/rest", timeout_seconds=0.3) as producer:
            assert refusal(await producer.produce(BATCH)) == (Fault.PROVIDER, "relay.unreachable")
    assert len(asked) == 1


def tunnel(port: int, asked: list[bytes]) -> Handler:
    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        try:
            await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))
        finally:
            far_writer.close()

    return handler


async def test_the_password_of_a_proxy_is_in_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refusing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(http(b"", "407 Proxy Authentication Required"))

    async with listening(refusing) as port:
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:password@127.0.0.1:{port}")
        async with opened("https://gateway.invalid/router/rest") as producer:
            said = await producer.produce(BATCH)
    assert refusal(said) == (Fault.PROVIDER, "relay.unreachable")
    assert isinstance(said, Refused)
    assert "user:password" not in str(said)
    assert f"the proxy 127.0.0.1:{port} (HTTPS_PROXY) answers HTTP 407" in str(said.message)


@pytest.mark.parametrize(
    ("no_proxy", "direct"),
    [
        ("gateway.invalid", True),
        ("a.example, gateway.invalid", True),
        ("*", True),
        ("gateway.invalid:1234", True),
        ("gateway.invalid:1235", False),
    ],
)
async def test_no_proxy(no_proxy: str, direct: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bytes] = []
    async with listening(always(GOOD, seen)) as proxy_port:
        monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{proxy_port}")
        monkeypatch.setenv("NO_PROXY", no_proxy)
        async with opened("http://gateway.invalid:1234/router/rest") as producer:
            said = await producer.produce(BATCH)
    assert (isinstance(said, Refused), seen == []) == (direct, direct)


async def test_this_machine_is_reached_without_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sandbox is there, and the proxy's own loopback is another one."""
    async with listening(always(GOOD)) as port, listening(always(http(b"", "502 Proxy"))) as proxy_port:
        monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{proxy_port}")
        async with opened(at(port)) as producer:
            assert_accepted(await producer.produce(BATCH))


async def test_a_proxy_that_does_not_speak_http_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://user:password@127.0.0.1:1080")
    with pytest.raises(ConfigurationError, match="'socks5'") as caught:
        async with opened("https://gateway.invalid/router/rest"):
            pass
    assert "password" not in f"{caught.value} {caught.value.hint}"
