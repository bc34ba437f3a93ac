"""Rows that a worker's login keeps locked: calls to be settled, paces to be reserved. Who does is named alone."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from sqlalchemy import Engine, make_url

from relay import events
from relay.errors import UnreachableError
from relay.message import ACCEPTED, Answered
from relay.outcomes import Policy, decide
from relay.store import ClaimLimits, Store
from relay.worker.threads import Threads
from tests.fixtures.roles import Roles
from tests.fixtures.rows import Rows
from tests.fixtures.scripted import Bench, Phonebook, Scripted
from tests.fixtures.waiting import eventually, eventually_async

WAITING = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"


@pytest.fixture
def rows(engine: Engine) -> Rows:
    return Rows(engine)


@contextmanager
def holding(roles: Roles, statement: str) -> Iterator[int]:
    """The process of a worker's login that has run this and leaves its transaction open."""
    plain = make_url(roles.url("worker")).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain) as holder:
        holder.execute(statement.encode())
        yield holder.info.backend_pid
        holder.rollback()


async def test_of_several_who_wait_for_a_call_nobody_is_taken_for_the_one_who_has_it(
    rows: Rows, engine: Engine, roles: Roles
) -> None:
    """Who waits first has the row itself locked exclusively, in a list where tables stand."""
    store = Store(engine, worker="w", lease_seconds=60)
    rows.add(1)
    (batch,) = store.claim(ClaimLimits(slots=1)).batches
    settlement = decide(batch, Answered((ACCEPTED,)), Policy(), random.Random(1))
    threads, said = Threads(store.cut_off, patience_seconds=1.0), list[str]()
    patient = Threads(Store(engine, worker="x", lease_seconds=60).cut_off, patience_seconds=60.0)
    with holding(roles, "select id from relay.call for update") as pid:
        first = asyncio.create_task(patient.run(lambda: store.extend([batch.key])))
        await asyncio.to_thread(eventually, lambda: rows.one(WAITING) == 1)
        with pytest.raises(UnreachableError) as lost:
            await threads.run(lambda: store.settle([settlement], {}))
        said.append(str(lost.value))
    await first
    assert f"process {pid}, role {roles.login('worker')}, " in said[0]
    assert said[0].endswith(" holds a lock on call.")
    await threads.run(lambda: store.settle([settlement], {}))
    assert rows.counts() == {"done": 1}
    threads.close()
    patient.close()


async def test_a_pace_that_somebody_keeps_locked_is_told_and_costs_other_app_keys_nothing(
    rows: Rows, engine: Engine, roles: Roles
) -> None:
    rows.run("insert into relay.pace (app_key, next_at) values ('77', now())")
    rows.add(8, account="a")
    book, most = Phonebook({"a": ("77", "x"), "b": ("88", "y")}), 0
    bench = Bench(
        engine, Scripted(), directory=book, batch_size=1, concurrency=8, calls_per_second=500.0, lease_seconds=6.0
    )

    def done(account: str) -> int:
        return rows.one(f"select count(*) from relay.outbox where account = '{account}' and status = 'done'")

    async def told() -> bool:
        nonlocal most
        most = max(most, await asyncio.to_thread(rows.one, WAITING))
        return [lost.stage for lost in bench.told(events.DatabaseLost)].count("pace") >= 2

    async def other_app_keys_go_on() -> bool:
        return await asyncio.to_thread(done, "b") == 20

    async def all_is_done() -> bool:
        return await asyncio.to_thread(done, "a") == 8

    async with bench.running():
        with holding(roles, "select app_key from relay.pace where app_key = '77' for update") as pid:
            await eventually_async(told)
            rows.add(20, account="b")
            await eventually_async(other_app_keys_go_on)
        await eventually_async(all_is_done)
    assert most == 1, "each that waits for the row holds a thread, and all else waits for threads"
    lost = [each for each in bench.told(events.DatabaseLost) if each.stage == "pace"]
    assert f"process {pid}, role {roles.login('worker')}, " in lost[0].error
    assert lost[0].error.endswith(" holds a lock on pace.")
    assert {each.stage for each in bench.told(events.DatabaseLost)} == {"pace"}
