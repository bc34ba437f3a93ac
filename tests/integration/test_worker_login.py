"""With the login of a worker and nothing more: odd rows that are legal stop nobody, and odd calls neither."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Engine, create_engine

from relay import events
from relay.checks import State, named
from relay.checks.backlog import open_calls
from relay.message import ACCEPTED, Answered, Batch, Fault, Refused, Result
from relay.outcomes import Policy
from relay.settings import Settings
from relay.store import ClaimLimits, Store
from tests.fixtures.roles import Roles
from tests.fixtures.rows import Rows
from tests.fixtures.scripted import Bench, Scripted
from tests.fixtures.waiting import eventually_async

ROOT = Path(__file__).parents[2]
MISNAMED = {
    "a null": "array[null]::bigint[]",
    "a null among others": "array[7001, null]::bigint[]",
    "one twice": "array[7001, 7001]",
    "more than an answer has": "array(select generate_series(7001, 47000))",
    "a table": "array[array[7001, -1], array[7002, -2]]",
    "from zero": "'[0:1]={7001,7002}'::bigint[]",
    "nothing": "'{}'::bigint[]",
}
CALL = """
insert into relay.call (account, worker, message_ids, lease_until)
values ('default', 'w', {names}, now() + interval '1 day')
"""


@pytest.fixture
def rows(engine: Engine) -> Rows:
    return Rows(engine)


@pytest.fixture
def as_worker(roles: Roles) -> Iterator[Engine]:
    made = create_engine(roles.url("worker"))
    yield made
    made.dispose()


def as_role(roles: Roles, part: str) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(roles.url(part).replace("+psycopg", ""), autocommit=True)


async def test_a_row_due_since_ever_is_sent_or_expires_and_stops_no_other(
    rows: Rows, roles: Roles, as_worker: Engine
) -> None:
    with as_role(roles, "app") as app:
        app.execute("insert into relay.outbox (topic, content, available_at) values ('t', '{}', '-infinity')")
        app.execute(
            "insert into relay.outbox (topic, content, available_at, deliver_before) "
            "values ('t', '{}', '-infinity', now() - interval '1 s')"
        )
    for odd in ("'0044-03-15 BC', null", "'0044-03-15 BC', '0044-03-16 BC'", "now(), '20000-01-01'"):  # of a dump
        rows.run(
            "insert into relay.outbox (topic, content, available_at, deliver_before, created_xid) "
            f"values ('t', '{{}}', {odd}, '3')"
        )
    rows.add(20)
    bench = Bench(as_worker, Scripted())
    report = await bench.drain()
    assert (report.done, report.failed) == (23, 2)
    assert bench.told(events.DatabaseRefused) == bench.told(events.CallRefused) == []


async def test_an_answer_with_a_word_that_only_people_write_is_settled(rows: Rows, as_worker: Engine) -> None:
    rows.add(2)
    bench = Bench(as_worker, Scripted(lambda _: Refused(Fault.MESSAGE, "relay.discarded", message="x")))
    assert (await bench.drain()).failed == 2
    assert not bench.told(events.CallRefused)


def test_no_call_names_what_nobody_could_settle(rows: Rows, roles: Roles) -> None:
    with as_role(roles, "worker") as worker:
        for names in MISNAMED.values():
            with pytest.raises(psycopg.errors.CheckViolation):
                worker.execute(CALL.format(names=names).encode())


def test_calls_that_are_there_already_keep_nobody_up_and_end_by_a_sentence(
    rows: Rows, roles: Roles, as_worker: Engine
) -> None:
    added = rows.add(3)
    rows.run("alter table relay.call disable trigger user")
    for names in list(MISNAMED.values())[:-1]:
        rows.run(CALL.format(names=names))
    rows.run("alter table relay.call enable trigger user")
    store = Store(as_worker, worker="v", lease_seconds=60)
    (batch,) = store.claim(ClaimLimits(slots=1)).batches
    assert [message.id for message in batch.messages] == added
    with rows.engine.connect() as connection:
        found, *_ = open_calls(connection, Settings())
    told = named("open calls", found)
    assert (told.state, "that no relay made" in str(told)) == (State.FAIL, True)
    assert store.pending_ids() == []
    rows.run("update relay.call set lease_until = now() - interval '1 s' where worker = 'w'")
    settled = store.recover(Policy(), random.Random(1))
    assert len(settled) == len(MISNAMED) - 1
    ended = rows.read("select distinct outcome, error_code from relay.call where worker = 'w'")
    assert [tuple(row) for row in ended] == [("unknown", "relay.unsound_call")]
    assert store.recover(Policy(), random.Random(1)) == ()


def test_discarding_and_archiving_do_not_mind_a_null_in_a_call(rows: Rows, roles: Roles, engine: Engine) -> None:
    added = rows.add(2)
    rows.run(
        "update relay.outbox set status = 'failed', finished_at = now() - interval '9 days' where id = :id", id=added[1]
    )
    rows.run("alter table relay.call disable trigger user")
    rows.run(CALL.format(names=MISNAMED["a null"]))
    rows.run("alter table relay.call enable trigger user")
    with as_role(roles, "operator") as operator:
        assert operator.execute("select relay.discard(array[%s], 'r')", (added[0],)).fetchone() == (added[:1],)
    moved = list(Store(engine, worker="w", lease_seconds=60).archive(timedelta(days=1)))
    assert sum(batch.messages for batch in moved) == 1


def test_no_statement_of_ours_asks_what_is_not_in_calls_with_their_nulls() -> None:
    """``id not in (select unnest(...))`` is never true where there is one null."""
    asks = re.compile(r"not in \(\s*select unnest\((\w+\.)?message_ids")
    frozen = re.compile(r"r000[1-7]")
    found = [
        path.name
        for path in (ROOT / "relay").rglob("*.py")
        if not frozen.match(path.name) and asks.search(path.read_text())
    ]
    assert found == []


async def comes_true(predicate: Callable[[], object]) -> None:
    async def now() -> object:
        return predicate()

    await eventually_async(now)


POISON = """
create function relay.poison() returns trigger language plpgsql as $$
begin
    if {condition} then raise exception 'not this one' using errcode = '{state}'; end if;
    return new;
