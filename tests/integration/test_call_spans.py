"""The span of a call: what became of each message, where each came from, and nothing of what is in them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import Engine

from relay.message import Answer, Answered, Batch, Fault, Refused, Result
from relay.observers.traces import call_spans
from relay.outcomes import Policy
from tests.fixtures.recorded import Recorded
from tests.fixtures.rows import Rows
from tests.fixtures.scripted import Bench, Scripted

AT_ONCE = Policy(max_attempts=1, outage_seconds=0)
PARENT = "00-{0:032x}-{0:016x}-01"


def traced(rows: Rows, count: int, headers: str | None = None, *, topic: str = "t") -> list[int]:
    """Each with a trace of its own, unless all have these headers."""
    ids = rows.add(count, topic=topic, content='{"buyer": "swordfish"}', account="向阳aa")
    for number, id_ in enumerate(ids, start=1):
        given = headers or json.dumps({"note": "trout", "traceparent": PARENT.format(number), "tracestate": "x=1"})
        rows.run("alter table relay.outbox disable trigger user")
        rows.run("update relay.outbox set headers = cast(:given as json) where id = :id", given=given, id=id_)
        rows.run("alter table relay.outbox enable trigger user")
    return ids


async def sent(engine: Engine, recorded: Recorded, play: Any, **options: Any) -> list[Any]:
    producer: Any = Scripted(play)
    producer.messaging_system = "spool"
    await Bench(engine, producer, spans=call_spans("w"), policy=AT_ONCE, **options).drain()
    return recorded.named("send")


def by_position(batch: Batch) -> Answer:
    """The first is accepted, the second refused, of the third nobody knows."""
    results = (Result(), Result(Fault.MESSAGE, "isv.bad", "trout"), Result(Fault.UNKNOWN, "relay.x", "trout"))
    return Answered(results[: len(batch)], request_id="r-1", http_status=200)


async def test_a_span_tells_what_became_of_each_message(recorded: Recorded, engine: Engine) -> None:
    ids = traced(Rows(engine), 3)
    (span,) = await sent(engine, recorded, by_position)
    told = span.attributes
    assert (span.name, span.kind.name, span.parent) == ("send t", "CLIENT", None)
    assert (told["messaging.system"], told["messaging.operation.name"], told["messaging.batch.message_count"]) == (
        "spool",
        "send",
        3,
    )
    assert (told["relay.outcome"], told["relay.outcomes"]) == ("partial", ("done", "failed", "unknown"))
    assert (told["relay.request_id"], told["http.response.status_code"]) == ("r-1", 200)
    assert told["relay.account"] == "向阳aa"
    events = [(event.attributes["relay.result_index"], event.attributes["error.type"]) for event in span.events]
    assert events == [(1, "isv.bad"), (2, "relay.x")]
    assert (span.status.status_code.name, span.status.description) == ("ERROR", "2 of 3 messages were not accepted")
    links = [(link.context.trace_id, link.attributes["messaging.message.id"]) for link in span.links]
    assert links == [(number, str(id_)) for number, id_ in enumerate(ids, start=1)]
    assert span.links[0].context.trace_state.get("x") == "1"
    assert (
        told["relay.oldest_outbox_seconds"] >= max(link.attributes["relay.outbox_seconds"] for link in span.links) > 0
    )
    assert not [word for word in ("swordfish", "trout", "note") if word in span.to_json()]


async def test_a_refused_call_says_why_and_halves_have_spans_of_their_own(recorded: Recorded, engine: Engine) -> None:
    traced(Rows(engine), 2)

    def play(batch: Batch) -> Answer:
        return Refused(Fault.CONTENT, "41", "isv.invalid", "swordfish") if len(batch) > 1 else Answered((Result(),))

    spans = await sent(engine, recorded, play)
    assert [span.attributes["relay.outcomes"] for span in spans] == [("split", "split"), ("done",), ("done",)]
    first, *halves = spans
    assert (first.attributes["error.type"], first.status.status_code.name) == ("isv.invalid", "ERROR")
    assert {"messaging.message.id", "messaging.destination.name"} <= set(halves[0].attributes)
    assert "messaging.batch.message_count" not in halves[0].attributes
    assert [span.status.status_code.name for span in halves] == ["UNSET", "UNSET"]


@pytest.mark.parametrize(
    "headers",
    ["{}", '{"traceparent": 7}', '{"traceparent": "00-0-0-00"}', r'{"x": "\ud800", "traceparent": "nonsense"}'],
    ids=["none", "number", "short", "half a sign"],
)
async def test_whatever_the_headers_are_the_call_goes_on(recorded: Recorded, engine: Engine, headers: str) -> None:
    rows = Rows(engine)
    traced(rows, 2, headers)
    (span,) = await sent(engine, recorded, lambda batch: Answered((Result(),) * len(batch)))
    assert (span.links, span.attributes["relay.outcomes"]) == ((), ("done", "done"))
    assert rows.counts() == {"done": 2}


async def test_a_call_whose_links_cannot_be_read_is_sent_and_told_all_the_same(
    recorded: Recorded, engine: Engine
) -> None:
    rows = Rows(engine)
    traced(rows, 2)
    bench = Bench(engine, Scripted(lambda batch: Answered((Result(),) * len(batch))), spans=call_spans("w"))

    def refused(ids: Any) -> Any:
        raise OSError("gone")

    bench.store.origins = refused
    await bench.drain()
    (span,) = recorded.named("send")
    assert (span.links, span.attributes["relay.outcome"], rows.counts()) == ((), "ok", {"done": 2})


async def test_log_lines_of_a_call_name_its_span(recorded: Recorded, engine: Engine) -> None:
    traced(Rows(engine), 1)
    bench = Bench(engine, Scripted(lambda batch: Answered((Result(),))), spans=call_spans("w"))
    await bench.drain()
    (span,) = recorded.named("send")
    (told,) = [event for event in bench.events if event.name == "call"]
    context = span.get_span_context()
    assert (told.trace_id, told.span_id) == (f"{context.trace_id:032x}", f"{context.span_id:016x}")


async def test_what_nobody_records_asks_nothing(engine: Engine) -> None:
    from opentelemetry import trace

    assert trace.get_tracer_provider()
    rows = Rows(engine)
    traced(rows, 1)
    bench = Bench(engine, Scripted(lambda batch: Answered((Result(),))), spans=call_spans("w"))
    asked: list[Any] = []
    bench.store.origins = asked.append
    await bench.drain()
    (told,) = [event for event in bench.events if event.name == "call"]
    assert (asked, told.trace_id, rows.counts()) == ([], None, {"done": 1})


async def test_a_tracer_that_raises_is_alone_with_it(engine: Engine) -> None:
    class Broken:
        def begin(self, batch: Batch, system: str) -> Any:
            raise ValueError("a sampler of somebody's")

    rows = Rows(engine)
    rows.add(2)
    await Bench(engine, Scripted(), spans=Broken()).drain()
    assert rows.counts() == {"done": 2}
