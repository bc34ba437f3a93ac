"""Where servers of ours listen, and that what they answer leaves at once."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from urllib.parse import urlsplit

import httpx
import pytest
from prometheus_client import CollectorRegistry

from relay.listeners import EVERYWHERE, LOOPBACK, listener, url_of
from relay.observers.probes import probes, serving
from relay.sandbox.server import running_sandbox

Url = AbstractAsyncContextManager[str]
has_ipv6 = pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")


async def well() -> str:
    return ""


def serving_probes() -> Url:
    return serving(probes(CollectorRegistry(), alive=well, ready=well), host=LOOPBACK, port=0)


@asynccontextmanager
async def serving_sandbox() -> AsyncIterator[str]:
    async with running_sandbox() as sandbox:
        yield sandbox.url


@pytest.mark.parametrize("server", [serving_probes, serving_sandbox])
async def test_answers_leave_at_once(server: Callable[[], Url], monkeypatch: pytest.MonkeyPatch) -> None:
    """Every connection that was accepted has TCP_NODELAY: a body does not wait until its head is acknowledged."""
    accepted: list[int] = []
    accept = socket.socket.accept

    def looking(listening: socket.socket) -> tuple[socket.socket, object]:
        made, address = accept(listening)
        accepted.append(made.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        return made, address

    monkeypatch.setattr(socket.socket, "accept", looking)
    async with server() as url, httpx.AsyncClient(base_url=url, trust_env=False) as client:
        assert (await client.get("/livez")).status_code in (200, 404)
    assert accepted
    assert all(accepted)


async def reached(host: str, port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(host, port)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True


@has_ipv6
async def test_everywhere_is_over_ipv6_and_ipv4() -> None:
    app = probes(CollectorRegistry(), alive=well, ready=well)
    async with serving(app, host=EVERYWHERE, port=0) as url:
        port = urlsplit(url).port
        assert port
        assert [await reached(host, port) for host in ("127.0.0.1", "::1")] == [True, True]


@pytest.mark.parametrize(
    ("host", "missing", "family"),
    [
        (EVERYWHERE, "::", socket.AF_INET),
        pytest.param(LOOPBACK, "127.0.0.1", socket.AF_INET6, marks=has_ipv6),
        pytest.param("localhost", "127.0.0.1", socket.AF_INET6, marks=has_ipv6),
    ],
)
@pytest.mark.parametrize("reason", [errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT])
def test_a_machine_that_has_only_one_of_them_is_enough(
    monkeypatch: pytest.MonkeyPatch, host: str, missing: str, family: int, reason: int
) -> None:
    create = socket.create_server

    def refusing(address: tuple[str, int], **options: object) -> socket.socket:
        if address[0] == missing:
            raise OSError(reason, "not here")
        return create(address, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "create_server", refusing)
    with listener(host, 0) as listening:
        assert listening.family == family


def test_a_port_that_is_taken_is_no_reason_to_listen_elsewhere() -> None:
    with listener(EVERYWHERE, 0) as taken, pytest.raises(OSError, match="in use"):
        listener(EVERYWHERE, taken.getsockname()[1])


@has_ipv6
@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_an_address_of_ipv6_may_be_in_brackets(host: str) -> None:
    with listener(host, 0) as listening:
        assert url_of(listening) == f"http://[::1]:{listening.getsockname()[1]}"
