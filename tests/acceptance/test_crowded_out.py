"""A worker that is crowded out, by a pooler with too few connections or by a lock: it stays, and it obeys."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import httpx
import psycopg
from sqlalchemy import make_url

from tests.acceptance.outbox import Outbox, assert_reconciled, numbered
from tests.acceptance.patience import eventually
from tests.fixtures.locking import lock_beside_workers
from tests.fixtures.pooler import needs_pgbouncer, pgbouncer
from tests.fixtures.processes import StartRelay
from tests.fixtures.strict_platform import StrictPlatform

POOL = 2  # a worker would have six, and one to be woken
QUICK = {"RELAY_SHUTDOWN_GRACE_SECONDS": "1", "RELAY_TMC_TIMEOUT_SECONDS": "1", "RELAY_LEASE_SECONDS": "3"}
SOON = 8  # after the grace, on a busy machine; what hangs would do so for minutes
END = """
select pg_terminate_backend(pid) from pg_stat_activity where datname = %s and application_name = 'outbox-relay'
"""
WAITING = """
select count(*) from pg_stat_activity
where wait_event_type = 'Lock' and application_name = 'outbox-relay' and datname = current_database()
"""


@needs_pgbouncer
def test_a_pool_that_is_too_small_ends_no_worker_and_readyz_says_so(
    outbox: Outbox,
    platform: StrictPlatform,
    env: dict[str, str],
    start_relay: StartRelay,
    free_port: int,
) -> None:
    """In session mode: a connection is made, and nothing answers until another client has gone."""

    def ready() -> int:
        return httpx.get(f"http://127.0.0.1:{free_port}/readyz", timeout=10).status_code

    with pgbouncer(
        outbox.url, Path(tempfile.gettempdir()) / f"relay-pooler-{uuid4().hex[:12]}", mode="session", size=POOL
    ) as url:
        settings = {"RELAY_DATABASE_URL": url, "RELAY_METRICS_PORT": str(free_port), "RELAY_BATCH_SIZE": "2"}
        worker = start_relay("run", env={**env, **QUICK, **settings})
        outbox.insert(numbered(16, "first"))
        eventually(outbox.finished)
        assert eventually(lambda: ready() == 200)
        with _strangers(outbox, url):
            outbox.insert(numbered(4, "second"))
            assert eventually(lambda: ready() == 503)
            worker.wait_for_line("database.lost")
        eventually(outbox.finished)
        assert eventually(lambda: ready() == 200)
        with _strangers(outbox, url):
            assert eventually(lambda: ready() == 503)
            worker.terminate()
            assert worker.wait(SOON) == 0
    assert_reconciled(outbox, platform)


def test_sigterm_ends_a_worker_whose_statements_wait_for_a_lock(
    outbox: Outbox, platform: StrictPlatform, env: dict[str, str], start_relay: StartRelay
) -> None:
    outbox.insert(numbered(3))
    worker = start_relay("run", env={**env, **QUICK})
    eventually(outbox.finished)
    with psycopg.connect(outbox.libpq_url) as holder:
        lock_beside_workers(holder, "outbox", "call")
        eventually(lambda: outbox.scalar(WAITING))
        worker.terminate()
        assert worker.wait(SOON) == 0
        eventually(lambda: not outbox.scalar(WAITING))  # and leaves nobody behind who waits
    assert_reconciled(outbox, platform)


@contextmanager
def _strangers(outbox: Outbox, url: str) -> Iterator[None]:
    """As many others as it takes until the pool has nothing left, who came first when the worker's sessions ended."""
    name = make_url(outbox.url).database
    waiting = [_Stranger(url) for _ in range(POOL)]
    try:
        for stranger in waiting:
            stranger.start()

        def served() -> bool:
            outbox.select(END, name)
            return all(stranger.connected.wait(0.2) for stranger in waiting)

        eventually(served)
        yield
    finally:
        for stranger in waiting:
            stranger.leaving.set()
        for stranger in waiting:
            stranger.join()


class _Stranger(threading.Thread):
    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.connected, self.leaving = threading.Event(), threading.Event()
        self._url = url

    def run(self) -> None:
        while not self.leaving.is_set():
            with suppress(psycopg.OperationalError), psycopg.connect(self._url, autocommit=True) as connection:
                connection.execute("select 1")
                self.connected.set()
                self.leaving.wait(60)
