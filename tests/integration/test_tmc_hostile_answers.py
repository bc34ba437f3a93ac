"""Answers that are meant to hurt, or that somebody else gives: bounded in memory and time, and described in words."""

from __future__ import annotations

import asyncio
import gzip
import time
from collections.abc import AsyncIterator

import pytest

from relay.credential import Credential
from relay.message import Answered, Batch, Fault, Message, Refused
from relay.producers import ProducerContext
from relay.producers.tmc import TmcOptions, TmcProducer
from tests.fixtures.platform_stub import PlatformStub, Received, Step, answer, running_stub

BATCH = Batch(1, "default", (Message(1, "t", '{"n":1}'),))
PAGE = b"<html><head><title>Slide to verify</title></head></html>"
BOMB = gzip.compress(gzip.compress(b" " * 50_000_000, 9), 9)


@pytest.fixture
async def stub(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[PlatformStub]:
    monkeypatch.setenv("NO_PROXY", "*")
    async with running_stub() as stub:
        yield stub


async def produce(stub: PlatformStub, step: Step, *, timeout_seconds: float = 10.0) -> Refused | Answered:
    stub.script.append(step)
    config = ProducerContext(
        TmcOptions(url=stub.url, sign_method="md5"),
        timeout_seconds=timeout_seconds,
        credentials=lambda _account: Credential("12345678", "0123456789abcdef", None),
    )
    producer = TmcProducer(config)
    await producer.open()
    try:
        return await producer.produce(BATCH)
    finally:
        await producer.close()


def forever(head: bytes, piece: bytes, pause_seconds: float = 0.0) -> Step:
    async def step(_received: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while True:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause_seconds)

    return step


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
HOSTILE: dict[str, tuple[Step, str]] = {
    "a bomb in a bomb": (answer(BOMB, Content_Encoding="gzip, gzip"), "longer than 8388608 bytes"),
    "too many layers": (answer(BOMB, Content_Encoding="gzip, gzip, gzip"), "packed 3 times"),
    "brotli, unasked": (answer(b"\x0b\x02\x80", Content_Encoding="br"), "packed as br"),
    "one chunk without end": (forever(CHUNKED + b"7fffffff\r\n", b" " * 65536), "longer than 8388608 bytes"),
    "chunks without end": (forever(CHUNKED, b"8000\r\n" + b" " * 32768 + b"\r\n"), "longer than 8388608 bytes"),
    "headers without end": (forever(b"HTTP/1.1 200 OK\r\n", b"X-A: %s\r\n" % (b"a" * 4000)), "cannot be read as HTTP"),
    "one header without end": (forever(b"HTTP/1.1 200 OK\r\nX-A: ", b"a" * 65536), "cannot be read as HTTP"),
    "a page of somebody else": (
        answer(PAGE, Content_Type="text/html; charset=utf-8"),
        'an HTML page titled "Slide to verify" (text/html, 56 bytes)',
    ),
}


@pytest.mark.parametrize(("step", "says"), HOSTILE.values(), ids=HOSTILE.keys())
async def test_what_came_after_sending_proves_nothing_and_is_described(
    stub: PlatformStub, step: Step, says: str
) -> None:
    said = await produce(stub, step)
    assert isinstance(said, Refused)
    assert said.fault is Fault.UNKNOWN
    assert says in str(said.message)


async def test_a_body_that_drips_ends_with_the_time_of_the_whole_call(stub: PlatformStub) -> None:
    started = time.monotonic()
    said = await produce(stub, forever(CHUNKED, b"1\r\n \r\n", 0.05), timeout_seconds=1.5)
    assert isinstance(said, Refused)
    assert (said.fault, said.code) == (Fault.UNKNOWN, "relay.timeout")
    assert time.monotonic() - started < 6


async def test_a_status_still_speaks_where_the_body_cannot_be_unpacked(stub: PlatformStub) -> None:
    said = await produce(stub, answer(b"\x0b\x02\x80", "503 Busy", Content_Encoding="br"))
    assert isinstance(said, Refused)
    assert (said.fault, said.code, said.http_status) == (Fault.PROVIDER, "relay.http_503", 503)
