"""Statements that wait: for a lock, for a peer that is gone, for a standby. Nobody waits for ever, nothing piles up."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine, create_engine, event, make_url, text

import relay
from relay import sessions
from relay.embedded import EmbeddedPostgres
from relay.errors import UnreachableError
from relay.message import ACCEPTED, Answered
from relay.outcomes import Policy, decide
from relay.store import ClaimLimits, Store, connections
from relay.store.connections import _shut
from relay.wakeups import Notified
from relay.worker.threads import Threads
from tests.fixtures.proxy import Proxy, proxied, way_to
from tests.fixtures.rows import Rows
from tests.fixtures.waiting import eventually

THREADS = 6
OURS = "select count(*) from pg_stat_activity where application_name = 'blocked' and datname = current_database()"


def connected(url: str) -> Engine:
    return create_engine(url, isolation_level="READ COMMITTED", connect_args={"application_name": "blocked"})


@pytest.fixture
def worker(database_url: str) -> Iterator[Engine]:
    made = connected(database_url)
    yield made
    made.dispose()


@pytest.fixture
def proxy(database_url: str) -> Iterator[Proxy]:
    with proxied(lambda: way_to(make_url(database_url))) as made:
        yield made


@pytest.fixture
def through(proxy: Proxy, database_url: str) -> Iterator[Engine]:
    url = make_url(database_url).difference_update_query(["host", "port"]).set(host="127.0.0.1", port=proxy.port)
    made = connected(url.render_as_string(hide_password=False))
    yield made
    proxy.flow()
    made.dispose()


async def insist(threads: Threads, work: Callable[[], Any], until: Callable[[], bool], said: list[str]) -> None:
    while not until():
        try:
            await threads.run(work)
        except UnreachableError as error:
            said.append(str(error))
            await asyncio.sleep(0)


async def test_a_locked_table_costs_no_more_connections_than_there_are_threads(engine: Engine, worker: Engine) -> None:
    """As ``vacuum full`` does it. Before, each try left a server process behind, waiting for the lock."""
    store = Store(worker, worker="w", lease_seconds=60)
    Rows(engine).add(2)
    (batch,) = store.claim(ClaimLimits(slots=1)).batches
    settlement = decide(batch, Answered((ACCEPTED,) * 2), Policy(), random.Random(1))
    threads, said, most = Threads(store.cut_off, patience_seconds=0.2), list[str](), 0
    with engine.connect() as holder, engine.connect() as looking:
        holder.execute(text("lock table relay.outbox, relay.call in access exclusive mode"))
        pid = holder.connection.dbapi_connection.info.backend_pid  # type: ignore[union-attr]
        enough = lambda: len(said) >= 3 * THREADS  # noqa: E731
        work: list[Callable[[], Any]] = [
            lambda: store.claim(ClaimLimits(slots=1)),
            lambda: store.settle([settlement], {}),
            lambda: store.extend([batch.key]),
            lambda: store.recover(Policy(), random.Random(1)),
            lambda: store.still_moving(),
            lambda: store.pending(),
            lambda: store.pending(),
        ]
        async with asyncio.timeout(40):
            running = [asyncio.create_task(insist(threads, each, enough, said)) for each in work]
            while not all(task.done() for task in running):
                most = max(most, await asyncio.to_thread(lambda: looking.execute(text(OURS)).scalar_one()))
                await asyncio.sleep(0.02)
            await asyncio.gather(*running)
    assert 0 < most <= THREADS
    assert f"PostgreSQL gave no answer in time: process {pid}, role " in said[-1]
    assert said[-1].split(", holds a lock on ")[1] in ("outbox.", "call.")
    await threads.run(lambda: store.settle([settlement], {}))
    assert Rows(engine).counts() == {"done": 2}
    threads.close()


def test_a_transaction_after_one_that_was_cut_off_keeps_its_connection(
    engine: Engine, worker: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread has gone on to the next one before whoever cuts off looks again: that one is shut for nothing."""
    store = Store(worker, worker="w", lease_seconds=60)
    monkeypatch.setattr(connections, "_CANCEL_SECONDS", 0.5)
    monkeypatch.setattr(store._connections._released, "notify_all", lambda: None)  # it is told too late
    with engine.connect() as holder, ThreadPoolExecutor(1) as pool:
        holder.execute(text("lock table relay.outbox in access exclusive mode"))
        first, second = pool.submit(store.pending), pool.submit(store.pending)
        eventually(lambda: Rows(engine).one(f"{OURS} and wait_event_type = 'Lock'"))
        store.cut_off()
        with pytest.raises(UnreachableError, match="gave no answer in time"):
            first.result(10)
        holder.rollback()
        assert second.result(10) == 0


