"""Workers archive by themselves, if a setting says after how long; and whatever happens there, messages go on."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Iterator
from datetime import timedelta

import pytest
from sqlalchemy import Engine

from relay import events
from relay.store import Moved
from relay.worker.housekeeping import Housekeeping
from relay.worker.threads import Threads
from tests.fixtures.rows import Rows
from tests.fixtures.scripted import Bench, Scripted
from tests.fixtures.waiting import eventually_async

DAY = timedelta(days=1)
FINISHED = """
with named as (
    insert into relay.call (account, worker, message_ids, lease_until, settled_at, claimed_at, outcome)
    select 'default', 'w', array[nextval('relay.outbox_id_seq')], now(), now() - cast(:ago as interval),
        now() - cast(:ago as interval), 'ok'
    from generate_series(1, :count)
    returning id, message_ids[1] as message_id
)
insert into relay.outbox (id, topic, content, status, call_id, result_index, created_at, finished_at)
overriding system value
select message_id, 't', '{}', 'done', id, 0, now() - cast(:ago as interval), now() - cast(:ago as interval) from named
"""


@pytest.fixture
def rows(engine: Engine) -> Rows:
    return Rows(engine)


async def test_a_worker_archives_what_finished_long_ago_and_nothing_else(rows: Rows, engine: Engine) -> None:
    rows.run(FINISHED, count=30, ago="2 days")
    rows.run(FINISHED, count=5, ago="1 hour")
    bench = Bench(engine, Scripted(), archive_after=DAY)
    async with bench.running():

        async def archived() -> bool:
            return bool(bench.told(events.Archived))

        async def accepted() -> bool:
            return rows.counts() == {"done": 8}

        await eventually_async(archived)
        rows.add(3)
        await eventually_async(accepted)
    assert bench.told(events.Archived) == [events.Archived(30, 0, 30)]
    assert rows.one("select count(*) from relay.outbox_archive") == 30
    told = {tuple(row) for row in rows.read("select reason, actor from relay.action where action = 'archive'")}
    assert told == {("finished more than 1 days ago (RELAY_ARCHIVE_AFTER_DAYS)", "w")}


async def test_nothing_moves_unless_it_is_wanted(rows: Rows, engine: Engine) -> None:
    rows.run(FINISHED, count=3, ago="2000 days")
    rows.add(3)
    await Bench(engine, Scripted()).drain()
    assert rows.counts() == {"done": 6}


class Rounds:
    """Batches of rounds that a test plays; each round takes the next script."""

    def __init__(self, *scripts: Iterable[Moved | Exception]) -> None:
        self.scripts = list(scripts)
        self.begun = 0
        self.over = asyncio.Event()

    def __call__(self) -> Iterator[Moved]:
        self.begun += 1
        if not self.scripts:
            self.over.set()
            return iter(())
        return self._play(self.scripts.pop(0))

    def _play(self, script: Iterable[Moved | Exception]) -> Iterator[Moved]:
        for each in script:
            if isinstance(each, Exception):
                raise each
            yield each


async def told_after(rounds: Rounds) -> list[events.Event]:
    told: list[events.Event] = []
    threads = Threads(lambda _: None, patience_seconds=10)
    observed = events.Events([told.append])
    keeping = Housekeeping(rounds, threads, events=observed, rng=random.Random(1), round_seconds=0.01)
    task = asyncio.create_task(keeping.archive_forever())
    try:
        async with asyncio.timeout(20):
            await rounds.over.wait()
    finally:
        task.cancel()
        threads.close()
    return told


async def test_a_round_is_told_as_one() -> None:
    rounds = Rounds([Moved(1000, 3), Moved(500, 1), Moved(calls=30)])
    assert await told_after(rounds) == [events.Archived(1500, 4, 30)]


async def test_a_round_that_finds_nothing_is_not_told() -> None:
    assert await told_after(Rounds([Moved()], [])) == []


async def test_who_comes_while_another_archives_leaves_it_to_them() -> None:
    assert await told_after(Rounds([Moved(busy=True)], [Moved(7), Moved(busy=True)])) == [events.Archived(7, 0, 0)]


async def test_what_goes_wrong_is_told_without_statements_and_tried_again() -> None:
    missing = RuntimeError("permission denied for function archive_messages\n[SQL: select ...]")
    assert await told_after(Rounds([Moved(5), missing], [Moved(6)])) == [
        events.ArchivingFailed("permission denied for function archive_messages"),
        events.Archived(6, 0, 0),
    ]
