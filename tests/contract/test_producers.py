"""What every producer keeps, one body for all of them. A new producer is one more ``Case``, and a name in ``CASES``."""

from __future__ import annotations

import asyncio
import io
import json
import tempfile
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest

from examples.spool_producer import relay_spool
from relay.credential import Credential
from relay.errors import ConfigurationError
from relay.message import ACCEPTED, Answered, Batch, Message
from relay.producers import (
    BUILT_IN,
    Grouping,
    Measuring,
    NotSent,
    Producer,
    ProducerContext,
    ProducerOptions,
    known_names,
    load,
    options_kind,
)
from relay.producers.stdout import StdoutProducer
from relay.producers.tmc import TmcOptions, TmcProducer
from tests.fixtures.platform_stub import PlatformStub, accept_all, running_stub

Sent = list[tuple[str, str]]  # topic and content, in the order received


def config(url: str = "http://127.0.0.1:1/router/rest") -> ProducerContext[TmcOptions]:
    return ProducerContext(
        TmcOptions(url=url),
        timeout_seconds=10.0,
        credentials=lambda account: Credential("12345678", "0123456789abcdef", f"session-of-{account}"),
    )


class Case:
    """A producer, what has arrived at its far end, and a way to keep the next call from ending."""

    def __init__(self, producer: Producer, sent: Callable[[], Sent], block: Callable[[], asyncio.Event]) -> None:
        self.producer = producer
        self.sent = sent
        self.block = block


@asynccontextmanager
async def tmc_case(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Case]:
    monkeypatch.setenv("NO_PROXY", "*")
    async with running_stub() as stub:
        yield Case(
            TmcProducer(config(stub.url)),
            lambda: [(m["topic"], m["content"]) for received in stub.received for m in received.messages],
            lambda: blocked_stub(stub),
        )


def blocked_stub(stub: PlatformStub) -> asyncio.Event:
    async def never(*_ignored: object) -> None:
        await asyncio.Event().wait()

    stub.script.append(never)
    return stub.arrived


@asynccontextmanager
async def stdout_case(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Case]:
    out = BlockableOut()
    monkeypatch.setattr("relay.producers.stdout.sys", SimpleNamespace(stdout=out))
    try:
        yield Case(StdoutProducer(config()), out.sent, out.block)
    finally:
        out.go.set()


@asynccontextmanager
async def spool_case(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Case]:
    """The producer of a package of its own, from ``examples/``."""
    go = threading.Event()
    with tempfile.TemporaryDirectory() as folder:

        def block() -> asyncio.Event:
            arrived, loop = asyncio.Event(), asyncio.get_running_loop()

            def write(descriptor: int, data: bytes) -> None:
                loop.call_soon_threadsafe(arrived.set)
                assert go.wait(10)

            monkeypatch.setattr(relay_spool, "_write", write)
            return arrived

        def sent() -> Sent:
            lines = [line for file in Path(folder).iterdir() for line in file.read_text().splitlines()]
            return [(row["topic"], row["content"]) for row in map(json.loads, lines)]

        options = relay_spool.SpoolOptions(folder=Path(folder), sync=False)
        yield Case(relay_spool.SpoolProducer(ProducerContext(options)), sent, block)
        go.set()


class BlockableOut(io.StringIO):
    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()
        self.go.set()
        self.begun: Callable[[], object] = lambda: None

    def block(self) -> asyncio.Event:
        arrived, loop = asyncio.Event(), asyncio.get_running_loop()
        self.begun = lambda: loop.call_soon_threadsafe(arrived.set)
        self.go.clear()
        return arrived

    def write(self, text: str) -> int:
        self.begun()
        assert self.go.wait(10)
        return super().write(text)

    def sent(self) -> Sent:
        return [(row["topic"], row["content"]) for row in map(json.loads, self.getvalue().splitlines())]


CASES = {"tmc": tmc_case, "stdout": stdout_case, "spool": spool_case}


def test_every_producer_of_the_relay_is_tried() -> None:
    untried = BUILT_IN.keys() - CASES.keys()
    assert not untried, f"{sorted(untried)}: write a Case beside the others, and name it in CASES"


@pytest.fixture(params=CASES)
async def case(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Case]:
    async with CASES[request.param](monkeypatch) as case:
        yield case
        await case.producer.close()


