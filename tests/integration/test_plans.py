"""Promise 8: what a claim costs does not grow with the table. EXPLAIN tells the plan and counts the pages touched.

Pages, not milliseconds: they are the same on every machine. The bounds are about twice what was measured.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.pool import NullPool

from relay.sql import statement
from relay.store import ClaimLimits, Store
from relay.store.claim import statements as sql
from tests.fixtures.database import Server
from tests.fixtures.plans import nodes, spoilt_engine
from tests.fixtures.rows import Rows

FINISHED = """
insert into relay.outbox (topic, content, ordering_key, status, finished_at, call_id, result_index)
select 't', '{}', case when n % 2 = 0 then 'k' || n % 100 end, 'done', now(), 1, 0 from generate_series(1, 100000) n
"""
SETTLED_CALLS = """
insert into relay.call (account, worker, message_ids, lease_until, settled_at, outcome)
select 'default', 'w', array[n], now(), now(), 'ok' from generate_series(1, 20000) n
"""
READY: dict[str, Any] = {
    "after_account": "",
    "accounts": 8,
    "key_accounts": [],
    "keys": [],
    "skip_accounts": [],
    "batch": 50,
    "slots": 8,
    "failed_holds": False,
    "linger_seconds": 0,
    "open_from": 0,
    "floor_accounts": [],
    "floors_us": [],
    "floor_ids": [],
    "remember": False,
    "pass_over": False,
    "mixed": [],
    "aside": "{}",
}
FEW_PAGES = 900  # for 400 messages, each fetched from its page of the table


@dataclass(frozen=True)
class Explained:
    """``scans``: (how, which table, by which index) for the tables of the relay."""

    pages: int
    rows: int
    scans: frozenset[tuple[str, str, str | None]]

    def assert_the_outbox_is_not_read_through(self) -> None:
        assert not [scan for scan in self.scans if scan[0] == "Seq Scan" and scan[1] == "outbox"]


def explained(connection: Connection, statement: str, parameters: dict[str, Any] | None = None) -> Explained:
    ((plan,),) = connection.execute(text(f"explain (analyze, buffers, format json) {statement}"), parameters).scalars()
    root = plan["Plan"]
    scans = {
        (node["Node Type"], node["Relation Name"], node.get("Index Name"))
        for node in nodes(root)
        if "Scan" in node["Node Type"] and "Relation Name" in node
    }
    return Explained(root["Shared Hit Blocks"] + root["Shared Read Blocks"], root["Actual Rows"], frozenset(scans))


def lock_ready(engine: Engine, **parameters: Any) -> Explained:
    """The second run, as in the life of a worker: the first one may set hint bits and read pages of the catalogue."""
    for _ in range(2):
        with engine.connect() as connection:
            found = explained(connection, str(statement(sql.LOCK_READY, "relay")), READY | parameters)
    found.assert_the_outbox_is_not_read_through()
    return found


@pytest.fixture(scope="module")
def finished(postgres: Server, migrated_template: str) -> Iterator[str]:
    """The name of a database with FINISHED in it. A test that uses this fixture has a clone of it."""
    with postgres.fresh_database(migrated_template) as name:
        engine = create_engine(postgres.url(name), poolclass=NullPool)
        Rows(engine).run("alter table relay.outbox set (autovacuum_enabled = off)")  # nobody else analyzes it
        Rows(engine).run(FINISHED)
        yield name


@pytest.fixture
def database_url(request: pytest.FixtureRequest, postgres: Server) -> Iterator[str]:
    template = "finished" if "finished" in request.fixturenames else "migrated_template"
    with postgres.fresh_database(request.getfixturevalue(template)) as name:
        yield postgres.url(name)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    made = spoilt_engine(database_url)
    yield made
    made.dispose()


@pytest.fixture
def rows(engine: Engine) -> Rows:
    return Rows(engine)


@pytest.mark.parametrize("analyzed", [True, False], ids=["analyzed", "never analyzed"])
def test_promise_8_finished_messages_and_settled_calls_cost_nothing(rows: Rows, engine: Engine, analyzed: bool) -> None:
    rows.run("alter table relay.outbox set (autovacuum_enabled = off)")  # or the server analyzes it in between
    rows.add(20_000)
    if analyzed:
        rows.run("analyze relay.outbox, relay.call")
    without = lock_ready(engine)
    rows.run(FINISHED)
    rows.run(SETTLED_CALLS)
    if analyzed:
        rows.run("analyze relay.outbox, relay.call")
    with_them = lock_ready(engine)
    assert without.rows == with_them.rows == 401
    assert with_them.pages <= FEW_PAGES
    assert with_them.pages <= without.pages * 1.2


def test_promise_8_the_backlog_behind_costs_nothing(rows: Rows, engine: Engine) -> None:
    rows.add(1000)
    rows.run("analyze relay.outbox")
    short = lock_ready(engine)
    rows.add(50_000)
    rows.run("analyze relay.outbox")
    assert lock_ready(engine).pages <= short.pages * 1.2


def test_promise_8_messages_that_wait_for_a_retry_cost_nothing_though_they_are_older(
    rows: Rows, engine: Engine
) -> None:
    rows.add(20_000, due_in_seconds=3600)
    rows.add(400)
    rows.run("analyze relay.outbox")
    found = lock_ready(engine)
    assert (found.rows, found.pages <= FEW_PAGES) == (401, True)


@pytest.mark.usefixtures("finished")
def test_promise_8_a_hot_key_costs_one_step_however_long_its_queue(rows: Rows, engine: Engine) -> None:
    rows.add(20_000, key="hot")
    rows.add(50, key_each="other")
    rows.run("analyze relay.outbox")
    found = lock_ready(engine)
    assert (found.rows, found.pages <= FEW_PAGES) == (52, True)


def test_thousands_of_waiting_keys_cost_a_bounded_number_of_steps(rows: Rows, engine: Engine) -> None:
    rows.add(20_000, key_each="k", due_in_seconds=3600)
    rows.run("analyze relay.outbox")
    assert lock_ready(engine).pages <= 5 * 800  # twice 400 heads are looked at, then the next claim goes on


def test_promise_8_thousands_of_keys_cost_little_more_than_the_messages_locked(rows: Rows, engine: Engine) -> None:
    rows.add(20_000, key_each="k")
    rows.run("analyze relay.outbox")
    found = lock_ready(engine)
    assert (found.rows, found.pages <= 8 * 400) == (401, True)  # to find each key on its own took 16 a message


def test_promise_8_thousands_of_accounts_cost_those_looked_at(rows: Rows, engine: Engine) -> None:
    rows.run(
        """insert into relay.outbox (topic, content, account)
        select 't', '{}', 'account' || n % 2000 from generate_series(1, 20000) n"""
    )
    rows.run("analyze relay.outbox")
    assert lock_ready(engine, slots=1).pages <= FEW_PAGES


def test_failed_messages_may_hold_their_keys_without_a_look_at_all_of_them(rows: Rows, engine: Engine) -> None:
    rows.run(FINISHED.replace("'done'", "'failed'"))
    rows.add(400, key_each="k")
    rows.run("analyze relay.outbox")
    found = lock_ready(engine, failed_holds=True)
    assert (found.rows, found.pages <= 20 * 400) == (401, True)


@pytest.mark.usefixtures("finished")
def test_the_plan_for_any_values_is_as_good(rows: Rows, engine: Engine) -> None:
    """After five executions the driver prepares the statement, and PostgreSQL may settle on one plan for all values."""
    rows.add(20_000)
    rows.run("analyze relay.outbox")
    prepared = str(statement(sql.LOCK_READY, "relay"))
    names = list(dict.fromkeys(re.findall(r"(?<!:):(\w+)", prepared)))
    for place, name in enumerate(names, start=1):
        prepared = re.sub(rf"(?<!:):{name}\b", f"${place}", prepared)
    values = ", ".join("'{}'" if READY[name] == [] else repr(READY[name]) for name in names)
    with engine.connect() as connection:
        connection.exec_driver_sql(f"prepare claim as {prepared}")
        connection.execute(text("set local plan_cache_mode = force_generic_plan"))
        found = explained(connection, f"execute claim({values})")
    found.assert_the_outbox_is_not_read_through()
    assert (found.rows, found.pages <= FEW_PAGES) == (401, True)


def name_calls(engine: Engine, ids: list[int], keys: list[str | None]) -> Explained:
    parameters = {
        "worker": "w",
        "lease_seconds": 60,
        "batches": [1] * len(ids),
        "accounts": ["default"],
        "nonces": [1],
        "keyed_ids": [id_ for id_, key in zip(ids, keys, strict=True) if key is not None],
        "key_accounts": ["default" for key in keys if key is not None],
        "keys": [key for key in keys if key is not None],
        "keys_from": [0 for key in keys if key is not None],
        "ids": ids,
        "open_from": 0,
    }
    with engine.connect() as connection:
        found = explained(connection, str(statement(sql.NAME_CALLS, "relay")), parameters)
    found.assert_the_outbox_is_not_read_through()
    return found


@pytest.mark.usefixtures("finished")
@pytest.mark.parametrize("analyzed", [True, False], ids=["analyzed", "never analyzed"])
def test_naming_looks_at_open_calls_and_earlier_heads_alone(rows: Rows, engine: Engine, analyzed: bool) -> None:
    rows.run(SETTLED_CALLS)
    rows.add(20_000, key="hot")
    unkeyed = rows.add(50)
    keyed = rows.add(50, key_each="z")
    Store(engine, worker="w", lease_seconds=60).claim(ClaimLimits(slots=1, batch_size=1))
    if analyzed:
        rows.run("analyze relay.outbox, relay.call")
    found = name_calls(engine, unkeyed + keyed, [None] * 50 + [f"z{n:06}" for n in range(1, 51)])
    assert (found.rows, found.pages <= 800) == (1, True)


def test_promise_8_accounts_that_are_paused_are_stepped_over_without_a_lock_and_cost_the_others_nothing(
    rows: Rows, engine: Engine
) -> None:
    """The one who walks over them pays some ten pages for each, and is no claim; new messages tell where to claim."""
    rows.add(account="zoo")
    claim = {**READY, "known_accounts": ["zoo"]}
    new, ahead = {"after": None, "most": 100}, {"after_account": "", "accounts": 255, "skip_accounts": []}
    alone = among(engine, sql.LOCK_AMONG, claim)
    rows.run(
        "insert into relay.outbox (topic, content, account) "
        "select 't', '{}', 'ghost-' || n from generate_series(1, 3000) n"
    )
    rows.run("insert into relay.pause (scope, reason, by) select 'account:' || account, 'x', 'me' from relay.outbox")
    rows.run("delete from relay.pause where scope = 'account:zoo'")
    assert among(engine, sql.LOCK_AMONG, claim).pages <= alone.pages * 1.2 + 2
    assert among(engine, sql.ACCOUNTS_OF_NEW, new).pages <= 100 * 5
    walk = among(engine, sql.ACCOUNTS_AHEAD, ahead)
    assert (walk.rows, walk.pages <= 256 * 12) == (256, True)
    assert "for update" not in sql.ACCOUNTS_AHEAD + sql.ACCOUNTS_OF_NEW


def among(engine: Engine, text_of: str, parameters: dict[str, Any]) -> Explained:
    """As a worker's session plans it."""
    for _ in range(2):
        with engine.connect() as connection:
            connection.exec_driver_sql("set enable_seqscan = off; set enable_bitmapscan = off")
            found = explained(connection, str(statement(text_of, "relay")), parameters)
    return found
