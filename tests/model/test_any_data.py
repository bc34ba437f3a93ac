"""Random legal rows, settings and answers at a real worker: whatever comes, the ledger adds up and the worker lives.

A row is whatever the table takes; an answer is whatever a producer may give, and some of what it may not. After each
history: every message that the platform accepted, and of which the worker was told, is done, at the index told; nothing
is sent and not settled; what is not done says why; and the worker, with a login that is a relay_worker and no more, has
ended by itself, without an exception.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, note, seed, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import DBAPIError

from relay import outcomes
from relay.events import CallRefused, DatabaseRefused
from relay.message import ACCEPTED, Answered, Batch, Fault, Refused, Result, Scope
from relay.outcomes import Policy
from relay.worker import Until
from tests.fixtures.roles import Roles
from tests.fixtures.rows import Rows
from tests.fixtures.scripted import Bench, Phonebook, Scripted

WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=40)
STRANGE = st.sampled_from(
    ["\u202e", "a" * 256, "漢" * 256, "'; --", "{NULL}", "\\", "\x01\x7f", "\U0010ffff", "NULL", "%s :x"]
)
NAMES = st.one_of(STRANGE, WORDS).filter(str.strip)
SAID = st.one_of(
    st.none(),
    STRANGE,
    st.text(max_size=50),
    st.sampled_from(["\ud800", "x\0y", "漢" * 3000, "x" * 10**5, "isv.x", "7", "relay.discarded"]),
)
TIMES = st.sampled_from(
    ["now()", "'-infinity'", "'0001-01-02 00:00+00'", "now() - interval '9 days'", "now() + interval '30 ms'"]
)
DEADLINES = st.sampled_from(
    [
        "null",
        "null",
        "null",
        "'infinity'",
        "'9999-12-30 23:00+00'",
        "now()",
        "now() + interval '20 ms'",
        "'0001-01-02 UTC'",
    ]
)
CONTENTS = st.one_of(
    st.sampled_from(
        ["{}", '{"a":1e999}', '{"a":"\\u0000\\ud800"}', '{"a":' * 500 + "1" + "}" * 500, '{"tid":9223372036854775808}']
    ),
    st.integers(1, 100_000).map(lambda size: json.dumps({"a": "x" * size})),
    WORDS.map(lambda word: json.dumps({"a": word}, ensure_ascii=False)),
)
ROWS = st.fixed_dictionaries(
    {
        "topic": NAMES.filter(lambda name: len(name) <= 256),
        "content": CONTENTS,
        "account": st.one_of(st.just("default"), NAMES),
        "ordering_key": st.one_of(st.none(), st.none(), st.sampled_from(["k", "l"]), NAMES),
        "target_group": st.one_of(st.none(), NAMES),
        "available_at": TIMES,
        "deliver_before": DEADLINES,
    }
)
NUMBERS = st.one_of(st.none(), st.sampled_from([200, 0, -1, 599, 70_000, 2**31, 2**70]))
SECONDS = st.sampled_from([None, 0.0, 1e-9, 0.01])
RESULTS = st.one_of(
    st.just(ACCEPTED),
    st.builds(Result, st.sampled_from([*Fault, None]), SAID, SAID, pause_seconds=SECONDS),
)
REFUSALS = st.builds(
    Refused,
    st.sampled_from([Fault.CONTENT, Fault.PROVIDER, Fault.UNKNOWN, Fault.MESSAGE, Fault.THROTTLED]),
    SAID,
    SAID,
    message=SAID,
    request_id=SAID,
    http_status=NUMBERS,
    request_bytes=NUMBERS.map(lambda number: number or 0),
    scope=st.sampled_from(Scope),
    pause_seconds=st.just(0.01),
    app_key=SAID,
)
OPTIONS = st.fixed_dictionaries(
    {
        "concurrency": st.integers(1, 9),
        "batch_size": st.integers(1, 50),
        "calls_per_second": st.sampled_from([0.0, 0.0, 500.0, 1e6]),
        "failed_holds": st.booleans(),
        "linger_seconds": st.sampled_from([0.0, 0.01]),
    }
)
POLICIES = st.builds(
    Policy,
    max_attempts=st.integers(1, 4),
    retry_base_seconds=st.sampled_from([0.0, 1e-9, 0.01]),
    retry_max_seconds=st.sampled_from([0.01, 1e300]),
    hold_unknown=st.booleans(),
)
INSERT = """
insert into relay.outbox (topic, content, account, ordering_key, target_group, available_at, deliver_before)
values (:topic, cast(:content as json), :account, :ordering_key, :target_group, {available_at}, {deliver_before})
"""
FATES = "select id, status, call_id, result_index, error_code from relay.outbox"
EMPTY = (
    "set local relay.pruning = on",
    *(f"delete from relay.{table}" for table in ("outbox", "call", "attempt", "pause")),
)


class Whimsical(Scripted):
    """Plays the answers given, then accepts everything. ``told``: message → the calls in which it was accepted."""

    def __init__(self, answers: list[Any]) -> None:
        super().__init__()
        self.answers = iter(answers)
        self.told: dict[int, set[tuple[int, int]]] = {}

    async def produce(self, batch: Batch) -> Any:
        self.calls.append(batch)
        await asyncio.sleep(0)
        answer = next(self.answers, [ACCEPTED])
        if isinstance(answer, str):
            raise ValueError(answer)
        if isinstance(answer, list):
            results = (answer * len(batch))[: len(batch)]
            for index, (message, result) in enumerate(zip(batch.messages, results, strict=True)):
                if result.accepted:
                    self.told.setdefault(message.id, set()).add((batch.call_id, index))
            return Answered(tuple(results), request_id="r\ud800", http_status=200)
        return answer


ANSWERS = st.lists(
    st.one_of(
        st.lists(RESULTS, min_size=1, max_size=5),
        st.lists(RESULTS, min_size=1, max_size=5),
        REFUSALS,
        st.just("raises"),
        st.sampled_from([None, 7, Answered((ACCEPTED,) * 99)]),
    ),
    max_size=8,
)


@pytest.fixture
def rows(database_url: str) -> Iterator[Rows]:
    engine = create_engine(database_url)
    yield Rows(engine)
    engine.dispose()


@pytest.fixture
def as_worker(roles: Roles) -> Iterator[Engine]:
    engine = create_engine(roles.url("worker"))
    yield engine
    engine.dispose()


def fill(engine: Engine, some: list[dict[str, Any]]) -> None:
    """All that the table takes; what it refuses is the application's to know."""
    for row in some:
        try:
            with engine.begin() as connection:
                connection.execute(text(INSERT.format(**row)), row)
        except DBAPIError as error:
            note(f"refused: {type(error.orig).__name__}")


