"""Stopping in two stages, and PostgreSQL going away: what is known is written, what is not is unknown, once."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator

import pytest
from sqlalchemy import Engine, create_engine, text

import relay
from relay import events
from relay.embedded import EmbeddedPostgres
from relay.message import Answer, Batch, Fault, Refused
from relay.outcomes import Policy
from relay.store import Store
from tests.fixtures.rows import Rows
from tests.fixtures.scripted import Bench, Phonebook, Scripted, accept
from tests.fixtures.waiting import eventually_async

OPEN_CALLS = "select count(*) from relay.call where settled_at is null"


@pytest.fixture
def rows(engine: Engine) -> Rows:
    return Rows(engine)


def holds(predicate: Callable[[], bool]) -> Callable[[], Awaitable[bool]]:
    async def asked() -> bool:
        return await asyncio.to_thread(predicate)

    return asked


async def ended(task: asyncio.Task[None], deadline_seconds: float = 10) -> None:
    async with asyncio.timeout(deadline_seconds):
        await task


async def test_stopped_before_it_began_nothing_is_claimed(rows: Rows, engine: Engine) -> None:
    rows.add(3)
    producer = Scripted()
    bench = Bench(engine, producer)
    bench.worker.stop()
    bench.worker.stop()
    assert (await bench.drain()).calls == 0
    assert (producer.calls, rows.calls(), producer.closed) == ([], [], 1)


async def test_stopped_while_idle_it_ends_at_once(engine: Engine) -> None:
    bench = Bench(engine, Scripted(), poll_interval_seconds=60)
    async with bench.running() as task:
        await eventually_async(holds(lambda: bool(bench.told(events.WorkerStarted))))
        bench.worker.stop()
        await ended(task, 5)
    assert bench.told(events.WorkerStopping) == []


async def test_a_worker_that_stops_is_not_ready(engine: Engine) -> None:
    bench = Bench(engine, Scripted())
    async with bench.running():
        assert await bench.worker.readiness.trouble() == ""
        bench.worker.stop()
        assert await bench.worker.readiness.trouble() == "the worker is stopping"


async def test_first_stop_lets_calls_land_and_gives_back_the_rest(rows: Rows, engine: Engine) -> None:
    rows.add(50)
    rows.add(20, account="later")

    def refuse_all_50(batch: Batch) -> Answer:
        return Refused(Fault.CONTENT, "41") if len(batch) == 50 else accept(batch)

    producer = Scripted(refuse_all_50)

    async def stop_in_a_half() -> None:
        if len(producer.calls[-1]) == 25:
            bench.worker.stop()

    producer.inside = stop_in_a_half
    bench = Bench(engine, producer, concurrency=1, batch_size=50)
    async with bench.running() as task:
        await ended(task)
    assert rows.one("select count(*) from relay.outbox where status = 'done' and account = 'default'") == 25
    assert rows.one(OPEN_CALLS) == 0
    assert rows.one("select array_agg(outcome order by id) from relay.call where parent_id is not null") == [
        "ok",
        "released",
    ]
    assert rows.one("select max(attempts) from relay.outbox where status = 'pending'") == 0
    assert len(bench.told(events.WorkerStopping)) == 1


async def test_halves_that_come_while_stopping_are_given_back(rows: Rows, engine: Engine) -> None:
    rows.add(50)
    producer = Scripted(lambda _: Refused(Fault.CONTENT, "41"), gated=True)
    bench = Bench(engine, producer, concurrency=1)
    async with bench.running() as task:
        await producer.entered.wait()
        bench.worker.stop()
        producer.gate.set()
        await ended(task)
    assert rows.one("select array_agg(outcome order by id) from relay.call") == ["rejected", "released", "released"]
    assert (rows.one("select max(attempts) from relay.outbox"), rows.counts()) == (0, {"pending": 50})


async def test_calls_that_wait_for_the_pace_are_given_back_at_once(rows: Rows, engine: Engine) -> None:
    rows.add(100)
    producer = Scripted()
    book = Phonebook({"default": ("77", "f")})
    bench = Bench(
        engine, producer, directory=book, batch_size=10, calls_per_second=0.01, concurrency=4, grace_seconds=600
    )
    reserved = "select count(*) from relay.pace where next_at > now() + interval '150 s'"
    async with bench.running() as task:
        await eventually_async(holds(lambda: bool(rows.one(reserved))))
        bench.worker.stop()
        await ended(task)
    assert len(producer.calls) == 1
    outcomes = rows.one("select array_agg(outcome order by outcome) from relay.call")
    assert (outcomes[0], set(outcomes[1:])) == ("ok", {"released"})
    assert rows.one("select max(attempts) from relay.outbox where status = 'pending'") == 0


async def test_second_stop_cuts_calls_off_and_says_that_nobody_knows(rows: Rows, engine: Engine) -> None:
    rows.add(50)
    producer = Scripted(gated=True)
    bench = Bench(engine, producer, grace_seconds=600)
    async with bench.running() as task:
        await producer.entered.wait()
        bench.worker.stop()
        bench.worker.stop()
        await ended(task)
    (call,) = rows.calls()
    assert (call.outcome, call.error_code) == ("unknown", "relay.stopped")
    assert rows.one("select count(*) from relay.attempt where outcome = 'unknown'") == 50
    assert rows.one("select array_agg(distinct attempts) from relay.outbox") == [1]


async def test_the_end_of_the_grace_is_a_second_stop(rows: Rows, engine: Engine) -> None:
    rows.add(1)
    producer = Scripted(gated=True)
    bench = Bench(engine, producer, grace_seconds=0.05)
    async with bench.running() as task:
        await producer.entered.wait()
        bench.worker.stop()
        await ended(task)
    assert rows.calls()[0].error_code == "relay.stopped"


async def test_a_claim_under_way_when_all_is_cut_off_is_given_back(rows: Rows, engine: Engine) -> None:
    """Else its messages would be unknown once the lease is over, though nobody ever sent them."""
    rows.add(50)
    waiting = """select count(*) from pg_locks join pg_stat_activity using (pid)
        where not granted and datname = current_database()"""
    bench = Bench(engine, Scripted())
    with engine.connect() as blocking:
        blocking.execute(text("lock table relay.outbox in exclusive mode"))
        async with bench.running() as task:
            await eventually_async(holds(lambda: bool(rows.one(waiting))))
            bench.worker.stop()
            bench.worker.stop()
            blocking.rollback()
            await ended(task)
    assert rows.one(OPEN_CALLS) == 0
    assert rows.one("select array_agg(distinct attempts) from relay.outbox") == [0]


@pytest.fixture
def own(own_postgres: EmbeddedPostgres) -> Iterator[Engine]:
    """An engine on a server of this test alone, migrated."""
    relay.migrate(own_postgres.url())
    engine = create_engine(own_postgres.url())
    yield engine
    engine.dispose()


async def test_answers_that_come_while_postgresql_restarts_are_kept(
    own_postgres: EmbeddedPostgres, own: Engine
) -> None:
    rows = Rows(own)
    added = rows.add(100)
    producer = Scripted(gated=True)
    bench = Bench(own, producer, concurrency=2)
    async with bench.running():
        await eventually_async(holds(lambda: len(producer.calls) == 2))
        await asyncio.to_thread(own_postgres.stop, "immediate")
        producer.gate.set()
        await eventually_async(holds(lambda: any(each.stage == "settle" for each in bench.told(events.DatabaseLost))))
        await asyncio.to_thread(own_postgres.start)
        await eventually_async(holds(lambda: rows.counts() == {"done": 100}))
    assert producer.produced == dict.fromkeys(added, 1)
    assert rows.one("select count(*) from relay.attempt") == 0
    assert rows.one("select array_agg(outcome) from relay.call") == ["ok", "ok"]


async def test_restarts_in_the_middle_of_everything_lose_and_double_nothing_in_silence(
    own_postgres: EmbeddedPostgres, own: Engine
) -> None:
    rows = Rows(own)
    added = rows.add(3000)
    producer = Scripted()

    async def slowly() -> None:
        await asyncio.sleep(0.01)  # a platform takes a moment

    producer.inside = slowly
    bench = Bench(own, producer, concurrency=4, lease_seconds=1.5)

    def done_at_least(count: int) -> Callable[[], Awaitable[bool]]:
        return holds(lambda: rows.counts().get("done", 0) >= count)

    async with bench.running():
        for count in (100, 600):
            await eventually_async(done_at_least(count))
            await asyncio.to_thread(own_postgres.restart, "immediate")
        await eventually_async(done_at_least(3000), deadline_seconds=30)
    assert set(producer.produced) == set(added)
    doubled = {id_ for id_, times in producer.produced.items() if times > 1}
    explained = set(
        rows.one("select coalesce(array_agg(message_id), '{}') from relay.attempt where outcome = 'unknown'")
    )
    assert doubled <= explained


async def test_when_postgresql_stays_away_the_run_ends_and_leaves_it_to_the_lease(
    own_postgres: EmbeddedPostgres, own: Engine
) -> None:
    rows = Rows(own)
    rows.add(5)
    producer = Scripted(gated=True)
    bench = Bench(own, producer, grace_seconds=0.1)
    async with bench.running() as task:
        await producer.entered.wait()
        await asyncio.to_thread(own_postgres.stop, "immediate")
        bench.worker.stop()
        await ended(task, 20)
    await asyncio.to_thread(own_postgres.start)
    own.dispose()
    rows.lapse_leases()
    Store(own, worker="next", lease_seconds=60).recover(Policy(), random.Random(1))
    assert rows.one("select array_agg(distinct outcome) from relay.attempt") == ["unknown"]