def batch(*contents: str, call_id: int = 1) -> Batch:
    messages = (Message(n, f"topic_{n}", content) for n, content in enumerate(contents, start=call_id * 1000))
    return Batch(call_id, "default", tuple(messages))


def sent_of(batch: Batch) -> Sent:
    return [(message.topic, message.content) for message in batch.messages]


async def test_one_result_per_index_in_the_order_sent(case: Case) -> None:
    await case.producer.open()
    sending = batch('{"n": 1}', '{"向阳": "a\\n & + % \\"b\\""}', "{}")
    answer = await case.producer.produce(sending)
    assert isinstance(answer, Answered)
    assert answer.results == (ACCEPTED, ACCEPTED, ACCEPTED)
    assert answer.request_bytes > 0
    assert case.sent() == sent_of(sending)


async def test_optional_fields_may_be_set_or_not(case: Case) -> None:
    await case.producer.open()
    bare = Message(1, "t", "{}")
    full = Message(2, "t", "{}", "default", "group", "87654321", '{"a":1}', "key", attempts=3)
    empty = Message(3, "t", "{}", "default", "", "", "")
    answer = await case.producer.produce(Batch(1, "default", (bare, full, empty)))
    assert isinstance(answer, Answered)
    assert len(answer.results) == len(case.sent()) == 3