def assert_adds_up(rows: Rows, producer: Whimsical) -> None:
    assert rows.one("select count(*) from relay.call where settled_at is null") == 0
    by_id = {row.id: row for row in rows.read(FATES)}
    for message_id, places in producer.told.items():
        row = by_id[message_id]
        assert row.status == "done", row.error_code
        assert (row.call_id, row.result_index) in places
    for message_id, row in by_id.items():
        if row.status == "done":
            assert message_id in producer.told
        elif message_id in producer.produced:
            tried = rows.one("select count(*) from relay.attempt where message_id = :id", id=message_id)
            assert row.error_code is not None or tried
    named = {(call.id, tuple(call.message_ids)) for call in rows.calls() if call.outcome != "released"}
    assert {(batch.call_id, tuple(m.id for m in batch.messages)) for batch in producer.calls} <= named


@pytest.mark.filterwarnings("ignore:Generating overly large repr")  # it would tell of a large message, not of a fault
def test_any_rows_settings_and_answers_leave_a_ledger_that_adds_up(
    rows: Rows, as_worker: Engine, pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    for minute in ("ALONE_SECONDS", "OUR_FAULT_SECONDS"):  # a drain waits for what is due by then
        monkeypatch.setattr(outcomes, minute, 0.01)
    loop = asyncio.new_event_loop()

    @seed(pytestconfig.getoption("randomly_seed", None) or random.randrange(sys.maxsize))
    @settings(
        max_examples=40,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(ROWS, min_size=1, max_size=25), ANSWERS, OPTIONS, POLICIES)
    def one(some: list[dict[str, Any]], answers: list[Any], options: dict[str, Any], policy: Policy) -> None:
        with rows.engine.begin() as connection:
            for statement in EMPTY:
                connection.execute(text(statement))
        fill(rows.engine, some)
        producer = Whimsical(answers)
        directory = Phonebook({"default": ("key", "f")})
        bench = Bench(as_worker, producer, policy=policy, directory=directory, poll_interval_seconds=0.005, **options)
        loop.run_until_complete(bench.drain(Until.DRAINED))
        assert_adds_up(rows, producer)
        assert not bench.told(CallRefused)
        assert not bench.told(DatabaseRefused)

    try:
        one()
    finally:
        loop.close()
