"""A migration never stands in the way of an insert for long, and says who stands in its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import Connection, Engine, create_engine, make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

import relay
from relay.cli.verbs import relay as command
from relay.errors import RelayError
from relay.holders import InTheWay
from relay.revisions import HEAD, REVISIONS, current_revision
from relay.revisions.migrating import migration_sql
from tests.fixtures.database import Server
from tests.fixtures.waiting import eventually

BEFORE = REVISIONS[-2].REVISION
INSERT = text("insert into relay.outbox (topic, content) values ('t', '{}')")
WAITING = text("select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'")


@pytest.fixture
def old_url(empty_url: str) -> str:
    """A database at the revision before."""
    relay.migrate(empty_url, to=BEFORE)
    return empty_url


@pytest.fixture
def old(old_url: str) -> Iterator[Engine]:
    made = create_engine(old_url, poolclass=NullPool, connect_args={"application_name": "a-report"})
    yield made
    made.dispose()


@pytest.fixture
def reader(old: Engine) -> Iterator[Connection]:
    """Somebody who has read the outbox and left the transaction open."""
    with old.connect() as connection:
        connection.execute(text("select count(*) from relay.outbox"))
        yield connection


def insert_each_moment(engine: Engine, done: threading.Event) -> int:
    """Insert in transactions of their own until it is done; how many. None may wait for a lock for as long as 2 s."""
    inserted = 0
    while not done.is_set():
        with engine.begin() as connection:
            connection.execute(text("set local lock_timeout = '2s'"))
            connection.execute(INSERT)
        inserted += 1
    return inserted


def test_a_reader_with_an_open_transaction_never_makes_inserts_wait_for_long(
    old: Engine, old_url: str, reader: Connection
) -> None:
    pid = reader.scalar(text("select pg_backend_pid()"))
    done = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        inserting = pool.submit(insert_each_moment, old, done)
        with pytest.raises(RelayError) as refused:
            relay.migrate(old_url, wait_seconds=3, lock_timeout_seconds=0.2)
        done.set()
        assert inserting.result() > 1
    assert re.match(
        rf"process {pid}, role \w+, application a-report, idle in transaction, in a transaction for \d+ s .*"
        "is using the relay's tables.*; nothing was changed",
        str(refused.value),
    )
    assert f"select pg_terminate_backend({pid})" in refused.value.hint
    assert current_revision(reader, "relay") == BEFORE


def test_when_the_reader_goes_a_later_try_succeeds(old_url: str, reader: Connection) -> None:
    told: list[str] = []

    def tell(sentence: str) -> None:
        told.append(sentence)
        reader.rollback()

    assert relay.migrate(old_url, wait_seconds=60, lock_timeout_seconds=0.1, tell=tell) == [HEAD]
    assert "application a-report" in told[0]


def test_in_a_callers_transaction_it_is_tried_once_and_nothing_is_lost(old: Engine, reader: Connection) -> None:
    with old.connect() as connection:
        connection.execute(text("set local lock_timeout = '77s'"))
        connection.execute(text("create table of_the_caller (id integer)"))
        with pytest.raises(InTheWay, match="a-report"):
            relay.migrate(connection, lock_timeout_seconds=0.1)
        reader.rollback()
        assert relay.migrate(connection) == [HEAD]
        assert connection.scalar(text("show lock_timeout")) == "77s"
        connection.commit()
        assert connection.scalar(text("select count(*) from of_the_caller")) == 0


def test_the_printed_script_waits_no_longer_either(old: Engine, reader: Connection) -> None:
    script = migration_sql(start=BEFORE).replace("BEGIN;", "").replace("COMMIT;", "").replace(":", r"\:")
    with old.connect() as connection:
        connection.execute(text("set local relay.lock_timeout = '100ms'"))
        with pytest.raises(DBAPIError, match="lock timeout"):
            connection.execute(text(script))


ADVISORY = "select pg_advisory_lock(hashtext('relay.migrate.relay'))"


def test_plain_alembic_waits_no_longer_either(old: Engine, old_url: str, reader: Connection) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RELAY_")}
    line = [sys.executable, "-m", "alembic", "upgrade", "head"]
    with subprocess.Popen(
        line, cwd=Path(__file__).parents[2], env=environment | {"RELAY_DATABASE_URL": old_url}, stderr=subprocess.PIPE
    ) as alembic:
        with old.connect().execution_options(isolation_level="AUTOCOMMIT") as watching:
            eventually(lambda: watching.scalar(WAITING) == 1, deadline_seconds=30)  # a process has to start
            eventually(lambda: watching.scalar(WAITING) == 0)  # it gave up that try
            reader.rollback()
        assert alembic.wait(60) == 0, alembic.stderr and alembic.stderr.read()
    assert current_revision(reader, "relay") == HEAD


@pytest.mark.parametrize("there", [False, True])
def test_a_stranger_who_holds_the_lock_of_migrations_is_named(old: Engine, old_url: str, there: bool) -> None:
    """Of the tables that are there, or anybody's lock while there are none."""
    with old.connect() as stranger:
        if not there:
            stranger.execute(text("drop schema relay cascade"))
            stranger.commit()
        lock = "lock table relay.alembic_version in exclusive mode" if there else ADVISORY
        stranger.execute(text(lock))
        pid = stranger.scalar(text("select pg_backend_pid()"))
        with pytest.raises(RelayError, match=f"process {pid}, .*application a-report, .* is migrating"):
            relay.migrate(old_url, wait_seconds=0.2)


