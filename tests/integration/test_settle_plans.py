"""What a settle reads: the rows it writes, however many were finished before them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from relay import statements
from relay.sql import statement
from relay.store.preparing import KEPT_PLANS
from tests.fixtures.plans import nodes, spoilt_engine
from tests.fixtures.rows import Rows

# So few that reading all of them through looks cheaper than to look for fifty.
SETTLED = """
insert into relay.call (account, worker, message_ids, lease_until, settled_at, outcome)
select 'default', 'w', array[n], now(), now(), 'ok' from generate_series(1, 5000) n
"""
FINISHED = """
insert into relay.outbox (topic, content, status, finished_at, call_id, result_index)
select 't', '{}', 'done', now(), 1, 0 from generate_series(1, 5000) n
"""
OPEN = """
insert into relay.call (account, worker, message_ids, lease_until)
select 'default', 'w', array[n], now() from generate_series(1, 50) n returning id
"""


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    made = spoilt_engine(database_url)
    yield made
    made.dispose()


@pytest.fixture
def ids(engine: Engine) -> dict[str, list[int]]:
    """Fifty pending messages and fifty open calls behind thousands that are through."""
    rows = Rows(engine)
    rows.run(SETTLED)
    rows.run(FINISHED)
    added = rows.add(50, key_each="k")
    with engine.begin() as connection:
        calls = list(connection.execute(text(OPEN)).scalars())
    rows.run("analyze relay.outbox, relay.call")
    return {"outbox": added, "call": calls}


def read_in_vain(connection: Connection, sql: str, parameters: dict[str, Any]) -> int:
    """Rows of the relay's tables that were fetched and thrown away."""
    ((plan,),) = connection.execute(
        text(f"explain (analyze, format json) {statement(sql, 'relay')}"), parameters
    ).scalars()
    scans = [node for node in nodes(plan["Plan"]) if "Relation Name" in node and "Scan" in node["Node Type"]]
    assert scans
    return (
        sum(
            round(scan["Actual Loops"] * (scan["Actual Rows"] + scan.get("Rows Removed by Filter", 0)))
            for scan in scans
        )
        - 50
    )


NONE = [None] * 50
VALUES: dict[str, dict[str, Any]] = {
    "CLOSE_CALLS": {
        "outcomes": ["ok"] * 50,
        **dict.fromkeys(("http_statuses", "request_ids", "error_codes", "sub_codes", "error_messages"), NONE),
        **dict.fromkeys(("request_bytes", "durations_ms", "sent_seconds_ago"), NONE),
        "nonces": [0] * 50,
    },
    "MARK_DONE": {"call_ids": [1] * 50, "result_indexes": list(range(50))},
    "MARK_NOT_DONE": {
        "call_ids": [1] * 50,
        "outcomes": ["retry"] * 50,
        "result_indexes": list(range(50)),
        "pays": [True] * 50,
        "final": [False] * 50,
        "delays_seconds": [1.0] * 50,
        **dict.fromkeys(("error_codes", "error_messages", "row_codes", "row_messages"), NONE),
    },
}


@pytest.mark.parametrize("settings", ["select 1", KEPT_PLANS], ids=["planned anew", "kept"])
@pytest.mark.parametrize("name", VALUES)
def test_a_settle_reads_what_it_writes(engine: Engine, ids: dict[str, list[int]], name: str, settings: str) -> None:
    table = "call" if name == "CLOSE_CALLS" else "outbox"
    with engine.connect() as connection:
        connection.execute(text(settings))
        assert read_in_vain(connection, getattr(statements, name), VALUES[name] | {"ids": ids[table]}) == 0
