"""The cycle on a real PostgreSQL, with producers that answer as a test wants: to the end, and exactly once."""

from __future__ import annotations

import asyncio
import math

import pytest
from sqlalchemy import Engine, create_engine, text

from relay import events
from relay.errors import UnsettledError
from relay.message import ACCEPTED, Answer, Answered, Batch, Fault, Refused, Result
from relay.outcomes import EXHAUSTED, Policy
from relay.store import ClaimLimits, Store
from relay.worker import Until
from tests.fixtures.rows import Rows
from tests.fixtures.scripted import AT_ONCE, Bench, Scripted, accept
from tests.fixtures.telling import statements_of
from tests.fixtures.waiting import eventually_async


@pytest.fixture
def rows(engine: Engine) -> Rows:
    return Rows(engine)


async def test_a_drain_produces_everything_once(rows: Rows, engine: Engine) -> None:
    added = rows.add(430) + rows.add(30, key_each="k") + rows.add(20, key="one") + rows.add(7, account="b")
    producer = Scripted()
    bench = Bench(engine, producer, concurrency=4)
    report = await bench.drain()
    assert producer.produced == dict.fromkeys(added, 1)
    assert rows.counts() == {"done": 487}
    assert (report.done, report.failed, report.retry, report.unknown, report.lost_calls) == (487, 0, 0, 0, 0)
    assert (report.calls, report.left, report.pauses) == (len(producer.calls), 0, ())
    assert (producer.opened, producer.closed) == (1, 1)
    assert type(bench.events[0]) is events.WorkerStarted
    assert type(bench.events[-1]) is events.WorkerStopped
    assert len(bench.told(events.CallSettled)) == report.calls


@pytest.mark.parametrize("how", ["held", "failed"])
async def test_a_drain_does_not_wait_for_what_stands_behind_a_head(rows: Rows, engine: Engine, how: str) -> None:
    head, *_ = rows.add(3, key="stands")
    if how == "held":
        rows.run("update relay.outbox set available_at = 'infinity' where id = :id", id=head)
    else:
        rows.run(
            "update relay.outbox set status = 'failed', finished_at = now(), error_code = 'isv.x' where id = :id",
            id=head,
        )
    rows.add(2, key="goes on")
    report = await Bench(engine, Scripted(), failed_holds=True).drain()
    assert (report.done, report.left) == (2, 3 if how == "held" else 2)


async def test_a_drain_waits_for_what_stands_behind_a_discarded_head(rows: Rows, engine: Engine) -> None:
    head, *_ = rows.add(3, key="k")
    rows.run(
        "update relay.outbox set status = 'failed', finished_at = now(), error_code = 'relay.discarded' where id = :id",
        id=head,
    )
    assert (await Bench(engine, Scripted(), failed_holds=True).drain()).done == 2


async def test_a_drain_of_nothing_ends(engine: Engine) -> None:
    assert (await Bench(engine, Scripted()).drain()).calls == 0


async def test_messages_of_a_key_are_accepted_in_id_order_whatever_happens(rows: Rows, engine: Engine) -> None:
    added = rows.add(12, key="k")
    tries: list[int] = []
    accepted: list[int] = []

    def stubborn(batch: Batch) -> Answer:
        (id_,) = (message.id for message in batch.messages)
        tries.append(id_)
        if tries.count(id_) <= id_ % 3:
            return Answered((Result(Fault.PROVIDER, "isp.x"),))
        accepted.append(id_)
        return accept(batch)

    await Bench(engine, Scripted(stubborn)).drain()
    assert accepted == added
    assert rows.counts() == {"done": 12}


async def test_what_fails_for_the_moment_is_tried_until_it_is_done(rows: Rows, engine: Engine) -> None:
    rows.add(60)

    def second_time(batch: Batch) -> Answer:
        return Answered(tuple(ACCEPTED if m.attempts else Result(Fault.PROVIDER, "isp.x") for m in batch.messages))

    report = await Bench(engine, Scripted(second_time)).drain()
    assert (report.done, report.retry) == (60, 60)
    assert rows.one("select array_agg(distinct attempts) from relay.outbox") == [2]