async def test_the_largest_batch(case: Case) -> None:
    await case.producer.open()
    producer = case.producer
    room = producer.max_bytes // producer.max_batch
    bare, longer = (size_of(producer, remark(count)) for count in (0, 100))
    sending = batch(*[remark((room - bare) * 100 // (longer - bare))] * producer.max_batch)
    sizes = [size_of(producer, message.content) for message in sending.messages]
    assert producer.max_bytes * 0.9 < sum(sizes) <= producer.max_bytes
    answer = await case.producer.produce(sending)
    assert isinstance(answer, Answered)
    assert answer.results == (ACCEPTED,) * case.producer.max_batch
    assert case.sent() == sent_of(sending)


def remark(count: int) -> str:
    return json.dumps({"remark": "大" * count}, ensure_ascii=False)


def size_of(producer: Producer, content: str) -> int:
    """By its own measure where it has one, of a message as ``batch`` makes them."""
    message = Message(10**6, "topic_1500", content)
    return producer.wire_size(message) if isinstance(producer, Measuring) else message.size_bytes


async def test_what_goes_together_is_a_function_of_the_message(case: Case) -> None:
    """Asked before it is opened, and again: by any thread, at any claim."""
    messages = [Message(n, f"t{n % 3}", '{"n": "大"}', ordering_key=None) for n in range(1, 7)]
    if isinstance(case.producer, Grouping):
        found = [case.producer.destination(message) for message in messages]
        assert found == [case.producer.destination(message) for message in messages]
        assert len(set(found)) <= 3
    if isinstance(case.producer, Measuring):
        sizes = [case.producer.wire_size(message) for message in messages]
        assert all(1 <= size <= case.producer.max_bytes for size in sizes)
        await case.producer.open()
        answer = await case.producer.produce(Batch(1, "default", tuple(messages[:1])))
        assert isinstance(answer, Answered)
        assert answer.request_bytes >= sizes[0]


async def test_opened_and_closed_twice(case: Case) -> None:
    await case.producer.open()
    await case.producer.open()
    assert isinstance(await case.producer.produce(batch("{}")), Answered)
    await case.producer.close()
    await case.producer.close()


async def test_closed_without_having_been_opened(case: Case) -> None:
    await case.producer.close()


async def test_opened_again_after_it_was_closed(case: Case) -> None:
    await case.producer.open()
    await case.producer.close()
    await case.producer.open()
    assert isinstance(await case.producer.produce(batch("{}")), Answered)


async def test_cancelling_passes_through(case: Case) -> None:
    await case.producer.open()
    arrived = case.block()
    task = asyncio.create_task(case.producer.produce(batch("{}")))
    await asyncio.wait_for(arrived.wait(), 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_cancelled_before_anything_was_sent_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the name is looked up, and before the first line of the answer to a CONNECT: nothing was accepted."""
    monkeypatch.setenv("NO_PROXY", "*")
    looking = asyncio.Event()

    async def never(*_args: object, **_kwargs: object) -> None:
        looking.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", never)
    producer = TmcProducer(config("http://nowhere.invalid/router/rest"))
    await producer.open()
    task = asyncio.create_task(producer.produce(batch("{}")))
    await asyncio.wait_for(looking.wait(), 10)
    task.cancel()
    with pytest.raises(NotSent):
        await task
    await producer.close()


async def test_lines_that_wait_for_a_reader_are_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two batches into a pipe that is full, nobody knows of the first one; the second one was never begun."""
    out = BlockableOut()
    monkeypatch.setattr("relay.producers.stdout.sys", SimpleNamespace(stdout=out))
    producer, begun = StdoutProducer(config()), out.block()
    first = asyncio.create_task(producer.produce(batch('{"n": 1}')))
    await asyncio.wait_for(begun.wait(), 10)
    second = asyncio.create_task(producer.produce(batch('{"n": 2}')))
    await asyncio.sleep(0)
    for task, end in ((first, asyncio.CancelledError), (second, NotSent)):
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as raised:
            await task
        assert raised.type is end
    out.go.set()
    third = await producer.produce(batch('{"n": 3}'))
    assert isinstance(third, Answered)
    assert [content for _, content in out.sent()] == ['{"n": 1}', '{"n": 3}']


async def test_standard_output_that_was_closed_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.producers.stdout.sys", SimpleNamespace(stdout=None))
    with pytest.raises(ConfigurationError, match="Standard output is closed"):
        await StdoutProducer(config()).open()


async def test_many_calls_at_once_do_not_mix(case: Case) -> None:
    await case.producer.open()
    batches = [
        batch(*(f'{{"call": {call_id}, "n": {n}}}' for n in range(20)), call_id=call_id) for call_id in range(16)
    ]
    answers = await asyncio.gather(*map(case.producer.produce, batches))
    assert all(isinstance(answer, Answered) and answer.results == (ACCEPTED,) * 20 for answer in answers)
    sent = case.sent()
    pieces = [sent[start : start + 20] for start in range(0, len(sent), 20)]
    assert sorted(pieces) == sorted(map(sent_of, batches))


async def test_a_batch_is_never_larger_than_the_setting(case: Case) -> None:
    assert case.producer.max_batch == (500 if isinstance(case.producer, relay_spool.SpoolProducer) else 50)


# -- the registry ----------------------------------------------------------------------------------------------------


def test_the_built_in_producers_need_no_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.producers.entry_points", lambda group: metadata.EntryPoints())
    assert [load("tmc"), load("stdout")] == [TmcProducer, StdoutProducer]
    assert [load(name).__name__ for name in BUILT_IN] == [target.partition(":")[2] for target in BUILT_IN.values()]


def test_an_entry_point_is_found_and_does_not_shadow_a_built_in(monkeypatch: pytest.MonkeyPatch) -> None:
    def points(group: str) -> metadata.EntryPoints:
        target = "tests.fixtures.platform_stub:accept_all"
        return metadata.EntryPoints(metadata.EntryPoint(name, target, group) for name in ("mine", "tmc"))

    monkeypatch.setattr("relay.producers.entry_points", points)
    assert [load("tmc"), load("mine")] == [TmcProducer, accept_all]


def test_what_is_installed_is_read_once_for_a_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A worker has to know several times before it starts."""
    asked: list[str] = []

    def points(group: str) -> metadata.EntryPoints:
        asked.append(group)
        return metadata.EntryPoints()

    monkeypatch.setattr("relay.producers.entry_points", points)
    assert known_names() == sorted(BUILT_IN)
    assert [load("tmc"), options_kind("stdout")] == [TmcProducer, ProducerOptions]
    assert len(asked) == 1
    monkeypatch.syspath_prepend(tmp_path)
    assert known_names() == sorted(BUILT_IN)
    assert len(asked) == 2, "there may be more on another path"


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match="kafka") as caught:
        load("kafka")
    assert [name for name in BUILT_IN if name not in caught.value.hint] == []


@pytest.mark.parametrize("target", ["no_such_package:Producer", "relay.producers.stdout:NoSuchClass"])
def test_a_producer_that_cannot_be_imported(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    points = metadata.EntryPoints([metadata.EntryPoint("mine", target, "relay.producers")])
    monkeypatch.setattr("relay.producers.entry_points", lambda group: points)
    with pytest.raises(ConfigurationError, match="mine"):
        load("mine")