def test_a_server_process_whose_client_has_gone_stops_waiting(engine: Engine, worker: Engine) -> None:
    """Where cancelling is of no use: the process was killed, its host is gone."""
    store = Store(worker, worker="w", lease_seconds=60)
    store.now()
    with engine.connect() as holder:
        holder.execute(text("lock table relay.outbox in access exclusive mode"))
        waiting = threading.Thread(target=lambda: _quietly(store.pending))
        waiting.start()
        eventually(lambda: _waiting_for_lock(engine) == 1)
        for use in store._connections._in_use.copy().values():
            _shut(use.raw)
        waiting.join(5)
        eventually(lambda: _waiting_for_lock(engine) == 0, deadline_seconds=8)


async def test_a_connection_that_stalls_while_its_session_is_set_up_is_given_up(through: Engine, proxy: Proxy) -> None:
    """As behind a pooler that has accepted the login and has no server connection to give."""
    store = Store(through, worker="w", lease_seconds=60)
    event.listen(through, "connect", lambda *_: proxy.stall(), insert=True)
    threads = Threads(store.cut_off, patience_seconds=0.3)
    started = time.monotonic()
    with pytest.raises(UnreachableError, match="PostgreSQL gave no answer in time"):
        await threads.run(store.now)
    assert time.monotonic() - started < 5
    threads.close()


async def test_a_wake_up_that_stalls_while_it_is_set_up_ends_and_nothing_else(
    proxy: Proxy, through: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = psycopg.AsyncConnection.connect

    async def stalling(*arguments: Any, **parameters: Any) -> Any:
        made = await connect(*arguments, **parameters)
        proxy.stall()
        return made

    monkeypatch.setattr(psycopg.AsyncConnection, "connect", stalling)
    url = through.url.set(drivername="postgresql").render_as_string(hide_password=False)
    wakeup = Notified(url)
    async with asyncio.timeout(6):
        await wakeup.open()
    assert wakeup.trouble is not None
    await wakeup.close()


async def test_a_peer_that_is_gone_between_update_and_commit_holds_its_rows_for_a_moment_only(
    engine: Engine, worker: Engine, through: Engine, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half-open: the server thinks that the client is about to commit. Who waits for its rows says so."""
    short = sessions.WORKER.replace(
        "idle_in_transaction_session_timeout = 20000", "idle_in_transaction_session_timeout = 1500"
    )
    assert short != sessions.WORKER
    monkeypatch.setattr(sessions, "WORKER", short)
    store, gone = Store(worker, worker="w", lease_seconds=60), Store(through, worker="gone", lease_seconds=60)
    Rows(engine).add(2)
    (batch,) = store.claim(ClaimLimits(slots=1)).batches
    settlement = decide(batch, Answered((ACCEPTED,) * 2), Policy(), random.Random(1))
    threads, said, done = Threads(store.cut_off, patience_seconds=0.4), list[str](), list[object]()
    with suppress(UnreachableError), gone._connections.transaction() as connection:
        connection.execute(text("update relay.call set lease_until = now() + interval '1 minute'"))
        proxy.stall()
        async with asyncio.timeout(15):
            await insist(threads, lambda: done.append(store.settle([settlement], {})), lambda: bool(done), said)
        gone.cut_off()
    assert Rows(engine).counts() == {"done": 2}
    assert ", idle in transaction, in a transaction for " in said[0]
    threads.close()


def test_a_commit_that_waits_for_a_standby_does_not_count_as_made_without_it(own_postgres: EmbeddedPostgres) -> None:
    """To cancel it would make PostgreSQL say that it is committed."""
    relay.migrate(own_postgres.url())
    admin = create_engine(own_postgres.url(), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text("insert into relay.outbox (topic, content) values ('t', '{}')"))
        connection.execute(text("alter system set synchronous_standby_names = 'nobody'"))
        connection.execute(text("select pg_reload_conf()"))
    engine = connected(own_postgres.url())
    store, said = Store(engine, worker="w", lease_seconds=60), list[object]()
    waiting = threading.Thread(target=lambda: said.append(_quietly(lambda: store.claim(ClaimLimits(slots=1)))))
    waiting.start()
    asked = text("select count(*) from pg_stat_activity where wait_event = 'SyncRep'")
    with admin.connect() as connection:
        eventually(lambda: connection.execute(asked).scalar_one() == 1)
    store.cut_off()
    waiting.join(5)
    assert [type(each) for each in said] == [UnreachableError]
    engine.dispose()
    admin.dispose()


def _quietly(work: Callable[[], Any]) -> Any:
    try:
        return work()
    except UnreachableError as error:
        return error


def _waiting_for_lock(engine: Engine) -> int:
    query = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and application_name = 'blocked'"
    with engine.connect() as connection:
        return int(connection.execute(text(query)).scalar_one())