async def test_what_never_works_fails_with_the_last_reason(rows: Rows, engine: Engine) -> None:
    rows.add(3)
    policy = Policy(max_attempts=4, retry_base_seconds=0.0)

    def never(batch: Batch) -> Answer:
        return Answered((Result(Fault.PROVIDER, "isp.x", "down"),) * len(batch))

    report = await Bench(engine, Scripted(never), policy=policy).drain()
    assert (report.failed, report.retry) == (3, 9)
    assert rows.one("select distinct error_code from relay.outbox") == EXHAUSTED
    assert rows.one("select count(*) from relay.attempt") == 12


@pytest.mark.parametrize("culprits", [{0}, {49}, {17}, {3, 4, 44}])
async def test_splitting_finds_the_culprits_and_the_innocent_lose_nothing(
    rows: Rows, engine: Engine, culprits: set[int]
) -> None:
    added = rows.add(50)
    bad = {added[place] for place in culprits}

    def refuse(batch: Batch) -> Answer:
        if bad & {message.id for message in batch.messages}:
            return Refused(Fault.CONTENT, "41", "isv.invalid-parameter", "no")
        return accept(batch)

    producer = Scripted(refuse)
    report = await Bench(engine, producer, concurrency=2).drain()
    assert (report.done, report.failed) == (50 - len(bad), len(bad))
    assert len(producer.calls) <= len(bad) * 2 * math.log2(50) + 2
    failed = rows.read("select id, error_code, attempts from relay.outbox where status = 'failed' order by id")
    assert [tuple(row) for row in failed] == [(id_, "isv.invalid-parameter", 1) for id_ in sorted(bad)]
    assert rows.one("select array_agg(distinct attempts) from relay.outbox where status = 'done'") == [1]
    assert rows.one("select count(*) from relay.attempt") == len(bad)


async def test_a_producer_that_raises_leaves_unknowns_and_is_tried_again(rows: Rows, engine: Engine) -> None:
    rows.add(5)

    def first_raises(batch: Batch) -> Answer:
        if batch.messages[0].attempts == 0:
            raise ZeroDivisionError
        return accept(batch)

    bench = Bench(engine, Scripted(first_raises))
    report = await bench.drain()
    assert (report.unknown, report.done) == (5, 5)
    assert [each.error for each in bench.told(events.ProducerFailed)] == ["raised ZeroDivisionError"]
    assert rows.one("select distinct error_code from relay.attempt") == "relay.producer_failed"


async def test_observers_that_raise_do_not_stop_delivery(rows: Rows, engine: Engine) -> None:
    def broken(_: events.Event) -> None:
        raise RuntimeError

    rows.add(5)
    await Bench(engine, Scripted(), observers=[broken]).drain()
    assert rows.counts() == {"done": 5}


async def test_once_is_one_batch_and_what_it_splits_into(rows: Rows, engine: Engine) -> None:
    added = rows.add(120)

    def refuse_long(batch: Batch) -> Answer:
        return Refused(Fault.CONTENT, "41") if len(batch) > 25 else accept(batch)

    producer = Scripted(refuse_long)
    report = await Bench(engine, producer).drain(Until.ONE_BATCH)
    assert [len(batch) for batch in producer.calls] == [50, 25, 25]
    assert (report.done, rows.counts()) == (50, {"done": 50, "pending": 70})
    assert set(producer.produced) == set(added[:50])


async def test_once_with_nothing_to_do_ends(engine: Engine) -> None:
    assert (await Bench(engine, Scripted()).drain(Until.ONE_BATCH)).calls == 0


async def test_never_more_calls_at_once_than_allowed(rows: Rows, engine: Engine) -> None:
    rows.add(1000)
    inside = most = 0
    producer = Scripted()

    async def counting() -> None:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        await asyncio.sleep(0)
        inside -= 1

    producer.inside = counting
    await Bench(engine, producer, concurrency=3, batch_size=10).drain()
    assert most == 3
    assert rows.counts() == {"done": 1000}


