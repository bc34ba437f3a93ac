"""What becomes of the way to PostgreSQL: cut, stalled, terminated, read-only, exhausted."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, make_url, text

from relay.assembly.worker import wired
from relay.errors import UnreachableError
from relay.events import DatabaseLost, Event
from relay.message import ACCEPTED, Answer, Answered, Batch
from relay.outcomes import Policy
from relay.store import ClaimLimits, Store
from relay.store.connections import Connections
from relay.worker import Clock, Options, Until
from relay.worker.readiness import Readiness
from relay.worker.threads import Threads
from tests.fixtures.proxy import Proxy, proxied, way_to
from tests.fixtures.waiting import eventually


@pytest.fixture
def proxy(database_url: str) -> Iterator[Proxy]:
    with proxied(lambda: way_to(make_url(database_url))) as made:
        yield made


@pytest.fixture
def through(proxy: Proxy, database_url: str) -> Iterator[Engine]:
    """An engine whose connections lead through the proxy."""
    url = make_url(database_url).difference_update_query(["host", "port"]).set(host="127.0.0.1", port=proxy.port)
    made = create_engine(url, isolation_level="READ COMMITTED", connect_args={"connect_timeout": 2})
    yield made
    proxy.flow()
    made.dispose()


def fill(engine: Engine, count: int) -> None:
    with engine.begin() as connection:
        connection.execute(
            text("insert into relay.outbox (topic, content) select 't', '{}' from generate_series(1, :count)"),
            {"count": count},
        )


class Accepting:
    """Accepts everything; ``meanwhile`` runs once, during the first call."""

    max_batch, max_bytes = 50, 1_000_000

    def __init__(self, meanwhile: object = None) -> None:
        self.produced: list[int] = []
        self._meanwhile = meanwhile

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def produce(self, batch: Batch) -> Answer:
        meanwhile, self._meanwhile = self._meanwhile, None
        if callable(meanwhile):
            meanwhile()
        self.produced += [message.id for message in batch.messages]
        return Answered((ACCEPTED,) * len(batch))


async def drain(engine: Engine, producer: Accepting, seen: list[Event], **options: float) -> None:
    _, worker = wired(
        engine,
        producer,
        name="test",
        policy=Policy(),
        options=Options(concurrency=2, **options),  # type: ignore[arg-type]
        observers=[seen.append],
    )
    async with asyncio.timeout(40):
        await worker.run(Until.DRAINED)


def statuses(engine: Engine) -> dict[str, int]:
    with engine.connect() as connection:
        rows = connection.execute(text("select status, count(*) from relay.outbox group by status"))
        return {row[0]: row[1] for row in rows}


async def test_a_connection_that_is_cut_costs_nothing_but_time(engine: Engine, through: Engine, proxy: Proxy) -> None:
    fill(engine, 500)
    producer, seen = Accepting(proxy.cut), []
    await drain(through, producer, seen)
    assert statuses(engine) == {"done": 500}
    assert len(producer.produced) == 500, "something was produced twice"


async def test_a_stalled_connection_is_given_up_and_replaced(engine: Engine, through: Engine, proxy: Proxy) -> None:
    """Half-open: nothing passes, and nobody says so. The answer of the platform is kept and settled later."""
    fill(engine, 100)
    producer, seen = Accepting(proxy.stall), []
    threading.Timer(6, proxy.flow).start()
    await drain(through, producer, seen, lease_seconds=9)
    assert statuses(engine) == {"done": 100}
    assert sorted(producer.produced) == sorted(set(producer.produced))
    assert any(isinstance(event, DatabaseLost) for event in seen)


async def test_probes_on_a_stalled_connection_are_answered_and_pile_up_nowhere(through: Engine, proxy: Proxy) -> None:
    store = Store(through, worker="test", lease_seconds=60)
    threads = Threads(store.cut_off, patience_seconds=8)
    readiness = Readiness(store, threads, asyncio.Event())
    assert await readiness.trouble() == ""
    proxy.stall()
    async with asyncio.timeout(6):
        told = await asyncio.gather(*(readiness.trouble() for _ in range(20)))
        told.append(await readiness.trouble())
    assert set(told) == {"PostgreSQL has not answered for 2 s"}
    assert through.pool.checkedout() == 1  # type: ignore[attr-defined]
    proxy.flow()
    assert await readiness.trouble() == ""
    threads.close()


async def test_terminated_backends_are_replaced(engine: Engine, database_url: str) -> None:
    fill(engine, 500)
    relay_engine = create_engine(database_url, isolation_level="READ COMMITTED")

    def terminate() -> None:
        with engine.begin() as connection:
            connection.execute(
                text(
                    "select pg_terminate_backend(pid) from pg_stat_activity "
                    "where datname = current_database() and pid <> pg_backend_pid()"
                )
            )

    producer, seen = Accepting(terminate), []
    await drain(relay_engine, producer, seen)
    relay_engine.dispose()
    assert statuses(engine) == {"done": 500}
    assert len(producer.produced) == 500


def test_cutting_off_wakes_whoever_waits(engine: Engine, database_url: str) -> None:
    """A claim that waits for an answer that never comes fails as soon as its connection is cut off."""
    relay_engine = create_engine(database_url, isolation_level="READ COMMITTED")
    store = Store(relay_engine, worker="test", lease_seconds=60)
    troubles: list[Exception] = []

    def claim() -> None:
        try:
            store.claim(ClaimLimits(slots=1))
        except Exception as error:
            troubles.append(error)

    with engine.begin() as connection:
        connection.execute(text("lock table relay.call in access exclusive mode"))
        waiting = threading.Thread(target=claim)
        waiting.start()
        eventually(lambda: _waits_for_lock(engine))
        store.cut_off()
        waiting.join(10)
    assert not waiting.is_alive()
    assert [type(error) for error in troubles] == [UnreachableError]
    fill(engine, 3)
    assert len(store.claim(ClaimLimits(slots=1)).batches) == 1
    relay_engine.dispose()


def _waits_for_lock(engine: Engine) -> bool:
    query = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
    with engine.connect() as connection:
        return bool(connection.execute(text(query)).scalar_one())


async def test_a_server_that_became_read_only_counts_as_lost(engine: Engine, database_url: str) -> None:
    fill(engine, 1)
    standby = create_engine(
        database_url,
        isolation_level="READ COMMITTED",
        connect_args={"options": "-c default_transaction_read_only=on"},
    )
    store = Store(standby, worker="test", lease_seconds=60)
    with pytest.raises(UnreachableError):
        store.claim(ClaimLimits(slots=1))
    threads = Threads(store.cut_off, patience_seconds=8)
    assert await Readiness(store, threads, asyncio.Event()).trouble() == (
        "PostgreSQL is read-only: a standby, or read-only by default"
    )
    threads.close()
    standby.dispose()


def test_an_exhausted_pool_counts_as_lost(engine: Engine, database_url: str) -> None:
    narrow = create_engine(
        database_url, isolation_level="READ COMMITTED", pool_size=1, max_overflow=0, pool_timeout=0.05
    )
    with narrow.connect(), pytest.raises(UnreachableError):
        Store(narrow, worker="test", lease_seconds=60).pauses()
    narrow.dispose()


async def test_the_time_for_signing_is_the_databases(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host clock that is an hour off would make the platform refuse every signature."""
    right = time.time
    monkeypatch.setattr("relay.worker.clock.time.time", lambda: right() + 3600)
    clock = Clock()
    seen: list[float] = []

    class Asking(Accepting):
        async def produce(self, batch: Batch) -> Answer:
            seen.append(clock.now() - right())
            return await super().produce(batch)

    fill(engine, 1)
    relay_engine = create_engine(engine.url, isolation_level="READ COMMITTED")
    _, worker = wired(relay_engine, Asking(), name="test", policy=Policy(), options=Options(), clock=clock)
    await worker.run(Until.DRAINED)
    relay_engine.dispose()
    assert len(seen) == 1
    assert abs(seen[0]) < 5


def test_a_connection_that_comes_back_to_a_pool_that_is_gone_is_closed(database_url: str) -> None:
    """As when a worker has stopped, and its last transaction ends after it."""
    relay_engine = create_engine(database_url)
    with Connections(relay_engine).transaction() as connection:
        raw: Any = connection.connection.dbapi_connection
        relay_engine.dispose()
    assert raw.closed
