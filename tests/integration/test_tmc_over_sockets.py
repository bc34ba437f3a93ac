"""What a failure on the wire proves, over real sockets: before the request was sent nothing was accepted, after it
nobody knows, and no failure is an exception."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import pytest

from relay.credential import Credential
from relay.message import ACCEPTED, Answer, Answered, Batch, Fault, Message, Refused, Scope
from relay.producers import ProducerContext
from relay.producers import tmc as tmc_module
from relay.producers.tmc import TmcOptions, TmcProducer
from tests.fixtures.platform_stub import PlatformStub, Step, accepted_body, answer, cut, endless, running_stub, stall

BATCH = Batch(1, "default", (Message(1, "t", '{"n":1}'), Message(2, "t", '{"n":2}')))
SECRET = "0123456789abcdef0123456789abcdef"
SESSION = "6100e2d0fakefakefakefakefake0001"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
PARTIAL = {"is_all_success": False, "results": [{"is_success": True}, {"is_success": False, "error_code": "isv.x"}]}


@pytest.fixture
async def stub(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[PlatformStub]:
    monkeypatch.setenv("NO_PROXY", "*")
    async with running_stub() as stub:
        yield stub


@asynccontextmanager
async def producer(url: str, **options: Any) -> AsyncIterator[TmcProducer]:
    of_the_wire = {name: options.pop(name) for name in ("sign_method", "format", "simplify") if name in options}
    told: dict[str, Any] = {
        "options": TmcOptions(url=url, **of_the_wire),
        "timeout_seconds": 10.0,
        "credentials": lambda _account: Credential("12345678", SECRET, SESSION),
    }
    opened = TmcProducer(ProducerContext(**(told | options)))
    await opened.open()
    try:
        yield opened
    finally:
        await opened.close()


async def produce(stub: PlatformStub, *script: Step, **options: Any) -> Answer:
    stub.script.extend(script)
    async with producer(stub.url, **options) as opened:
        return await opened.produce(BATCH)


async def test_one_request_carries_everything_in_its_body(stub: PlatformStub) -> None:
    said = await produce(stub, simplify=True)
    [received] = stub.received
    assert isinstance(said, Answered)
    assert said.results == (ACCEPTED, ACCEPTED)
    assert said.request_bytes == len(received.body)
    assert said.request_id == "zzp0c5fj10y3"
    head = received.head.lower()
    assert head.startswith("post /router/rest http/1.1\r\n")
    assert "content-type: application/x-www-form-urlencoded;charset=utf-8\r\n" in head
    assert "accept-encoding: gzip\r\n" in head
    assert "user-agent: outbox-relay/" in head
    assert {"session": SESSION, "simplify": "true", "sign_method": "hmac-sha256"}.items() <= received.form.items()
    signed_at = datetime.fromisoformat(received.form["timestamp"] + "+08:00").timestamp()
    assert abs(signed_at - time.time()) < 60
    assert [m["content"] for m in received.messages] == ['{"n":1}', '{"n":2}']


async def test_each_index_has_its_own_result(stub: PlatformStub) -> None:
    said = await produce(stub, answer(json.dumps(PARTIAL).encode()))
    assert isinstance(said, Answered)
    assert [result.code for result in said.results] == [None, "isv.x"]


async def test_a_compressed_answer(stub: PlatformStub) -> None:
    body = gzip.compress(json.dumps(PARTIAL).encode())
    said = await produce(stub, answer(body, Content_Encoding="gzip"))
    assert isinstance(said, Answered)
    assert [result.accepted for result in said.results] == [True, False]


UNKNOWN: dict[str, tuple[Step, str]] = {
    "cut before any answer": (cut(), "relay.connection_cut"),
    "cut in the head": (cut(b"HTTP/1.1 20"), "relay.connection_cut"),
    "cut in the body": (cut(HEAD + b'{"is_all_success":true}'), "relay.connection_cut"),
    "no HTTP at all": (cut(b"SSH-2.0-OpenSSH\r\n"), "relay.connection_cut"),
    "not gzip": (answer(b"not gzip", Content_Encoding="gzip"), "relay.unreadable_answer"),
    "truncated JSON": (answer(b'{"is_all_success":tr'), "relay.unreadable_answer"),
    "nothing": (answer(b""), "relay.unreadable_answer"),
    "HTML with 502": (answer(b"<html>502 Bad Gateway</html>", "502 Bad Gateway"), "relay.http_502"),
}


@pytest.mark.parametrize(("step", "code"), UNKNOWN.values(), ids=UNKNOWN.keys())
async def test_once_it_was_sent_nobody_knows(stub: PlatformStub, step: Step, code: str) -> None:
    said = await produce(stub, step)
    assert isinstance(said, Refused)
    assert (said.fault, said.code) == (Fault.UNKNOWN, code)
    assert said.request_bytes == len(stub.received[0].body)


@pytest.mark.parametrize("step", [stall(), stall(HEAD + b'{"is_all')], ids=["no answer", "slow body"])
async def test_time_is_up_after_sending(stub: PlatformStub, step: Step) -> None:
    said = await produce(stub, step, timeout_seconds=1.5)  # a third of it is for connecting, on a busy machine
    assert isinstance(said, Refused)
    assert (said.fault, said.code) == (Fault.UNKNOWN, "relay.timeout")
    assert len(stub.received) == 1


async def test_an_answer_without_end_is_not_read_to_its_end(
    stub: PlatformStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tmc_module, "MAX_ANSWER_BYTES", 100_000)
    said = await produce(stub, endless(b" " * 30_000))
    assert isinstance(said, Refused)
    assert (said.fault, said.code) == (Fault.UNKNOWN, "relay.unreadable_answer")


async def test_nobody_listens() -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        async with producer(f"http://127.0.0.1:{reserved.getsockname()[1]}/") as opened:
            said = await opened.produce(BATCH)
    assert_unreachable(said)


async def test_a_host_that_does_not_exist() -> None:
    async with producer("http://relay.invalid/router/rest") as opened:
        assert_unreachable(await opened.produce(BATCH))


async def test_a_server_that_does_not_speak_tls(stub: PlatformStub) -> None:
    async with producer(stub.url.replace("http:", "https:"), timeout_seconds=0.5) as opened:
        assert_unreachable(await opened.produce(BATCH))
    assert stub.received == []


async def test_time_is_up_while_connecting() -> None:
    """A TLS handshake that is never answered: the connection stands, but no byte of the request has left."""
    accepted = asyncio.Event()

    async def silent(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.set()
        writers.append(writer)

    writers: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    try:
        port = server.sockets[0].getsockname()[1]
        async with producer(f"https://127.0.0.1:{port}/", timeout_seconds=0.3) as opened:
            assert_unreachable(await opened.produce(BATCH))
        assert accepted.is_set()
    finally:
        server.close()
        for writer in writers:
            writer.close()


async def test_a_proxy_that_lets_nobody_through(monkeypatch: pytest.MonkeyPatch) -> None:
    """The CONNECT was sent, the request was not."""
    asked: list[bytes] = []

    async def refusing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(refusing, "127.0.0.1", 0)
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    monkeypatch.setenv("NO_PROXY", "")
    try:
        async with producer("https://relay.invalid/router/rest") as opened:
            assert_unreachable(await opened.produce(BATCH))
    finally:
        server.close()
    assert asked[0].startswith(b"CONNECT relay.invalid:443 ")


def assert_unreachable(said: Answer) -> None:
    assert isinstance(said, Refused)
    assert (said.fault, said.code, said.scope) == (Fault.PROVIDER, "relay.unreachable", Scope.APP)
    assert said.message
    assert said.message.startswith("nothing was sent")


async def test_an_unknown_account_makes_no_call(stub: PlatformStub) -> None:
    said = await produce(stub, credentials=lambda _account: None)
    assert isinstance(said, Refused)
    assert (said.fault, said.code, said.scope) == (Fault.CREDENTIALS, "relay.no_credentials", Scope.ACCOUNT)
    assert stub.connections == 0


async def test_a_redirect_is_not_followed(stub: PlatformStub) -> None:
    said = await produce(stub, answer(b"", "302 Found", Location=stub.url))
    assert isinstance(said, Refused)
    assert (said.fault, said.code) == (Fault.PROVIDER, "relay.http_302")
    assert len(stub.received) == 1


@pytest.mark.parametrize(("header", "low", "high"), [("9", 9, 9), ("Fri, 02 Jan 2099 00:00:00 GMT", 86400, 86400)])
async def test_too_many_requests(stub: PlatformStub, header: str, low: float, high: float) -> None:
    said = await produce(stub, answer(b"", "429 Too Many Requests", Retry_After=header))
    assert isinstance(said, Refused)
    assert said.fault is Fault.THROTTLED
    assert said.pause_seconds is not None
    assert low <= said.pause_seconds <= high


async def test_an_echoed_session_or_secret_is_blotted_out(stub: PlatformStub) -> None:
    error = {
        "code": 27,
        "msg": "Invalid session",
        "sub_msg": f"{SESSION} with {SECRET}",
        "sub_code": f"session:{SESSION}",
    }
    said = await produce(stub, answer(json.dumps({"error_response": error}).encode()))
    assert isinstance(said, Refused)
    assert (said.message, said.sub_code) == ("Invalid session: *** with ***", "session:***")


async def test_a_connection_is_used_again_and_a_second_open_keeps_it(stub: PlatformStub) -> None:
    async with producer(stub.url) as opened:
        for _ in range(3):
            assert isinstance(await opened.produce(BATCH), Answered)
            await opened.open()
    assert stub.connections == 1


async def test_a_connection_closed_by_the_platform_costs_nothing(stub: PlatformStub) -> None:
    def closing(received: Any, writer: asyncio.StreamWriter) -> Any:
        return answer(accepted_body(received), Connection="close")(received, writer)

    stub.script.extend([closing, closing])
    async with producer(stub.url) as opened:
        for _ in range(2):
            assert isinstance(await opened.produce(BATCH), Answered)
    assert stub.connections == 2


async def test_the_credential_is_looked_up_for_every_call(stub: PlatformStub) -> None:
    keys = iter(["1111", "2222"])
    lookup: Callable[[str], Credential] = lambda _account: Credential(next(keys), SECRET)  # noqa: E731
    async with producer(stub.url, credentials=lookup) as opened:
        await opened.produce(BATCH)
        await opened.produce(BATCH)
    assert [received.form["app_key"] for received in stub.received] == ["1111", "2222"]
