"""The other end of the wire: accepts every call, at once or after a latency, and counts calls and messages.

No framework, because its CPU would be measured too: on two cores an ordinary server is slower than what it serves. Runs
in a process of its own. ``GET`` answers with what was accepted so far, so that a drain is believed only if everything
arrived.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection

import httpx

from benchmarks.starting import starting

_BODY = b'{"tmc_messages_produce_response":{"is_all_success":true,"request_id":"zzp0c5fj10y3"}}'
_TOPIC = b"%22topic%22%3A"  # once in every message; quotes inside of a content are escaped


@dataclass(frozen=True, slots=True)
class Received:
    messages: int
    calls: int

    def __sub__(self, before: Received) -> Received:
        return Received(self.messages - before.messages, self.calls - before.calls)


@dataclass(frozen=True, slots=True)
class Platform:
    url: str

    def received(self) -> Received:
        """Since it was started; differences are what counts."""
        # There is no TLS here, and certificates take longer to load than everything else.
        messages, calls = httpx.get(self.url, trust_env=False, verify=False).text.split()
        return Received(int(messages), int(calls))


@contextmanager
def platform(latency_ms: int) -> Iterator[Platform]:
    """A platform on a free port of the loopback, ended with the block."""
    context = starting()
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(latency_ms / 1000, theirs), daemon=True)
    process.start()
    try:
        yield Platform(f"http://127.0.0.1:{ours.recv()}/router/rest")
    finally:
        process.terminate()
        process.join()


def _serve(latency_seconds: float, parent: Connection) -> None:
    asyncio.run(_listen(latency_seconds, parent))


async def _listen(latency_seconds: float, parent: Connection) -> None:
    count = Count()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Wire(latency_seconds, count), "127.0.0.1", 0)
    parent.send(server.sockets[0].getsockname()[1])
    await server.serve_forever()


class Count:
    messages = 0
    calls = 0


class Wire(asyncio.Protocol):
    """One connection; requests come one after another on it."""

    def __init__(self, latency_seconds: float, count: Count) -> None:
        self._latency_seconds = latency_seconds
        self._count = count
        self._received = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._received[:end].lower()
        _, found, after = head.partition(b"content-length:")
        length = int(after.split(b"\r\n", 1)[0]) if found else 0
        if len(self._received) < end + 4 + length:
            return
        body, self._received = self._received[end + 4 :], bytearray()
        self._answer(head, body)

    def _answer(self, head: bytes | bytearray, body: bytearray) -> None:
        if head.startswith(b"get "):
            self._send(b"%d %d" % (self._count.messages, self._count.calls))
            return
        self._count.messages += body.count(_TOPIC)
        self._count.calls += 1
        if self._latency_seconds:
            asyncio.get_running_loop().call_later(self._latency_seconds, self._send, _BODY)
        else:
            self._send(_BODY)

    def _send(self, body: bytes) -> None:
        if not self._transport.is_closing():
            head = b"HTTP/1.1 200 OK\r\nContent-Type: text/javascript\r\nContent-Length: %d\r\n\r\n" % len(body)
            self._transport.write(head + body)