async def test_no_transaction_is_open_while_a_call_is_in_flight(rows: Rows, database_url: str) -> None:
    rows.add(10)
    name = {"application_name": "the-worker"}
    engine = create_engine(database_url, connect_args=name)
    producer = Scripted()
    older = "select count(*) from pg_stat_activity where application_name = 'the-worker' and xact_start <= :began"

    async def inside() -> None:
        began = rows.one("select clock_timestamp()")

        async def none_is_older() -> bool:
            return bool(rows.one(older, began=began) == 0)

        await eventually_async(none_is_older)
        assert rows.one("select count(*) from pg_stat_activity where application_name = 'the-worker'") > 0

    producer.inside = inside
    report = await Bench(engine, producer, concurrency=1).drain()
    engine.dispose()
    assert (report.done, report.unknown) == (10, 0)


async def test_few_statements_a_message(rows: Rows, engine: Engine) -> None:
    rows.add(5000)
    statements = statements_of(engine)
    await Bench(engine, Scripted()).drain()
    assert rows.counts() == {"done": 5000}
    assert len(statements) / 5000 <= 0.08


async def test_a_dead_workers_calls_are_recovered_in_passing(rows: Rows, engine: Engine) -> None:
    rows.add(30)
    Store(engine, worker="dead", lease_seconds=60).claim(ClaimLimits(slots=1))
    rows.lapse_leases()
    bench = Bench(engine, Scripted())
    report = await bench.drain()
    assert (report.unknown, report.done, rows.counts()) == (30, 30, {"done": 30})
    assert bench.told(events.LeasesRecovered) == [events.LeasesRecovered(1, 30)]


async def test_a_call_that_outlives_its_lease_is_extended(rows: Rows, engine: Engine) -> None:
    rows.add(3)
    producer = Scripted(gated=True)
    bench = Bench(engine, producer, lease_seconds=0.6)
    extended = "select lease_until > claimed_at + interval '1.5 second' and lease_until > now() from relay.call"

    async def outlived() -> bool:
        return bool(rows.one(extended))

    async with bench.running():
        await producer.entered.wait()
        await eventually_async(outlived)
        assert rows.calls()[0].outcome is None
        producer.gate.set()

        async def settled() -> bool:
            return rows.counts() == {"done": 3}

        await eventually_async(settled)
    assert rows.one("select array_agg(outcome) from relay.call") == ["ok"]
    assert bench.told(events.LeasesRecovered) == []


async def test_what_only_a_person_can_mend_ends_the_run_and_closes_the_producer(rows: Rows, engine: Engine) -> None:
    rows.add(3)
    rows.run("drop table relay.attempt cascade")
    producer = Scripted(lambda batch: Answered((Result(Fault.MESSAGE, "x"),) * len(batch)))
    with pytest.raises(UnsettledError, match=r'1 call that was made is not settled: .*"relay.attempt" does not exist'):
        await Bench(engine, producer, grace_seconds=0.2).drain()
    assert producer.closed == 1


async def test_workers_share_the_work(rows: Rows, engine: Engine) -> None:
    added = rows.add(600)
    producers = [Scripted(), Scripted()]
    benches = [
        Bench(engine, producer, name=name, concurrency=2, batch_size=20)
        for name, producer in zip("ab", producers, strict=True)
    ]
    await asyncio.gather(*(bench.drain() for bench in benches))
    assert producers[0].produced + producers[1].produced == dict.fromkeys(added, 1)
    assert all(producer.calls for producer in producers)
    assert rows.one("select count(distinct worker) from relay.call") == 2


async def test_nothing_waits_for_a_retry_longer_than_it_has_to(rows: Rows, engine: Engine) -> None:
    """A message that was put off for a moment is done in the same drain; the drain waits for it."""
    rows.add(1, due_in_seconds=0.2)
    rows.add(1)
    assert (await Bench(engine, Scripted(), policy=AT_ONCE).drain()).done == 2
    early = text(
        "select count(*) from relay.call c join relay.outbox o on o.id = any (c.message_ids) "
        "where c.claimed_at < o.available_at"
    )
    with engine.connect() as connection:
        assert connection.scalar(early) == 0
