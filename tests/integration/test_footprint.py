"""What a message costs, in units that are the same on every machine: statements, rows written, WAL, memory.

Times wobble with the neighbours, these do not; speed itself is shown by ``make bench``. Each bound is well above what
was measured and below what the next worse design would need.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, create_engine

import relay
from relay.embedded import EmbeddedPostgres
from relay.message import ACCEPTED, Answer, Answered, Batch
from relay.store.claim.floors import Floors
from tests.fixtures.rows import Rows
from tests.fixtures.scripted import Bench
from tests.fixtures.telling import statements_of
from tests.fixtures.waiting import eventually

MESSAGES = 5_000
CONTENT = '{"tid":1234554321,"status":"X_PACKAGED","remark":"' + "x" * 230 + '"}'


class Accepting:
    """Accepts everything and remembers nothing."""

    max_batch, max_bytes = 50, 10**6

    async def open(self) -> None:
        return None

    async def close(self) -> None:
        return None

    async def produce(self, batch: Batch) -> Answer:
        return Answered((ACCEPTED,) * len(batch), "zzp0c5fj10y3", 200, 1)


@pytest.fixture
def own_engine(own_postgres: EmbeddedPostgres) -> Iterator[Engine]:
    """On a server where nobody else writes: WAL is counted for the whole server."""
    relay.migrate(own_postgres.url())
    engine = create_engine(own_postgres.url())
    yield engine
    engine.dispose()


def fill(engine: Engine, messages: int = MESSAGES) -> Rows:
    rows = Rows(engine)
    rows.add(messages, content=CONTENT)
    rows.run("analyze relay.outbox")
    return rows


async def drain(engine: Engine, messages: int = MESSAGES, *, concurrency: int = 8) -> None:
    never_slow = Floors(ordinary_seconds=600)  # a machine that hesitates would otherwise make claims ask for more
    report = await Bench(engine, Accepting(), floors=never_slow, concurrency=concurrency).drain()
    assert report.done == messages


# Two statements claim and two settle, for one call or for as many as there are slots.
@pytest.mark.parametrize(("concurrency", "most"), [(8, 0.08), (1, 0.09)])
async def test_statements_of_a_message(engine: Engine, concurrency: int, most: float) -> None:
    fill(engine)
    executed = statements_of(engine)
    await drain(engine, concurrency=concurrency)
    assert len(executed) / MESSAGES <= most


async def test_a_message_is_written_once(engine: Engine) -> None:
    """Claiming writes no row of the outbox, settling writes each one once: vacuum has one dead row a message."""
    rows = fill(engine)
    await drain(engine)
    engine.dispose()  # a session reports what it wrote when it ends
    written = "select n_tup_upd from pg_stat_user_tables where schemaname = 'relay' and relname = 'outbox'"
    eventually(lambda: rows.one(written) >= MESSAGES)
    assert rows.one(written) == MESSAGES


async def test_wal_of_a_message(own_engine: Engine) -> None:
    """460 bytes, without the page images of a durable server; a mark for each row at claim would add 150 to 400."""
    rows = fill(own_engine)
    position = "select pg_current_wal_insert_lsn() - '0/0'"
    before = rows.one(position)
    await drain(own_engine)
    assert (rows.one(position) - before) / MESSAGES <= 570


async def test_memory_does_not_grow_with_what_passed_through(engine: Engine) -> None:
    """If every message stayed, the second drain would need some 10 MB more than the first."""
    tracemalloc.start()
    try:
        peaks = []
        for messages in (2_000, 20_000):
            tracemalloc.reset_peak()
            fill(engine, messages)
            await drain(engine, messages)
            peaks.append(tracemalloc.get_traced_memory()[1])
    finally:
        tracemalloc.stop()
    assert peaks[1] - peaks[0] <= 4_000_000
