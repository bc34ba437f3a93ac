"""Any login can take any advisory lock. With those of the relay in a stranger's hands, messages go on all the same."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta

import psycopg
import pytest
from sqlalchemy import Engine, create_engine, make_url
from sqlalchemy.exc import OperationalError

from relay.events import LocksTaken
from relay.operators.archive import archive
from relay.revisions import patience
from relay.store import ClaimLimits, Store
from tests.fixtures.checked import Check
from tests.fixtures.roles import Roles
from tests.fixtures.rows import Rows
from tests.fixtures.scripted import Bench, Scripted

ORDERING = "relay.outbox", "generate_series(0, 255)"
KINDS = {
    "ordering keys": ORDERING,
    "naming calls": ("relay.call", "generate_series(0, 0)"),
    "waking, archiving, ids": ("relay.outbox", "generate_series(256, 258)"),
}


def connect(url: str) -> psycopg.Connection:
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    return psycopg.connect(plain, autocommit=True)


@pytest.fixture
def rows(engine: Engine) -> Rows:
    return Rows(engine)


@pytest.fixture
def stranger(roles: Roles, rows: Rows) -> Iterator[psycopg.Connection]:
    """A login that may read one view and nothing else."""
    with connect(roles.url("metrics")) as connection:
        yield connection


@pytest.fixture
def worker(roles: Roles) -> Iterator[Engine]:
    made = create_engine(roles.url("worker"), isolation_level="READ COMMITTED")
    yield made
    made.dispose()


def steal(rows: Rows, stranger: psycopg.Connection, kind: str, *, shared: bool) -> None:
    table, numbers = KINDS[kind]
    oid = rows.one(f"select cast(cast('{table}' as regclass) as integer)")
    lock = "pg_advisory_lock_shared" if shared else "pg_advisory_lock"
    stranger.execute(f"select {lock}({oid}, n) from {numbers} as n".encode())


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_messages_go_on(rows: Rows, worker: Engine, stranger: psycopg.Connection, kind: str, shared: bool) -> None:
    """They did not: no key was ever claimed, or no call could be named at all."""
    rows.add(2)
    rows.add(2, key="k")
    steal(rows, stranger, kind, shared=shared)
    bench = Bench(worker, producer := Scripted())
    asyncio.run(bench.drain())
    assert len(producer.produced) == 4
    assert rows.counts() == {"done": 4}
    if kind == "ordering keys":
        (told,) = bench.told(LocksTaken)
        assert told.holder.startswith(f"process {stranger.info.backend_pid} (role {stranger.info.user}) holds ")


@pytest.mark.usefixtures("check_settings")
@pytest.mark.parametrize("kind", KINDS)
def test_check_names_who_has_them(rows: Rows, check: Check, stranger: psycopg.Connection, kind: str) -> None:
    steal(rows, stranger, kind, shared=False)
    keys = kind == "ordering keys"
    (found,) = check("--no-platform", code=int(keys))["locks"]
    assert found["state"] == ("fail" if keys else "warn")
    assert f"process {stranger.info.backend_pid} (role {stranger.info.user}" in found["sentence"]
    stranger.execute("select pg_advisory_unlock_all()")
    assert check("--no-platform")["locks"][0]["state"] == "ok"


@pytest.mark.usefixtures("check_settings")
def test_a_worker_of_its_own_login_that_sleeps_is_no_stranger(rows: Rows, check: Check, roles: Roles) -> None:
    """It may read columns of the messages, not the table, and was to be terminated."""
    with connect(roles.url("worker")) as asleep:
        asleep.execute("select pg_advisory_lock(cast(cast('relay.outbox' as regclass) as integer), 256)")
        assert check("--no-platform")["locks"][0]["state"] == "ok"
    rows.add(1)
    assert check("--no-platform", RELAY_DATABASE_URL=roles.url("worker"))["limits"][0]["state"] == "ok"


def test_migrations_go_on(rows: Rows, stranger: psycopg.Connection) -> None:
    """The lock of those who migrate kept everybody out for a minute, and then for another."""
    stranger.execute("select pg_advisory_lock(hashtext('relay.migrate.relay'))")
    with rows.engine.begin() as connection:
        patience.lock(connection, "relay", 0.5)
        with rows.engine.begin() as other, pytest.raises(OperationalError, match="lock timeout"):
            patience.lock(other, "relay", 0.05)


def test_a_key_that_somebody_is_writing_waits_whoever_holds_its_lock_too(
    rows: Rows, worker: Engine, stranger: psycopg.Connection, roles: Roles
) -> None:
    rows.add(1, key="other")
    steal(rows, stranger, "ordering keys", shared=True)
    store = Store(worker, worker="w", lease_seconds=60)
    with connect(roles.url("app")) as writing, writing.transaction():
        writing.execute("insert into relay.outbox (topic, content, ordering_key) values ('t', '{}', 'k')")
        rows.add(1, key="k")
        claim = store.claim(ClaimLimits(slots=8))
        assert [message.ordering_key for batch in claim.batches for message in batch.messages] == ["other"]
    assert store.claim(ClaimLimits(slots=8)).messages == 1


def test_an_insert_waits_for_a_key_no_longer_than_it_must_and_says_who_has_it(
    rows: Rows, stranger: psycopg.Connection, roles: Roles
) -> None:
    """It waited for ever. A limit of the application's own counts if it is shorter, and is as it was afterwards."""
    steal(rows, stranger, "ordering keys", shared=False)
    insert = "insert into relay.outbox (topic, content, ordering_key) values ('t', '{}', 'k')"
    with connect(roles.url("app")) as connection:
        connection.execute("set lock_timeout = '200ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable, match=f"process {stranger.info.backend_pid}, role "):
            connection.execute(insert)
        connection.execute("insert into relay.outbox (topic, content) values ('t', '{}')")
        stranger.execute("select pg_advisory_unlock_all()")
        connection.execute(insert)
        assert connection.execute("show lock_timeout").fetchone() == ("200ms",)
    assert rows.counts() == {"pending": 2}


def test_archiving_goes_on(rows: Rows, worker: Engine, stranger: psycopg.Connection) -> None:
    rows.add(2)
    asyncio.run(Bench(worker, Scripted()).drain())
    steal(rows, stranger, "waking, archiving, ids", shared=False)
    rows.run("update relay.outbox set finished_at = now() - interval '2 days'")
    moved = list(archive(worker.begin, timedelta(days=1), actor="w", reason="r"))
    assert not any(step.busy for step in moved)
    assert sum(step.messages for step in moved) == 2


def test_nobody_archives_beside_somebody_who_does(rows: Rows, worker: Engine, engine: Engine) -> None:
    rows.add(1)
    with engine.begin() as owner:
        assert owner.exec_driver_sql("select relay.archive_alone()").scalar_one()
        (moved,) = archive(worker.begin, timedelta(days=1), actor="w", reason="r")
        assert moved.busy


def test_the_tables_of_locks_are_the_owners_alone(roles: Roles) -> None:
    for part in ("app", "worker", "auditor", "operator", "metrics", "dashboard"):
        with connect(roles.url(part)) as connection:
            for table in ("archive_lock", "ids_lock", "naming_lock"):
                for mode in ("access share", "row exclusive", "exclusive"):
                    with pytest.raises(psycopg.errors.InsufficientPrivilege):
                        connection.execute(f"begin; lock table relay.{table} in {mode} mode".encode())
                    connection.execute("rollback")
            if part != "worker":
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute("select relay.name_calls()")
