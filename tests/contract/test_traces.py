"""The trace of an application goes with its messages, whatever the connection; and nobody pays who traces nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

import relay
from relay.schema import MAX_BYTES
from relay.traces import trace_id_of
from tests.contract.writers import ADDING, MAPPED, STATEMENTS, WANTED
from tests.fixtures.recorded import Recorded

TOPIC = "taobao_jds_TradeTrace"
WITH_A_SPAN = {} if WANTED else ADDING  # else sessions of drivers that nobody takes the settings back for
CURRENT = {**MAPPED, "insert": STATEMENTS["insert"]}


def traceparent(span: Any) -> str:
    context = span.get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"


def headers(engine: Engine, id_: int | None) -> str | None:
    with engine.connect() as connection:
        found: str | None = connection.scalar(
            text("select cast(headers as text) from relay.outbox where id = :id"), {"id": id_}
        )
        return found


async def test_each_way_to_add_has_a_span_below_that_of_the_application(
    recorded: Recorded, database_url: str, engine: Engine
) -> None:
    for name, writer in WITH_A_SPAN.items():
        async with writer(database_url) as transaction:
            with recorded.tracer.start_as_current_span(name) as business:
                id_ = await transaction.add(TOPIC, {"n": 1})
            await transaction.commit()
        created = recorded.named("create")[-1]
        assert (created.name, created.parent.span_id) == (f"create {TOPIC}", business.get_span_context().span_id), name
        assert created.kind.name == "PRODUCER"
        assert created.attributes["messaging.destination.name"] == TOPIC
        told = created.attributes.get("messaging.message.id"), created.attributes.get("messaging.batch.message_count")
        assert told == ((None, 1) if name.startswith("many") else (str(id_), None)), name
        assert json.loads(headers(engine, id_) or "{}")["traceparent"] == traceparent(created), name
    assert len(recorded.named("create")) == len(WITH_A_SPAN)


async def test_what_is_written_later_goes_with_the_current_span(
    recorded: Recorded, database_url: str, engine: Engine
) -> None:
    for name, writer in CURRENT.items():
        async with writer(database_url) as transaction:
            with recorded.tracer.start_as_current_span(name) as business:
                id_ = await transaction.add(TOPIC, {"n": 1}, headers={"a": 1})
            await transaction.commit()
        assert json.loads(headers(engine, id_) or "{}") == {"traceparent": traceparent(business), "a": 1}, name
    assert recorded.named("create") == []


def test_without_a_span_nothing_is_written(recorded: Recorded, engine: Engine) -> None:
    with Session(engine) as session, session.begin():
        plain, kept = relay.add(session, TOPIC, {}), relay.add(session, TOPIC, {}, headers={"a": 1})
    assert (headers(engine, plain), headers(engine, kept)) == (None, '{"a":1}')
    assert recorded.named("") == []


LARGE = json.dumps({"a": "x" * (MAX_BYTES["headers"] - 10)})
OWN = json.dumps({"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"})


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (OWN, OWN),
        (LARGE, LARGE),  # there is no room
        ("{}", '"}'),
        (' { "a" : 1.50 }', ', "a" : 1.50 }'),
        ('{"a": {"traceparent": "of something else"}}', ',"a": {"traceparent": "of something else"}}'),
        ('{"tracestate": "x=1"}', ',"tracestate": "x=1"}'),
    ],
    ids=["own", "large", "empty", "number", "nested", "state"],
)
def test_headers_that_are_there_stay_as_they_are(recorded: Recorded, engine: Engine, given: str, kept: str) -> None:
    with recorded.tracer.start_as_current_span("business") as business, Session(engine) as session, session.begin():
        one, (many,) = (
            relay.add(session, TOPIC, {}, headers=given),
            relay.add_many(session, [{"topic": TOPIC, "content": {}, "headers": given}]),
        )
    for id_ in (one, many):
        written = headers(engine, id_) or ""
        assert written.endswith(kept)
        untouched = given in (OWN, LARGE)
        assert untouched == (written == given)
        if not untouched:
            assert trace_id_of(json.loads(written)["traceparent"]) == f"{business.get_span_context().trace_id:032x}"


def test_many_messages_have_one_span_together(recorded: Recorded, engine: Engine) -> None:
    with recorded.tracer.start_as_current_span("business"), Session(engine) as session, session.begin():
        ids = relay.add_many(session, [{"topic": f"t{n % 2}", "content": {}} for n in range(4)])
    (created,) = recorded.named("create")
    assert (created.name, created.attributes["messaging.batch.message_count"]) == ("create", 4)
    assert {json.loads(headers(engine, id_) or "{}")["traceparent"] for id_ in ids} == {traceparent(created)}


def test_an_error_is_told_by_its_kind_and_quotes_nothing(recorded: Recorded, engine: Engine) -> None:
    with recorded.tracer.start_as_current_span("business"), Session(engine) as session, pytest.raises(Exception):  # noqa: B017, PT011
        relay.add(session, TOPIC, {"buyer": "swordfish"}, schema="nowhere")
    (created,) = recorded.named("create")
    assert (created.attributes["error.type"], created.status.status_code.name) == ("ProgrammingError", "ERROR")
    assert (created.events, created.status.description) == ((), None)
    assert "swordfish" not in created.to_json()


def test_a_trace_that_is_not_sampled_is_carried_as_such(recorded: Recorded, engine: Engine) -> None:
    from opentelemetry import trace

    remote = trace.SpanContext(7, 9, is_remote=True, trace_flags=trace.TraceFlags(0))
    with trace.use_span(trace.NonRecordingSpan(remote)), Session(engine) as session, session.begin():
        id_ = relay.add(session, TOPIC, {})
    found = json.loads(headers(engine, id_) or "{}")["traceparent"]
    assert (trace_id_of(found), found[-2:]) == (f"{7:032x}", "00")
    assert recorded.named("create") == []


PROGRAM = """
import sys, relay
relay.OutboxMessage(topic="t", content={}); relay.insert("t", {})
import relay.assembly.worker, relay.cli.run
assert not [name for name in sys.modules if name.startswith("opentelemetry")]
"""


def test_nothing_of_it_is_loaded_by_us() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=Path(__file__).parents[2], capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr


def test_a_trace_is_read_from_headers_as_they_are() -> None:
    assert trace_id_of(f"00-{'a' * 32}-{'b' * 16}-01") == "a" * 32
    for wrong in (None, "", "00", f"00-{'0' * 32}-{'b' * 16}-01", f"00-{'A' * 32}-{'b' * 16}-01", "x" * 55):
        assert trace_id_of(wrong) is None