end $$;
create trigger poisoned before {event} on relay.{table} for each row execute function relay.poison()
"""


@pytest.mark.parametrize(
    ("event", "table", "condition", "state"),
    [
        ("update", "outbox", "new.id = 7", "23001"),
        ("insert", "call", "7 = any (new.message_ids)", "22023"),
        ("insert", "call", "7 = any (new.message_ids)", "42501"),
    ],
    ids=["expiring", "naming", "naming, by a policy"],
)
async def test_a_claim_that_is_refused_for_one_message_takes_the_others(
    rows: Rows, as_worker: Engine, event: str, table: str, condition: str, state: str
) -> None:
    rows.add(6)
    poison = rows.add(deliver_within_seconds=-1.0 if event == "update" else None)
    rows.add(2, deliver_within_seconds=-1.0)
    rows.run(POISON.format(event=event, table=table, condition=condition, state=state))
    producer = Scripted()
    bench = Bench(as_worker, producer, batch_size=4, concurrency=1)
    async with bench.running():
        await comes_true(lambda: rows.counts() == {"done": 6, "failed": 2, "pending": 1})
        more = rows.add(5)  # and it is in nobody's way
        await comes_true(lambda: rows.counts()["done"] == 11)
    assert poison == [7]
    assert producer.produced == dict.fromkeys([*range(1, 7), *more], 1)
    told = [refusal.error.partition(": ")[0] for refusal in bench.told(events.DatabaseRefused)]
    assert set(told) == {"message 7 is left alone"}


async def test_a_settle_that_is_refused_for_one_message_ends_the_others(rows: Rows, as_worker: Engine) -> None:
    added = rows.add(10)
    rows.run(POISON.format(event="update", table="outbox", condition="new.id = 7", state="23001"))

    def play(batch: Batch) -> Answered:
        return Answered(tuple(Result(Fault.MESSAGE, "isv.x") if m.id > 8 else ACCEPTED for m in batch.messages))

    producer = Scripted(play)
    bench = Bench(as_worker, producer, grace_seconds=0.5)
    async with bench.running():
        await comes_true(lambda: rows.counts() == {"done": 7, "failed": 2, "pending": 1})
        await comes_true(lambda: bench.told(events.CallRefused))
    assert bench.told(events.CallRefused)[0].error.startswith("message 7: ")
    rows.run("drop trigger poisoned on relay.outbox")
    rows.lapse_leases()
    other = Bench(as_worker, producer)
    await other.drain()
    assert rows.counts() == {"done": 8, "failed": 2}
    assert producer.produced == {id_: 2 if id_ == 7 else 1 for id_ in added}


def test_a_login_whose_open_calls_name_more_than_any_fleet_has_is_told(rows: Rows, roles: Roles) -> None:
    flood = """insert into relay.call (account, worker, message_ids, lease_until, nonce)
        select 'default', 'w', array(select -(1000 * g + i) from generate_series(1, 1000) i), now() + interval '1 h', 9
        from generate_series(1, %s) g"""
    with as_role(roles, "worker") as worker:
        worker.execute((flood % 100).encode())
        with rows.engine.connect() as connection:
            assert [found.state for found in open_calls(connection, Settings())] == [State.OK]
        worker.execute((flood.replace("(1000 * g", "(1000000 + 1000 * g") % 1).encode())
    with rows.engine.connect() as connection:
        told = named("open calls", next(open_calls(connection, Settings())))
    assert told.state is State.FAIL
    assert f"101 by the login {roles.login('worker')} name 101,000 messages" in str(told)
