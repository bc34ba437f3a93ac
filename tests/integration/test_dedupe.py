"""A dedupe key stays known when its message has left the outbox: a second insert with it does nothing."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

import relay
from relay.cli.verbs import relay as command
from relay.errors import RelayError
from relay.operators import archive, retention
from relay.operators.ledger import Order
from tests.fixtures.roles import Roles
from tests.fixtures.rows import Rows
from tests.fixtures.waiting import eventually

ORDER = Order("ann", "retention", {})
FINISHED = """
insert into relay.outbox (topic, content, dedupe_key, status, finished_at, call_id, result_index)
values ('t', '{}', 'once', 'done', '2026-01-15 12:00+00', 1, 0)
"""
MOVE = "select messages from relay.archive_messages(now(), 10, false, 'a', 'r', 0)"
INSERT = "insert into relay.outbox (topic, content, dedupe_key) values ('t', '{}', 'once') on conflict do nothing"


@pytest.fixture
def rows(engine: Engine) -> Rows:
    rows = Rows(engine)
    rows.run("select relay.open_archive('2026-01-01')")
    rows.run(FINISHED)
    return rows


@pytest.fixture
def shop(rows: Rows, roles: Roles) -> Iterator[Engine]:
    engine = create_engine(roles.url("app"), poolclass=NullPool)
    yield engine
    engine.dispose()


def archived(rows: Rows) -> None:
    assert rows.one(MOVE) == 1


def pruned(rows: Rows) -> None:
    list(retention.prune(rows.engine, timedelta(days=1), ORDER, batch=10))


def dropped(rows: Rows) -> None:
    archived(rows)
    with rows.engine.begin() as connection:
        archive.drop_month(connection, "2026-01", actor="ann", reason="r")


def add(connection: Connection) -> list[int | None]:
    return [relay.add(connection, "t", {}, dedupe_key="once")]


def plain(connection: Connection) -> list[int | None]:
    found = connection.execute(text(INSERT.partition(" on conflict")[0] + " returning id")).scalars().all()
    return list(found) or [None]


@pytest.mark.parametrize("leaves", [archived, pruned, dropped], ids=lambda leaves: leaves.__name__)
def test_a_key_is_known_after_its_message_has_left(rows: Rows, shop: Engine, leaves: object) -> None:
    leaves(rows)  # type: ignore[operator]
    assert rows.one("select count(*) from relay.outbox") == 0
    with shop.begin() as connection:
        assert [add(connection), plain(connection)] == [[None], [None]]
        assert relay.add(connection, "t", {}, dedupe_key="once", account="another") is not None
        assert relay.add(connection, "t", {}, dedupe_key="another") is not None
        assert relay.add(connection, "t", {}) is not None
    assert rows.one("select count(*) from relay.outbox") == 3


def test_a_mapped_message_with_a_known_key_is_an_error_and_not_lost_in_silence(rows: Rows, shop: Engine) -> None:
    archived(rows)
    with Session(shop) as session:
        session.add(relay.OutboxMessage(topic="t", content={}, dedupe_key="once"))
        with pytest.raises(SQLAlchemyError):
            session.flush()


def test_a_key_that_is_just_leaving_is_not_used_twice(rows: Rows, shop: Engine) -> None:
    """The insert waits for the archiver at the unique index, and would then find the key free."""
    with ThreadPoolExecutor(1) as threads:
        with rows.engine.begin() as archiver:
            assert archiver.scalar(text(MOVE)) == 1

            def insert() -> None:
                with shop.begin() as connection:
                    add(connection)

            inserting = threads.submit(insert)
            waiting = (
                "select count(*) from pg_locks join pg_stat_activity using (pid) where datname = current_database() "
                "and not granted and locktype = 'transactionid'"
            )
            eventually(lambda: rows.one(waiting) == 1)
        with pytest.raises(DBAPIError, match="is just being archived"):
            inserting.result(timeout=20)
    with shop.begin() as connection:
        assert add(connection) == [None]


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_a_transaction_with_an_old_snapshot_does_not_use_a_key_twice(rows: Rows, shop: Engine, level: str) -> None:
    with shop.connect().execution_options(isolation_level=level) as connection:
        connection.execute(text("select 1"))
        assert relay.add(connection, "t", {}, dedupe_key="new") is not None
        archived(rows)
        with pytest.raises(DBAPIError, match="is just being archived"):
            add(connection)
        connection.rollback()
        assert add(connection) == [None]
        assert relay.add(connection, "t", {}, dedupe_key="new") is not None
        connection.commit()
    assert rows.read("select dedupe_key from relay.dedupe") == [("once",)]


def test_a_restored_row_comes_back_whatever_keys_are_known(rows: Rows) -> None:
    archived(rows)
    rows.run("insert into relay.outbox (topic, content, dedupe_key, created_xid) values ('t', '{}', 'once', '3')")
    assert rows.one("select count(*) from relay.outbox") == 1


def test_keys_that_were_archived_by_the_version_before_are_remembered_after_an_upgrade(empty_url: str) -> None:
    relay.migrate(empty_url, to="0007")
    rows = Rows(create_engine(empty_url, poolclass=NullPool))
    rows.run("select relay.open_archive('2026-01-01')")
    rows.run(FINISHED)
    archived(rows)
    with rows.engine.begin() as connection:
        relay.migrate(connection)
    assert ("keys", 1) in rows.read("select step, rows from relay.left_to_do()")
    relay.migrate(empty_url)
    assert rows.read("select * from relay.left_to_do()") == []
    with rows.engine.begin() as connection:
        assert add(connection) == [None]


@pytest.mark.parametrize("part", ["app", "worker", "auditor", "operator", "metrics", "dashboard"])
def test_nobody_but_the_owner_reads_what_keys_are_known(roles: Roles, part: str) -> None:
    denied = pytest.raises(DBAPIError, match="permission denied")
    with create_engine(roles.url(part), poolclass=NullPool).connect() as connection, denied:
        connection.execute(text("select * from relay.dedupe"))


def keep_days(monkeypatch: pytest.MonkeyPatch, url: str, days: str, *line: str) -> Result:
    monkeypatch.setenv("RELAY_DATABASE_URL", url)
    monkeypatch.setenv("RELAY_DEDUPE_KEEP_DAYS", days)
    return CliRunner().invoke(command, [*line, "--older-than", "90d", "--actor", "ann"])


def test_keys_are_forgotten_after_the_days_of_the_setting_and_the_ledger_says_so(
    rows: Rows, shop: Engine, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    archived(rows)
    rows.run(
        "insert into relay.dedupe select 'a', 'old-' || n, n, now() - interval '401 days' from generate_series(1, 5) n"
    )
    rows.run("update relay.dedupe set left_at = now() - interval '399 days' where dedupe_key = 'once'")
    assert keep_days(monkeypatch, database_url, "0", "prune").exit_code == 0
    assert rows.one("select count(*) from relay.dedupe") == 6, "for ever, where nothing is set"
    told = keep_days(monkeypatch, database_url, "400", "prune", "--batch", "2")
    assert "forgotten dedupe keys  5" in told.output
    assert rows.read("select dedupe_key from relay.dedupe") == [("once",)]
    ledger = "select actor, action, reason, sum(count) from relay.action where action = 'forget' group by 1, 2, 3"
    why = "left more than 400 days ago (RELAY_DEDUPE_KEEP_DAYS)"
    assert rows.read(ledger) == [("ann", "forget", why, 5)]
    with shop.begin() as connection:
        assert add(connection) == [None]
    told = keep_days(monkeypatch, database_url, "398.5", "archive", "--json")
    assert '"forgotten_dedupe_keys": 1' in told.output
    with shop.begin() as connection:
        assert add(connection) != [None]


def test_who_archives_without_the_right_to_forget_is_told_so(
    rows: Rows, roles: Roles, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = keep_days(monkeypatch, roles.url("worker"), "1", "archive", "--json")
    assert (told.exit_code, "forgotten" in told.stdout) == (0, False)
    assert "the owner of the tables alone forgets dedupe keys" in told.stderr


def test_no_key_of_today_is_forgotten(rows: Rows) -> None:
    with pytest.raises(DBAPIError, match="a dedupe key is kept for a day at least"):
        rows.read("select relay.forget_keys(now() - interval '1 hour', 10, 'a', 'r')")


@pytest.mark.parametrize(
    "mover",
    [
        "archive_messages(now() + interval '1 minute', 10, false, 'a', 'r', 0)",
        "archive_calls(now() + interval '1 minute', 10, 'a', 'r', 0)",
        "archive_messages('infinity', 10, false, 'a', 'r', 0)",
    ],
)
def test_what_has_not_finished_yet_is_not_to_be_archived(rows: Rows, roles: Roles, mover: str) -> None:
    refused = pytest.raises(DBAPIError, match="only what finished in the past is archived")
    with create_engine(roles.url("worker"), poolclass=NullPool).connect() as connection, refused:
        connection.execute(text(f"select relay.{mover}"))
    assert rows.one("select count(*) from relay.outbox") == 1


def test_what_has_not_finished_yet_is_not_to_be_pruned(rows: Rows) -> None:
    with pytest.raises(RelayError, match="Only what finished in the past is pruned"):
        list(retention.prune(rows.engine, timedelta(seconds=-1), ORDER, batch=10))
    assert rows.one("select count(*) from relay.outbox") == 1
