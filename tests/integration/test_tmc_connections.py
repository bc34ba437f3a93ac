"""What the producer does with connections: which one is used, when one is dropped, and that a request goes out once."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from typing import Any

import aiohttp
import pytest

from relay.message import Batch, Fault, Message, Refused
from relay.producers import tmc as tmc_module
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
    once,
    opened,
    refusal,
    request,
    until_gone,
    without_proxies,
)

LARGE = Batch(1, "default", tuple(Message(n, "t", json.dumps({"text": "大" * 4000})) for n in range(50)))
REFUSAL = b'{"error_response":{"code":15,"msg":"an answer to nobody","sub_code":"isv.stale"}}'
GOOD = http(ACCEPTING)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    without_proxies(monkeypatch)


# -- what is sent ----------------------------------------------------------------------------------------------------


async def test_the_head_of_a_request_and_no_cookie_in_the_second() -> None:
    seen: list[bytes] = []
    handler = always(http(ACCEPTING, "200 OK", "Set-Cookie: a=b; Path=/"), seen)
    async with listening(handler) as port, opened(at(port)) as producer:
        for _ in range(2):
            assert_accepted(await producer.produce(BATCH))
    assert seen[0] == seen[1]
    lines = seen[0].decode().split("\r\n")
    assert lines[:2] == ["POST /router/rest HTTP/1.1", f"Host: 127.0.0.1:{port}"]
    assert sorted(line.partition(":")[0] for line in lines[2:-2]) == [
        "Accept", "Accept-Encoding", "Connection", "Content-Length", "Content-Type", "User-Agent",
    ]  # fmt: skip


async def test_a_request_is_sent_once_also_where_a_kept_connection_breaks() -> None:
    seen: list[bytes] = []

    async def breaking(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await request(reader))
        writer.write(GOOD)
        await writer.drain()
        seen.append(await request(reader))
        writer.transport.abort()

    async with listening(breaking) as port, opened(at(port)) as producer:
        assert_accepted(await producer.produce(BATCH))
        assert refusal(await producer.produce(BATCH)) == (Fault.UNKNOWN, "relay.connection_cut")
    assert len(seen) == 2


async def test_an_error_is_told_by_its_name_alone() -> None:
    handler = always(b"HTTP/1.1 200 OK\r\nsecret without a colon\r\n\r\n")
    async with listening(handler) as port, opened(at(port)) as producer:
        said = await producer.produce(BATCH)
    assert refusal(said) == (Fault.UNKNOWN, "relay.connection_cut")
    assert isinstance(said, Refused)
    assert said.message == "what came back cannot be read as HTTP"


# -- what is answered ------------------------------------------------------------------------------------------------

READ: dict[str, bytes] = {
    "HTTP/1.0, the end of the connection is that of the body": b"HTTP/1.0 200 OK\r\n\r\n" + ACCEPTING,
    "the same in HTTP/1.1": b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + ACCEPTING,
    "100 before it": b"HTTP/1.1 100 Continue\r\n\r\n" + GOOD,
    "103 before it": b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n" + GOOD,
    "chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n"
    % (len(ACCEPTING), ACCEPTING),
    "a header of 90 kB": http(ACCEPTING, "200 OK", "X-Large: " + "x" * 90_000),
    "a header that is no ASCII": http(ACCEPTING, "200 OK", "X-Server: caf\xe9"),
    "an empty line after it": GOOD + b"\r\n",
    "another answer after it": GOOD + http(REFUSAL),
}


@pytest.mark.parametrize("said", READ.values(), ids=READ.keys())
async def test_answers_that_can_be_read(said: bytes) -> None:
    """Twice, so that what is left of one answer is not taken for the next."""
    ends_with_the_connection = b"Content-Length" not in said and b"chunked" not in said

    handler = once(said) if ends_with_the_connection else always(said)
    async with listening(handler) as port, opened(at(port)) as producer:
        for _ in range(2):
            assert_accepted(await producer.produce(BATCH))


UNKNOWN: dict[str, tuple[bytes, str]] = {
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", "relay.http_204"),
    "101": (b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", "relay.http_101"),
    "an error cut short": (http(b"Bad Gateway", "502 Bad Gateway")[:-3], "relay.connection_cut"),
    "chunks cut short": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{", "relay.connection_cut"),
    "two lengths": (http(ACCEPTING, "200 OK", "Content-Length: 7"), "relay.connection_cut"),
    "a header of 200 kB": (http(ACCEPTING, "200 OK", "X-Large: " + "x" * 200_000), "relay.connection_cut"),
    "noise after it": (GOOD + b"noise", "relay.connection_cut"),
}


@pytest.mark.parametrize(("said", "code"), UNKNOWN.values(), ids=UNKNOWN.keys())
async def test_answers_that_prove_nothing(said: bytes, code: str) -> None:
    async with listening(once(said)) as port, opened(at(port)) as producer:
        assert refusal(await producer.produce(BATCH)) == (Fault.UNKNOWN, code)


async def test_an_answer_before_the_request_was_read() -> None:
    """It counts, and a connection with half a request in it is not used again."""

    async def hasty(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(http(b"<html>", "413 Content Too Large"))
        await writer.drain()
        await asyncio.Event().wait()

    async with listening(hasty) as port, opened(at(port)) as producer:
        for _ in range(2):
            assert refusal(await producer.produce(LARGE)) == (Fault.CONTENT, "relay.http_413")


# -- which connection ------------------------------------------------------------------------------------------------


async def test_no_call_waits_for_the_connection_of_another() -> None:
    count, waiting, everybody = 101, [], asyncio.Event()

    async def patient(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        waiting.append(await request(reader))
        if len(waiting) == count:
            everybody.set()
        await everybody.wait()
        writer.write(GOOD)

    async with listening(patient) as port, opened(at(port)) as producer:
        for said in await asyncio.gather(*(producer.produce(BATCH) for _ in range(count))):
            assert_accepted(said)


async def test_the_connection_used_last_comes_first() -> None:
    used: list[int] = []
    both = asyncio.Barrier(2)

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = True
        while True:
            await request(reader)
            used.append(id(writer))
            if first:
                await both.wait()
            first = False
            writer.write(GOOD)

    async with listening(handler) as port, opened(at(port)) as producer:
        await asyncio.gather(producer.produce(BATCH), producer.produce(BATCH))
        for _ in range(3):
            assert_accepted(await producer.produce(BATCH))
    assert len(set(used[:2])) == 2
    assert len(set(used[2:])) == 1


async def test_calls_that_fail_do_not_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def session(**options: Any) -> aiohttp.ClientSession:
        made.append(options)
        return original(**options)

    original = aiohttp.ClientSession
    monkeypatch.setattr(aiohttp, "ClientSession", session)
    async with listening(once(b"no HTTP")) as port, opened(at(port)) as producer:
        for _ in range(3):
            assert refusal(await producer.produce(BATCH)) == (Fault.UNKNOWN, "relay.connection_cut")
    assert len(made) == 1


async def test_a_connection_that_was_idle_too_long_is_not_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tmc_module, "KEEPALIVE_SECONDS", 1e-9)
    assert await connections_of_two_calls(always(GOOD)) == 2


async def test_a_connection_whose_answer_was_too_long_is_not_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tmc_module, "MAX_ANSWER_BYTES", 1000)
    assert await connections_of_two_calls(always(http(b" " * 1_000_000))) == 2


async def connections_of_two_calls(handler: Handler) -> int:
    connections = []

    async def counting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        await handler(reader, writer)

    async with listening(counting) as port, opened(at(port)) as producer:
        for _ in range(2):
            await producer.produce(BATCH)
    return len(connections)


@pytest.mark.parametrize("read", [False, True], ids=["just now", "long ago"])
async def test_a_second_answer_is_not_that_of_the_next_call(read: bool) -> None:
    """It would shift all that follow by one: each message would get the result of another."""
    writers: list[asyncio.StreamWriter] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await always(GOOD)(reader, writer)

    async with listening(handler) as port, opened(at(port)) as producer:
        assert_accepted(await producer.produce(BATCH))
        writers[0].write(http(REFUSAL))
        if read:  # after a whole call on another connection the loop has long read what came
            async with opened(at(port)) as other:
                assert_accepted(await other.produce(BATCH))
        assert_accepted(await producer.produce(BATCH))


async def test_a_close_is_seen_while_the_loop_is_busy() -> None:
    """A server in a thread closes, while the loop does something else and cannot be told."""
    listener, close, closed = socket.create_server(("127.0.0.1", 0)), threading.Event(), threading.Event()

    def serve() -> None:
        for _ in range(2):
            client, _ = listener.accept()
            with client, client.makefile("rb") as lines:
                head = iter(lines.readline, b"\r\n")
                [length] = [int(line.split(b":")[1]) for line in head if line.lower().startswith(b"content-length")]
                lines.read(length)
                client.sendall(GOOD)
                close.wait(10)
            closed.set()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        async with opened(at(listener.getsockname()[1])) as producer:
            assert_accepted(await producer.produce(BATCH))
            close.set()
            assert closed.wait(10)
            assert_accepted(await producer.produce(BATCH))
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        close.set()
        thread.join()


# -- TLS, and what is given up ---------------------------------------------------------------------------------------


async def test_over_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    async with listening(always(GOOD), anonymous_tls(monkeypatch)) as port, opened(at(port, "https")) as producer:
        for _ in range(2):
            assert_accepted(await producer.produce(BATCH))


@pytest.mark.parametrize("cancelled", [False, True], ids=["the time is up", "cancelled"])
async def test_a_handshake_that_is_given_up_leaves_no_socket(cancelled: bool) -> None:
    begun, gone = asyncio.Event(), asyncio.Event()

    async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        begun.set()
        await until_gone(reader)
        gone.set()

    timeout_seconds = 10 if cancelled else 0.3
    async with listening(silent) as port, opened(at(port, "https"), timeout_seconds) as producer:
        call = asyncio.create_task(producer.produce(BATCH))
        await asyncio.wait_for(begun.wait(), 10)
        if cancelled:
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
        else:
            said = await call
            assert refusal(said) == (Fault.PROVIDER, "relay.unreachable")
            assert isinstance(said, Refused)
            # Not at the end of the whole call.
            assert said.message == f"nothing was sent: no connection to 127.0.0.1:{port} within 0.1 s"
        await asyncio.wait_for(gone.wait(), 10)


@pytest.mark.parametrize("begun", [b"", GOOD[:-1]], ids=["no answer", "half an answer"])
async def test_a_call_that_is_given_up_leaves_no_socket(begun: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A polite end of TLS would wait half a minute for the platform's farewell, which does not come through here."""
    received, gone = asyncio.Event(), asyncio.Event()

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        received.set()
        writer.write(begun)
        await asyncio.Event().wait()

    async def between(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)

        async def back() -> None:
            while data := await far_reader.read(65536):
                writer.write(data)

        task = asyncio.create_task(back())
        while data := await reader.read(65536):
            if not received.is_set():
                far_writer.write(data)
        gone.set()
        task.cancel()
        far_writer.close()

    async with (
        listening(mute, anonymous_tls(monkeypatch)) as port,
        listening(between) as port_between,
        opened(at(port_between, "https"), timeout_seconds=1.5) as producer,
    ):
        assert refusal(await producer.produce(BATCH)) == (Fault.UNKNOWN, "relay.timeout")
        await asyncio.wait_for(gone.wait(), 10)
