"""What is restored is what was dumped: by an owner without a superuser, with every trigger of the tables at work."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from sqlalchemy import Engine, create_engine, make_url, text

import relay
from relay.embedded import EmbeddedPostgres
from relay.wakeups import Arming, Notified
from tests.fixtures.rows import Rows
from tests.fixtures.scripted import Bench, Scripted

TABLES = ("outbox", "call", "attempt", "action", "pause", "pace", "outbox_archive", "call_archive", "attempt_archive")
DATA_ONLY = ("--data-only", "--schema=relay", "--load-via-partition-root", "--exclude-table=relay.alembic_version")
OWNER = "shop_owner"


@pytest.fixture
def server(own_postgres: EmbeddedPostgres) -> EmbeddedPostgres:
    with psycopg.connect(_conninfo(own_postgres.url()), autocommit=True) as admin:
        admin.execute(f"create role {OWNER} login")
        for database in ("before", "after"):
            admin.execute(f"create database {database} owner {OWNER}")
    return own_postgres


def _conninfo(url: str) -> str:
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


@contextmanager
def opened(server: EmbeddedPostgres, database: str) -> Iterator[Engine]:
    engine = create_engine(make_url(server.url(database)).set(username=OWNER))
    try:
        yield engine
    finally:
        engine.dispose()


def run(server: EmbeddedPostgres, program: str, database: str, *options: str, given: str | None = None) -> str:
    url = _conninfo(make_url(server.url(database)).set(username=OWNER).render_as_string(hide_password=False))
    found = server.psql.with_name(program)
    if not found.exists():
        pytest.skip(f"{program} did not come with this server")
    command = [str(found), "--no-psqlrc", f"--dbname={url}", *options]
    if program == "pg_dump":
        command.remove("--no-psqlrc")
    done = subprocess.run(command, input=given, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def everything(engine: Engine) -> dict[str, list[str]]:
    with engine.connect() as connection:
        connection.execute(text("set timezone = 'UTC'"))
        return {
            table: list(connection.scalars(text(f"select cast(t as text) from relay.{table} t order by 1")))
            for table in TABLES
        }


async def fill(engine: Engine) -> None:
    """Something of everything: keyed, done, failed, removed, archived, waiting."""
    rows = Rows(engine)
    rows.add(30, key="old")
    await Bench(engine, Scripted(), concurrency=2).drain()
    rows.run("select relay.open_archive(cast(now() at time zone 'UTC' as date))")
    rows.run("select relay.archive_messages(now(), 100, false, 'w', 'old', 0)")
    rows.run("select relay.archive_calls(now(), 100, 'w', 'old', 0)")
    rows.add(10, key_each="k")
    await Bench(engine, Scripted(), concurrency=2).drain()
    with engine.begin() as connection:
        connection.execute(text("set local relay.redacting = 'on'"))
        redact = """update relay.outbox set content = '{"redacted": true}', content_salt = ''
            where id = (select min(id) from relay.outbox)"""
        connection.execute(text(redact))
    failed = rows.add(2, key="f")
    rows.run("select relay.discard(:ids, 'why')", ids=failed)
    held, planned, *_ = rows.add(5, key="waiting")
    rows.run("update relay.outbox set available_at = 'infinity' where id = :id", id=held)
    rows.run("update relay.outbox set available_at = '55000-01-01' where id = :id", id=planned)
    rows.add(5)
    rows.run(
        "insert into relay.attempt (message_id, call_id, result_index, outcome) select max(id), 1, 0, 'unknown' "
        "from relay.outbox"
    )


@pytest.mark.parametrize("form", ["copy", "inserts"])
async def test_a_restore_of_the_data_alone_changes_nothing(server: EmbeddedPostgres, form: str) -> None:
    with opened(server, "before") as before, opened(server, "after") as after:
        relay.migrate(before)
        relay.migrate(after)
        await fill(before)
        dump = run(server, "pg_dump", "before", *DATA_ONLY, *(["--inserts"] if form == "inserts" else []))
        with after.begin() as connection:
            connection.execute(text("select relay.open_archive(cast(now() at time zone 'UTC' as date))"))
        run(server, "psql", "after", "--set=ON_ERROR_STOP=1", "--single-transaction", given=dump)
        assert everything(after) == everything(before)
        assert all(everything(after)[table] for table in ("outbox", "call", "attempt", "action", "outbox_archive"))
        newest = Rows(before).one("select max(id) from relay.outbox")
        assert Rows(after).add(1, key="new") > [newest]


async def test_a_restore_of_everything_changes_nothing(server: EmbeddedPostgres) -> None:
    with opened(server, "before") as before, opened(server, "after") as after:
        relay.migrate(before)
        await fill(before)
        dump = run(server, "pg_dump", "before", "--schema=relay", "--no-owner")
        run(server, "psql", "after", "--set=ON_ERROR_STOP=1", "--single-transaction", given=dump)
        assert everything(after) == everything(before)
        assert Rows(after).add(1)


def prepare(server: EmbeddedPostgres, *first: str) -> None:
    """An insert in a transaction that is prepared, and then committed."""
    with psycopg.connect(_conninfo(server.url()), autocommit=True) as connection:
        for statement in (
            "begin",
            *first,
            "insert into relay.outbox (topic, content, ordering_key) values ('t', '{}', 'k')",
            "prepare transaction 'shop'",
            "commit prepared 'shop'",
        ):
            connection.execute(statement.encode())


async def test_a_transaction_with_a_message_can_be_prepared(own_postgres: EmbeddedPostgres) -> None:
    """While a relay sleeps, too: it is not woken then, unless somebody wants that."""
    relay.migrate(own_postgres.url())
    with psycopg.connect(_conninfo(own_postgres.url()), autocommit=True) as connection:
        connection.execute("alter system set max_prepared_transactions = 5")
    own_postgres.stop()
    own_postgres.start()
    polling = Notified(_conninfo(own_postgres.url()))
    await polling.open()
    assert "prepared" in str(polling.trouble)
    assert await polling.arm() is Arming.NONE
    await asyncio.to_thread(prepare, own_postgres)

    woken = Notified(_conninfo(own_postgres.url()), despite_prepared=True)
    await woken.open()
    assert await woken.arm() is Arming.BEGUN
    with pytest.raises(psycopg.errors.FeatureNotSupported, match="NOTIFY"):
        await asyncio.to_thread(prepare, own_postgres)
    await asyncio.to_thread(prepare, own_postgres, "set local relay.wake = off")
    await woken.close()