def test_who_may_not_see_others_is_told_what_everybody_may(postgres: Server, old: Engine, old_url: str) -> None:
    admin = make_url(postgres.admin_url(make_url(old_url).database or ""))
    other = create_engine(admin, poolclass=NullPool, connect_args={"application_name": "a-dump"})
    with other.connect() as stranger:
        stranger.execute(text("select count(*) from relay.outbox"))
        pid = stranger.scalar(text("select pg_backend_pid()"))
        with pytest.raises(
            RelayError, match=f"process {pid}, role {admin.username}, application a-dump, since when .* may not see"
        ):
            relay.migrate(old_url, wait_seconds=0, lock_timeout_seconds=0.1)


def test_of_many_the_one_who_was_there_before_is_named(old: Engine, old_url: str, reader: Connection) -> None:
    """Not the one who happened to have just inserted."""
    done = threading.Event()
    with ThreadPoolExecutor(2) as pool:
        inserting = [pool.submit(insert_each_moment, old, done) for _ in range(2)]
        with pytest.raises(RelayError, match=f"process {reader.scalar(text('select pg_backend_pid()'))},"):
            relay.migrate(old_url, wait_seconds=2, lock_timeout_seconds=0.1)
        done.set()
        for one in inserting:
            assert one.result() > 1


def test_a_connection_in_autocommit_is_refused(old: Engine) -> None:
    with (
        old.connect().execution_options(isolation_level="AUTOCOMMIT") as connection,
        pytest.raises(RelayError, match="is in autocommit"),
    ):
        relay.migrate(connection)
    assert relay.migrate(old.execution_options(isolation_level="AUTOCOMMIT")) == [HEAD]


def test_the_command_says_who_and_how_long_it_tries(
    old_url: str, reader: Connection, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    env = {"RELAY_DATABASE_URL": old_url}
    waiting = ["--wait", "1s", "--lock-timeout", "1s"]
    refused = CliRunner().invoke(command, ["migrate", *waiting], env=env)
    assert refused.exit_code == 1
    assert re.search(r"error: process \d+, .*application a-report.*\nhint: Wait until", refused.stderr)
    assert CliRunner().invoke(command, ["migrate", "--from", BEFORE], env=env).exit_code == 2
    script = CliRunner().invoke(command, ["migrate", "--sql", "--from", BEFORE], env=env)
    assert script.stdout == migration_sql(start=BEFORE)
