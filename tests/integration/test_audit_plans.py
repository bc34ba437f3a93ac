"""What an operator looks at daily never scans finished rows, and a question about one thing follows an index.

The same whether what is finished is in the hot tables or in the months of the archive.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.pool import NullPool

from relay import reports
from relay.operators import archive
from relay.reports import Cursor, Search
from tests.docs.markdown import ROOT, blocks
from tests.fixtures.database import Server
from tests.fixtures.hostile import PLANS
from tests.fixtures.hostility import takes_back
from tests.fixtures.roles import Roles

# Auditors plan as they like; asked here is what PostgreSQL finds by itself.
pytestmark = takes_back(*PLANS)
FINISHED = 200_000
FEW = 6_000  # messages, or attempts, that a view may touch in a table or month: so few are read whole anyway

# Calls of 50, over more than three months; of the last 200 messages some are pending, failed, in flight; some were
# unknown once.
FILL = f"""
insert into relay.outbox (topic, content, status, finished_at, call_id, result_index, created_at)
select 't', '{{}}', 'done', moment, (n - 1) / 50 + 1, (n - 1) - (n - 1) / 50 * 50, moment
from generate_series(1, {FINISHED}) n
cross join lateral (select now() - make_interval(secs => 50 * ({FINISHED} - n)) as moment) as at;
insert into relay.call (account, worker, message_ids, lease_until, settled_at, outcome, request_id)
select 'default', 'w', array(select generate_series(n * 50 - 49, n * 50)), now(), now(), 'ok', 'request-' || n
from generate_series(1, {FINISHED} / 50) n;
insert into relay.outbox (topic, content, ordering_key) select 't', '{{}}', nullif(n / 51 * n, 0)::text
from generate_series(1, 100) n;
insert into relay.outbox (topic, content, ordering_key, status, finished_at, error_code)
select 't', '{{}}', 'order-' || n, 'failed', now(), 'isv.x' from generate_series(1, 100) n;
insert into relay.call (account, worker, message_ids, lease_until)
values ('default', 'w', array(select generate_series({FINISHED} + 1, {FINISHED} + 50)), now());
insert into relay.attempt (message_id, call_id, result_index, outcome)
select n * 1000, n * 20, 49, 'unknown' from generate_series(1, 100) n;
insert into relay.attempt (message_id, call_id, result_index, outcome)
select n * 10, n / 5 + 1, 0, 'retry' from generate_series(1, 10000) n;
"""

DAILY = [
    "select * from relay.audit_backlog",
    "select * from relay.audit_in_flight",
    "select * from relay.audit_failure",
    "select * from relay.audit_failure where error_code = 'isv.x' order by id desc limit 10",
    "select * from relay.audit_possible_duplicate",
    "select * from relay.audit_pause",
    "select * from relay.blocked_keys",
    "select * from relay.audit_action",
]
ONE = [
    "select * from relay.audit_message where id = 777",
    "select * from relay.audit_message where created_at >= now() - interval '10 minutes'",
    "select * from relay.audit_delivery where message_id = 2000",
    "select * from relay.audit_delivery where call_id = 77",
    "select * from relay.audit_delivery where request_id = 'request-77'",
    "select * from relay.audit_call where request_id = 'request-77'",
    "select * from relay.audit_integrity where id = 777",
    "select * from relay.audit_possible_duplicate where message_id = 2000",
    "select * from relay.audit_failure where id = 200102",
]


@pytest.fixture(scope="module")
def filled(postgres: Server, migrated_template: str) -> Iterator[str]:
    """The name of a database with many finished messages, and a few that are not."""
    with postgres.fresh_database(migrated_template) as name:
        engine = create_engine(postgres.url(name), poolclass=NullPool, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            for statement in FILL.split(";\n"):
                if statement.strip():
                    connection.execute(text(statement))
        yield name


@pytest.fixture(scope="module", params=["hot", "archived"])
def full(request: pytest.FixtureRequest, postgres: Server, filled: str) -> Iterator[Connection]:
    """What finished is where it was, or has moved to the archive."""
    with postgres.fresh_database(filled) as name:
        engine = create_engine(postgres.url(name), poolclass=NullPool, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            if request.param == "archived":
                begin = engine.execution_options(isolation_level="READ COMMITTED").begin
                moved = archive.archive(begin, timedelta(0), actor="a", reason="r", batch=10_000)
                assert sum(one.messages for one in moved) == FINISHED + 100
            connection.execute(text("vacuum analyze"))
            yield connection


def scans(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if "Relation Name" in plan:
        yield plan
    for below in plan.get("Plans", ()):
        yield from scans(below)


def touched(scan: dict[str, Any]) -> float:
    """Rows that a scan looked at, whether they fitted or not."""
    removed = scan.get("Rows Removed by Filter", 0) + scan.get("Rows Removed by Index Recheck", 0)
    return float((scan["Actual Rows"] + removed) * scan["Actual Loops"])


def explain(connection: Connection, query: str) -> list[dict[str, Any]]:
    """Scans of what grows with messages. How a call is found is left to the planner: there are fifty times fewer."""
    (plan,) = connection.execute(text(f"explain (analyze, format json) {query}")).scalar_one()
    found = list(scans(plan["Plan"]))
    assert found, json.dumps(plan)
    return [scan for scan in found if scan["Relation Name"].startswith(("outbox", "attempt"))]


@pytest.mark.parametrize("query", DAILY + ONE)
def test_finished_rows_are_left_alone(full: Connection, query: str) -> None:
    for scan in explain(full, query):
        assert (scan["Node Type"], scan["Relation Name"]) != ("Seq Scan", "outbox"), scan
        assert touched(scan) <= FEW, scan


@pytest.fixture(scope="module")
def operators(full: Connection, postgres: Server) -> Iterator[Engine]:
    """A login that may read no table."""
    url = full.engine.url.render_as_string(hide_password=False)
    roles = Roles(postgres, url)
    roles.make()
    engine = create_engine(roles.url("operator"), poolclass=NullPool)
    yield engine
    roles.drop()


SEARCHES = [
    Search(),
    Search("pending"),
    Search("pending", account="default", ordering_key="60"),
    Search("pending", topic="other"),
    Search("held"),
    Search("failed"),
    Search("failed", error_code="isv.x"),
    Search("failed", topic="other", account="shop"),
    Search("failed", ordering_key="order-50"),
    Search("done"),
    Search("done", topic="other"),
    Search(topic="other"),
    Search(account="shop", ordering_key="order-50"),
    Search(error_code="isv.x"),
]
ASKED: dict[str, Callable[[Connection], Any]] = {
    "status": reports.status,
    "show, done": lambda connection: reports.message(connection, 2000),
    "show, failed": lambda connection: reports.message(
        connection, connection.scalar(text("select max(id) from relay.audit_failure"))
    ),
    "show, pending": lambda connection: reports.message(connection, FINISHED + 1),
    "list --since": lambda connection: _listed(connection, _lately(connection)),
    "list --since --topic": lambda connection: _listed(connection, replace(_lately(connection), topic="other")),
} | {f"list {wanted}": lambda connection, wanted=wanted: _listed(connection, wanted) for wanted in SEARCHES}


def _listed(connection: Connection, wanted: Search) -> Any:
    """As relay list asks, whatever --after says."""
    return [reports.find(connection, wanted, at) for at in (Cursor(), Cursor((FINISHED // 2,)))]


def _lately(connection: Connection) -> Search:
    return Search(since=reports.now(connection) - timedelta(minutes=10))


@pytest.mark.parametrize("asked", ASKED)
def test_what_an_operator_asks_leaves_finished_rows_alone(
    operators: Engine, asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each statement is explained as this login, where it is run."""
    monkeypatch.setattr("relay.reports.search.MOST_LOOKED", FEW // 2)
    plans: list[dict[str, Any]] = []

    def explain(_: Any, cursor: Any, statement: str, parameters: Any, *__: Any) -> None:
        cursor.execute(f"explain (analyze, format json) {statement}", parameters)
        plans.append(cursor.fetchone()[0][0]["Plan"])

    with operators.connect() as connection:
        event.listen(connection, "before_cursor_execute", explain)
        assert ASKED[asked](connection)
    assert plans
    for scan in (scan for plan in plans for scan in scans(plan) if scan["Relation Name"].startswith(("outbox", "att"))):
        assert touched(scan) <= FEW, scan


IN_THE_ARCHIVE = [
    "select id, status, request_id from relay.audit_message where ordering_key = 'order-50'",
    "select message_id, request_id from relay.audit_delivery "
    "where outcome = 'done' and at >= now() - interval '40 days' and at < now() - interval '39 days'",
]


@pytest.mark.parametrize("query", IN_THE_ARCHIVE)
def test_what_is_read_whole_in_the_outbox_is_looked_up_in_the_archive(full: Connection, query: str) -> None:
    """There an index costs nobody but who archives; in the outbox each settling would pay for it."""
    for scan in explain(full, query):
        assert scan["Relation Name"] in ("outbox", "attempt") or touched(scan) <= FEW, scan
    assert full.execute(text(query)).all()


def test_all_of_a_transaction_is_found_by_its_time(full: Connection) -> None:
    (question,) = (block.text for block in blocks(ROOT / "docs" / "audit.md") if "created_xid = (" in block.text)
    for scan in explain(full, question.replace("17", "777")):
        assert touched(scan) <= FEW, scan


def test_the_call_of_a_message_is_looked_up_for_those_who_ask_for_it_alone(full: Connection) -> None:
    (plan,) = full.execute(text("explain (format json) select id, status from relay.audit_message")).scalar_one()
    assert [scan for scan in scans(plan["Plan"]) if scan["Relation Name"].startswith("call")] == []
    assert plan["Plan"]["Plan Rows"] < 2 * FINISHED, "the planner knows how many there are"
    asked = "select request_id from relay.audit_message where id = 777"
    assert full.execute(text(asked)).scalar_one() == "request-16"


def test_the_latest_messages_are_found_from_the_end(full: Connection) -> None:
    """However many there are: what the function reads is in the statistics of its session."""
    counted = "select sum(seq_tup_read + idx_tup_fetch) from pg_stat_xact_all_tables where relname like 'outbox%'"
    full.execute(text("begin"))
    before = full.execute(text(counted)).scalar_one()  # of the session's last transactions, not yet reported
    found = full.execute(text("select id from relay.latest_messages(100)")).scalars().all()
    assert full.execute(text(counted)).scalar_one() - before <= FEW
    full.execute(text("rollback"))
    assert found == full.execute(text("select id from relay.audit_message order by id desc limit 100")).scalars().all()


def test_the_guard_sees_a_scan_of_everything(full: Connection) -> None:
    """A view that counts all messages of a day reads all messages: documented, and a proof that this test can fail."""
    assert sum(map(touched, explain(full, "select * from relay.audit_daily"))) >= FINISHED
