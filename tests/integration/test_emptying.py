"""Emptying a test database: what goes, what stays, and who is refused. Kinds of connection: ``tests/contract``."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Engine, create_engine, make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

import relay
from relay.database import APPLICATION_NAME
from relay.errors import SchemaError
from relay.operators import archive
from relay.store import ClaimLimits, Store
from relay.testing import NotATestDatabase, emptying
from relay.testing.emptying import MARK, DatabaseSeen, empty, empty_at, refusal
from tests.fixtures.rows import Rows
from tests.fixtures.statements import counting
from tests.fixtures.waiting import eventually

TABLES = "select relname from pg_class where relnamespace = 'relay'::regnamespace and relkind in ('r', 'p')"
TRUNCATED = ("outbox", "call", "attempt", "action", "pause_past", "outbox_archive")


@pytest.fixture
def rows(engine: Engine) -> Rows:
    return Rows(engine)


def lived_in(engine: Engine, rows: Rows) -> None:
    """Something in every table, the archive included."""
    ids = rows.add(3, key="k")
    rows.run("update relay.outbox set status = 'failed', finished_at = now() - interval '40 days', error_code = 'x'")
    list(archive.archive(engine.begin, timedelta(days=2), actor="ann", reason="old"))
    rows.run("insert into relay.pause (scope, reason, by) values ('account:a', 'r', 'ann')")
    rows.run("update relay.pause set reason = 'other'")
    rows.run("insert into relay.pace (app_key, next_at) values ('1', now())")
    with engine.begin() as connection:
        relay.add(connection, "t", {}, dedupe_key="once")
        relay.add(connection, "t", {}, dedupe_key="twice")
    store = Store(engine, worker="w", lease_seconds=30)
    (claimed,) = store.claim(ClaimLimits(slots=1)).batches
    rows.run(
        "insert into relay.attempt (message_id, call_id, result_index, outcome) values (:id, :call, 0, 'unknown')",
        id=ids[0],
        call=claimed.call_id,
    )


def filled(rows: Rows) -> set[str]:
    return {name for (name,) in rows.read(TABLES) if rows.one(f"select exists (select from relay.{name})")}


def test_everything_goes_but_settings_and_numbers(engine: Engine, rows: Rows) -> None:
    kept = filled(rows)
    lived_in(engine, rows)
    before = rows.add(1)[0]
    assert {"outbox", "call", "attempt", "action", "pause", "pause_past", "pace"} <= filled(rows)
    empty(engine)
    assert filled(rows) == kept
    with engine.begin() as connection:  # a key is forgotten with its message, a number is not
        assert (relay.add(connection, "t", {}, dedupe_key="once") or 0) > before


def test_the_tables_refuse_afterwards_as_before_and_say_how_it_is_done(engine: Engine, rows: Rows) -> None:
    lived_in(engine, rows)
    empty(engine)
    for table in TRUNCATED:
        with pytest.raises(DBAPIError) as refused, engine.begin() as connection:
            connection.execute(text(f"truncate relay.{table}"))
        hint = refused.value.orig.diag.message_hint  # type: ignore[union-attr]
        assert "relay.testing.empty(connection)" in hint
        assert ("relay prune" in hint) == (table in ("outbox", "call", "attempt"))
    assert rows.one("select count(*) from pg_trigger where tgenabled <> 'O'") == 0


def test_the_transaction_around_it_finds_its_settings_as_they_were(engine: Engine) -> None:
    asked = text(
        "select current_setting('search_path'), current_setting('lock_timeout'), "
        "coalesce(nullif(current_setting('relay.pruning', true), ''), 'off')"
    )
    with engine.begin() as connection:
        connection.execute(text("set local search_path = relay, public; set local lock_timeout = '77ms'"))
        before = connection.execute(asked).one()
        empty(connection)
        assert connection.execute(asked).one() == before


def test_an_address_will_do_whatever_is_set_for_the_login(rows: Rows, database_url: str) -> None:
    rows.add()
    empty_at(database_url)
    assert rows.one("select count(*) from relay.outbox") == 0


def test_it_costs_two_statements(engine: Engine, rows: Rows) -> None:
    lived_in(engine, rows)
    with engine.connect() as connection, connection.begin(), counting(engine) as statements:
        empty(connection)
    assert len(statements) == 2


@pytest.mark.parametrize(
    ("database", "is_one"),
    [
        *(
            (name, True)
            for name in ("test", "test_shop", "shop_test", "shop-tests", "test_shop_gw0", "Shop_Testing", "test1")
        ),
        *((name, False) for name in ("shop", "latest", "contest_2026", "attestation", "shop_prod", "protest")),
    ],
)
def test_a_database_is_for_tests_if_its_name_says_so_in_a_word(database: str, is_one: bool) -> None:
    refused = refusal(DatabaseSeen(database, "", True, None))
    assert (refused is None) == is_one
    assert is_one or isinstance(refused, NotATestDatabase)
    assert refusal(DatabaseSeen(database, f"for CI; {MARK}", True, None)) is None


def test_a_comment_on_the_database_says_it_too(engine: Engine, rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emptying, "_A_WORD", emptying.re.compile("no name is one"))
    rows.add()
    with pytest.raises(NotATestDatabase) as refused:
        empty(engine)
    assert MARK in refused.value.hint
    assert rows.one("select count(*) from relay.outbox") == 1
    rows.run(f"comment on database {engine.url.database} is '{MARK}'")
    empty(engine)
    assert rows.one("select count(*) from relay.outbox") == 0


@pytest.mark.parametrize("rights", ["nothing", "everything but ownership"])
def test_nobody_but_the_owner_of_the_tables(
    engine: Engine, rows: Rows, superuser: Engine, database_url: str, rights: str
) -> None:
    role = f"relay_test_{uuid4().hex[:12]}"
    rows.add()
    with superuser.begin() as admin:
        admin.execute(text(f"create role {role} login password 'p'"))
        if rights != "nothing":
            admin.execute(text(f"grant usage on schema relay to {role}"))
            admin.execute(text(f"grant all on all tables in schema relay to {role}"))
    other = create_engine(make_url(database_url).set(username=role, password="p"), poolclass=NullPool)
    try:
        with pytest.raises(relay.RelayError, match="belong to another login"):
            empty(other)
    finally:
        with superuser.begin() as admin:
            admin.execute(text(f"drop owned by {role}"))
            admin.execute(text(f"drop role {role}"))
    assert rows.one("select count(*) from relay.outbox") == 1


def test_a_worker_in_the_middle_of_a_call_is_in_the_way_while_it_lives(
    engine: Engine, rows: Rows, database_url: str
) -> None:
    rows.add()
    workers: Any = create_engine(database_url, connect_args={"application_name": APPLICATION_NAME})
    assert len(list(Store(workers, worker="w-7", lease_seconds=30).claim(ClaimLimits(slots=1)).batches)) == 1
    with pytest.raises(relay.RelayError, match="The worker w-7 has a call in flight"):
        empty(engine)
    assert rows.one("select count(*) from relay.call") == 1
    workers.dispose()  # it died: nobody will settle that call, though its lease runs on

    def emptied() -> bool:  # until the server has noticed
        try:
            empty(engine)
        except relay.RelayError:
            return False
        return True

    eventually(emptied)
    assert rows.one("select count(*) from relay.call") == 0


def test_what_is_open_elsewhere_is_in_the_way_for_a_while(
    engine: Engine, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(emptying, "PATIENCE_SECONDS", 0.1)
    rows.add()
    with engine.begin() as other:
        relay.add(other, "t", {})
        with pytest.raises(relay.RelayError, match=r"open elsewhere was in the way for 0\.1 s") as refused:
            empty(engine)
    assert "pg_stat_activity" in refused.value.hint
    assert rows.one("select count(*) from relay.outbox") == 2


def test_a_session_with_the_tables_in_another_order_is_let_through(engine: Engine, rows: Rows) -> None:
    """As a worker that is about to claim may have them. One of the two was ended as a deadlock, after a second."""
    rows.add()
    waiting = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    with engine.connect() as other, ThreadPoolExecutor(1) as pool:
        other.execute(text("lock table relay.call in row exclusive mode"))
        emptied = pool.submit(empty, engine)  # it has the outbox
        eventually(lambda: rows.one(waiting))
        other.execute(text("lock table relay.outbox in row exclusive mode"))
        other.commit()
        emptied.result(10)
    assert rows.counts() == {}


def test_where_there_are_no_tables_it_says_who_makes_them(engine: Engine) -> None:
    with pytest.raises(SchemaError) as refused:
        empty(engine, schema="elsewhere")
    assert "relay migrate" in refused.value.hint
