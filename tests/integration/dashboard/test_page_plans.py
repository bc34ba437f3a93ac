"""No page reads through what is finished: EXPLAIN counts the rows that each of its statements touches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.pool import NullPool

from relay import reports
from relay.database import Database
from relay.reports import Cursor, Search
from tests.fixtures.database import Server
from tests.fixtures.hostility import only_where_nothing_is_set
from tests.fixtures.plans import nodes

MANY = """
insert into relay.outbox (topic, content, ordering_key, status, finished_at, call_id, result_index, attempts)
select 't', '{}', null, 'done', now() - interval '1 day', n / 50 + 1, n % 50, 1 from generate_series(0, 29999) n;
insert into relay.call
    (account, worker, message_ids, claimed_at, lease_until, settled_at, outcome, duration_ms, request_id)
select 'default', 'w', array(select generate_series(n * 50 + 1, n * 50 + 50)), at, at, at, 'ok', 5, 'r' || n
from (select n, now() - interval '30 days' + n * interval '1 minute' as at from generate_series(0, 29999) n) as old;
insert into relay.attempt (message_id, call_id, result_index, outcome)
select n, n / 50 + 1, 0, 'retry' from generate_series(1, 30000) n;
insert into relay.action (actor, action, reason, message_ids, count)
select 'ann', 'retry', 'r', array[n], 1 from generate_series(1, 5000) n;
insert into relay.outbox (topic, content, ordering_key) select 't', '{}', case n % 2 when 0 then 'k' end
from generate_series(1, 20) n;
insert into relay.outbox (topic, content, status, error_code, finished_at)
select 't', '{}', 'failed', 'isv.' || n % 3, now() from generate_series(1, 900) n;
"""
MORE = """
insert into relay.outbox (topic, content, ordering_key) select 't', '{}', case n % 2 when 0 then 'k' || n % 500 end
from generate_series(1, 10000) n;
insert into relay.outbox (topic, content, status, error_code, finished_at)
select 't', '{}', 'failed', 'isv.' || n, now() from generate_series(1, 10000) n;
"""
EDGES = timedelta(days=1)
ASKED: dict[str, Callable[[Connection], Any]] = {
    "the newest": lambda it: reports.find(it, Search()),
    "done": lambda it: reports.find(it, Search("done")),
    "older ones": lambda it: reports.find(it, Search(), Cursor((15_000,))),
    "newer ones": lambda it: reports.find(it, Search(), Cursor((15_000,), newer=True)),
    "failed": lambda it: reports.find(it, Search("failed")),
    "failed with a code": lambda it: reports.find(it, Search("failed", error_code="isv.1")),
    "pending": lambda it: reports.find(it, Search("pending")),
    "held": lambda it: reports.find(it, Search("held", topic="t")),
    "may change, failed": lambda it: reports.changeable(it, Search("failed"), most=100),
    "may change, of a code": lambda it: reports.changeable(it, Search("failed", error_code="isv.1"), most=100),
    "may change, pending": lambda it: reports.changeable(it, Search("pending", account="default"), most=100),
    "may change, of a key": lambda it: reports.changeable(it, Search("failed", ordering_key="k"), most=100),
    "may arrive twice": lambda it: reports.unclear_among(it, range(100, 200)),
    "one pause": lambda it: reports.pause_in_force(it, "account:default"),
    "the login's rights": lambda it: reports.rights(it),
    "a topic that nothing has": lambda it: reports.find(it, Search(topic="x")),
    "a key that nothing has": lambda it: reports.find(it, Search(ordering_key="x")),
    "a window of time": lambda it: reports.find(it, Search(until=reports.now(it) - timedelta(days=40))),
    "a dedupe key": lambda it: reports.of_dedupe_key(it, "default", "x"),
    "one message": lambda it: reports.message(it, 17),
    "its content": lambda it: reports.masked_content(it, 17),
    "calls": lambda it: reports.calls(it),
    "open calls": lambda it: reports.calls(it, only_open=True),
    "a request": lambda it: reports.calls_of_request(it, "r77"),
    "failures": lambda it: reports.failures(it),
    "duplicates": lambda it: reports.duplicates(it),
    "blocked keys": lambda it: reports.blocked_keys(it),
    "what waits": lambda it: reports.waiting(it, old_seconds=300),
    "failed heads": lambda it: reports.failed_heads(it),
    "a message with a key": lambda it: reports.message(it, 30_002),
    "codes": lambda it: reports.failed_codes(it),
    "pauses": lambda it: reports.pauses_in_force(it),
    "past pauses": lambda it: reports.past_pauses(it),
    "the ledger": lambda it: reports.ledger(it),
    "lapsed calls": lambda it: reports.open_calls(it, 10),
    "paces": lambda it: reports.put_off(it, 60),
    "the state": lambda it: reports.status(it),
    "a day in pieces": lambda it: reports.series(it, reports.last(reports.now(it), EDGES, 24), most=10),
}
# Where thousands wait and failed, a page reads no more of them than its bound.
MANY_ASKED: dict[str, Callable[[Connection], Any]] = {
    "pending": lambda it: reports.find(it, Search("pending")),
    "due, of a topic that nothing has": lambda it: reports.find(it, Search("due", topic="x")),
    "held": lambda it: reports.find(it, Search("held")),
    "pending of an account": lambda it: reports.find(it, Search("pending", account="default")),
    "failed": lambda it: reports.find(it, Search("failed")),
    "failed of a topic that nothing has": lambda it: reports.find(it, Search("failed", topic="x")),
    "what waits": lambda it: reports.waiting(it, most=500, old_seconds=300),
    "failed heads": lambda it: reports.failed_heads(it, most_keys=200, most_due=200),
    "blocked keys, and none is": lambda it: reports.blocked_keys(it, most_looked=500),
    "blocked keys, backwards": lambda it: reports.blocked_keys(it, Cursor(("z", "z"), newer=True), most_looked=500),
    "codes": lambda it: reports.failed_codes(it, most=500),
    "failures": lambda it: reports.failures(it, reports.failed_codes(it, most=500), most=500),
}
BOUND = 1_200  # rows; the 900 that failed and the next 500 ids are among them, the 30,000 that are done are not


@pytest.fixture(scope="module")
def crowded(postgres: Server, migrated_template: str) -> Iterator[Engine]:
    with _filled(postgres, migrated_template, MANY) as engine:
        yield engine


@pytest.fixture(scope="module")
def more_crowded(postgres: Server, migrated_template: str) -> Iterator[Engine]:
    with _filled(postgres, migrated_template, MANY + MORE) as engine:
        yield engine


@contextmanager
def _filled(postgres: Server, template: str, sql: str) -> Iterator[Engine]:
    with postgres.fresh_database(template) as name:
        engine = create_engine(postgres.url(name), poolclass=NullPool)
        with engine.begin() as connection:
            for statement in sql.strip().split(";\n"):
                connection.execute(text(statement.removesuffix(";")))
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("vacuum analyze"))
        yield engine


@only_where_nothing_is_set("the plan is that of the test's own session")
@pytest.mark.parametrize("name", ASKED)
def test_no_page_reads_through_what_is_finished(crowded: Engine, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr("relay.reports.search.MOST_LOOKED", 500)
    assert_bounded(crowded, ASKED[name])


@only_where_nothing_is_set("the plan is that of the test's own session")
@pytest.mark.parametrize("name", MANY_ASKED)
def test_no_page_reads_through_what_waits_or_failed(
    more_crowded: Engine, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("relay.reports.search.MOST_LOOKED", 500)
    monkeypatch.setattr("relay.reports.search.FEW", 500)
    assert_bounded(more_crowded, MANY_ASKED[name])


def assert_bounded(engine: Engine, report: Callable[[Connection], Any]) -> None:
    asked: list[tuple[str, Any]] = []
    with Database(engine).reading() as connection:
        event.listen(connection, "before_cursor_execute", lambda *it: asked.append((it[2], it[3])))
        connection.execute(text("set local enable_seqscan = off"))  # as the dashboard does
        report(connection)
        for sql, parameters in asked.copy():
            raw: Any = connection.connection.dbapi_connection
            if not sql.lstrip().lower().startswith(("select", "with")) or "set_config" in sql:
                raw.execute(sql, parameters)
                continue
            (found,) = raw.execute(f"explain (analyze, format json) {sql}", parameters).fetchone()
            touched = sum(
                (scan["Actual Rows"] + scan.get("Rows Removed by Filter", 0)) * scan["Actual Loops"]
                for scan in nodes(found[0]["Plan"])
                if "Relation Name" in scan
            )
            assert touched <= BOUND, (touched, sql, found)
    assert asked
