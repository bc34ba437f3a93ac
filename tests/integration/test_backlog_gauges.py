"""What the metrics ask the database: the right numbers, at a price that neither finished nor pending rows raise."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Connection, Engine, create_engine, text

from relay.addresses import normalized_url
from relay.database import make_engine
from relay.gauges import AccountBacklog, Backlog
from relay.sql import filled
from relay.store import Store, backlog
from relay.store.backlog import Bounds, Counting
from relay.store.preparing import KEPT_PLANS
from tests.fixtures.plans import nodes, spoilt_engine
from tests.fixtures.pooler import needs_pgbouncer, pgbouncer
from tests.fixtures.roles import Roles
from tests.fixtures.rows import Rows

HELD = "update relay.outbox set available_at = 'infinity' where id = any (cast(:ids as bigint[]))"
SOME = Bounds(messages=60, keyed=60, keys=20, accounts=3)


@pytest.fixture
def rows(engine: Engine) -> Rows:
    return Rows(engine)


def read(url: str, bounds: Bounds = Bounds(), *, claimed: tuple[str, ...] = ()) -> Backlog:  # noqa: B008
    engine = make_engine(url)
    try:
        store = Store(engine, worker="w", lease_seconds=30)
        for account in claimed:
            store.memory.roster.came_by(account)
        return Counting(store._transaction, store.memory, bounds).backlog()
    finally:
        engine.dispose()


def test_an_empty_database_has_nothing_to_tell(database_url: str) -> None:
    assert read(database_url) == Backlog()


def test_a_worker_s_login_reads_all_of_it(rows: Rows, roles: Roles) -> None:
    rows.add(3, account="shop")
    rows.add(2, account="shop", due_in_seconds=600)
    rows.run(HELD, ids=rows.add(1, account="shop"))
    rows.run("update relay.outbox set available_at = now() - interval '1 hour' where id = 1")  # due since its insert
    first, *_ = rows.add(4, account="keyed", key="k")
    rows.run("update relay.outbox set available_at = now() + interval '1 h' where id = :id", id=first)
    rows.add(1, account="keyed", key="free")
    rows.run(
        "insert into relay.call (account, worker, message_ids, lease_until) values ('shop', 'w', '{2,3}', now()), "
        "('shop', 'w', '{1}', now() + interval '1 minute')"
    )
    rows.run(
        "insert into relay.pause (scope, until, reason, error_code, by) values "
        "('account:a', null, 'no', 'relay.no_credentials', 'w'), ('account:b', null, 'holiday', null, 'ann'), "
        "('account:c', null, 'credentials refused: session', '27', 'w'), ('account:e', now(), 'over', null, 'ann'), "
        "('app:d', now() + interval '1 h', 'throttled by the platform: x', '7', 'w')"
    )
    found = read(roles.url("worker"))
    assert sorted(found.accounts) == [AccountBacklog("keyed", 4, 1), AccountBacklog("shop", 3, 2, 1)]
    assert (found.exact, found.blocked_keys) == (True, 1)
    assert 0 < found.oldest_due_seconds < 600
    assert (found.open_calls, found.lapsed_calls, found.messages_in_flight) == (2, 1, 3)
    assert found.pauses == {
        ("account", "no_credentials"): 1,
        ("account", "person"): 1,
        ("account", "credentials"): 1,
        ("app", "throttled"): 1,
    }


def test_where_there_is_more_than_is_counted_the_numbers_are_lower_bounds(rows: Rows, database_url: str) -> None:
    for n in range(6):
        rows.add(40, account=f"a{n}")
    rows.add(200, account="zz, which we serve")
    rows.add(2, account="zz, which we serve", due_in_seconds=60)
    rows.add(50, account="keyed", key_each="k", due_in_seconds=60)
    rows.add(50, account="keyed", key="one")
    found = read(database_url, SOME, claimed=("zz, which we serve",))
    counted = {one.account: one for one in found.accounts}
    assert not found.exact
    assert counted["zz, which we serve"][1:] == (15, 2, 0)  # a share of four, for each state
    assert counted["a0"].due == 15
    assert "a5" not in counted  # it is one of too many, and not ours
    assert 0 < found.blocked_keys <= 20
    assert 0 < counted["keyed"].waiting <= 60
    assert found.oldest_due_seconds > 0


def test_of_many_accounts_the_largest_are_counted_by_name(rows: Rows, database_url: str) -> None:
    for n in range(9):
        rows.add(1 + (n == 4), account=f"a{n}")
        rows.add(1 + (n == 8), account=f"a{n}", key="k")
    found = read(database_url, Bounds(accounts=2))
    counted = {one.account: one.due for one in found.accounts}
    assert (found.exact, counted.pop(None), sum(counted.values())) == (True, 7 + 7, 2 + 1 + 2 + 1)
    assert {"a4", "a8"} <= set(counted)


def test_how_far_archiving_lags(rows: Rows, database_url: str) -> None:
    engine = make_engine(database_url)
    counting = Store(engine, worker="w", lease_seconds=30).counting
    assert counting.finished_seconds() is None
    rows.add(1)
    (held,) = rows.add(1, key="k")
    end = "update relay.outbox set status = :status, finished_at = now() - interval '3 h', {} where id = :id"
    rows.run(end.format("error_code = 'isv.x'"), status="failed", id=held)
    assert counting.finished_seconds(failed_holds=True) is None  # it stays, for it holds its key
    assert counting.finished_seconds() == pytest.approx(3 * 3600, abs=60)
    engine.dispose()


MUCH = """
insert into relay.outbox (topic, content, account, ordering_key, status, finished_at, call_id, result_index)
select 't', '{}', 'shop', case when n % 3 = 0 then 'k' || n % 50 end, 'done', now(), 1, 0
from generate_series(1, 4000) n
"""
QUESTIONS: dict[str, dict[str, Any]] = {
    "FEW": {"most": 60, "accounts": 3},
    "FEW_KEYED": {"most": 60, "accounts": 3},
    "MANY": {"most": 60, "claimed": ["zz"], "accounts": 3},
    "MANY_KEYED": {"most": 60, "claimed": ["zz"], "accounts": 3},
    "OLDEST": {"most": 60, "accounts": 3},
    "OLDEST_OF": {"accounts": ["a0", "zz"]},
    "BLOCKED": {"most": 20},
    "OPEN_CALLS": {"open_from": 0},
    "PAUSES": {},
}


@pytest.fixture(scope="module")
def crowd() -> dict[str, int]:
    """Rows of tables that each question may touch: a multiple of what it counts, of 6,000 that are there."""
    return {"MANY": 250, "MANY_KEYED": 130, "FEW": 62, "FEW_KEYED": 62, "BLOCKED": 62, "OLDEST": 90, "OLDEST_OF": 20}


@pytest.fixture
def crowded(database_url: str) -> Iterator[Connection]:
    engine = create_engine(database_url)
    rows = Rows(engine)
    rows.run(MUCH)
    for account in ("a0", "a1", "a2", "a3", "zz"):
        rows.add(300, account=account)
        rows.add(100, account=account, key_each=account)
    rows.run(
        "insert into relay.call (account, worker, message_ids, lease_until, settled_at, outcome) "
        "select 'a', 'w', array[n], now(), now(), 'ok' from generate_series(1, 3000) n"
    )
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("vacuum analyze relay.outbox, relay.call"))
    engine.dispose()
    spoilt = spoilt_engine(database_url)
    with spoilt.connect() as connection:
        yield connection
    spoilt.dispose()


@pytest.mark.parametrize("settings", ["select 1", KEPT_PLANS], ids=["behind a pooler", "kept"])
def test_no_question_reads_finished_rows_or_all_that_is_pending(
    crowded: Connection, crowd: dict[str, int], settings: str
) -> None:
    crowded.execute(text(settings))
    crowded.execute(text(backlog.SESSION))
    for name, given in QUESTIONS.items():
        sql = "explain (analyze, buffers, format json) " + filled(getattr(backlog, name), "relay")
        plan = crowded.execute(text(sql), given).scalar_one()[0]["Plan"]
        scans = [node for node in nodes(plan) if node.get("Relation Name") or node["Node Type"] == "Index Only Scan"]
        touched = sum(
            node["Actual Loops"] * (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) for node in scans
        )
        assert {node["Node Type"] for node in scans} <= {"Index Scan", "Index Only Scan"}, (name, plan)
        assert touched <= crowd.get(name, 0), (name, touched, plan)
        if name in ("FEW", "MANY"):
            assert not [node for node in scans if node["Node Type"] == "Index Scan"], "the index has all of it"
            assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < 100


@needs_pgbouncer
def test_behind_a_pooler_no_limit_stays_with_the_connection(rows: Rows, database_url: str) -> None:
    rows.add(3, account="shop")
    folder = Path(tempfile.gettempdir()) / f"relay-pooler-{uuid4().hex[:12]}"  # short: it holds a socket
    with pgbouncer(database_url, folder, size=1) as url:
        engine = make_engine(normalized_url(url))
        counting = Store(engine, worker="w", lease_seconds=30).counting
        assert [counting.backlog().accounts for _ in range(3)] == [(AccountBacklog("shop", 3),)] * 3
        with engine.connect() as connection:
            limits = [connection.scalar(text(f"show {name}")) for name in ("statement_timeout", "enable_seqscan")]
        engine.dispose()
    assert limits == ["0", "on"]
