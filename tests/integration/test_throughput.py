"""What got through of late, from the newest calls: the right numbers, and nothing older is read for them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import Engine, text

from relay.cli.verbs import relay
from relay.database import Database
from relay.reports import DAY, HOUR, Spread, throughput
from relay.reports.throughput import CALLS, MESSAGES
from relay.sql import statement
from tests.fixtures.hostility import only_where_nothing_is_set
from tests.fixtures.rows import Rows

CALL = """
insert into relay.call (account, worker, message_ids, claimed_at, lease_until, settled_at, outcome, duration_ms)
values ('default', 'w', cast(:ids as bigint[]), now() - cast(:ago as interval), now(),
    case when :outcome <> 'open' then now() - cast(:ago as interval) end, nullif(:outcome, 'open'), :ms) returning id
"""
DONE = """
update relay.outbox set status = 'done', call_id = :call, result_index = 0, attempts = 1,
    finished_at = created_at + interval '4 seconds' where id = any (cast(:ids as bigint[]))
"""
MANY = """
insert into relay.call (account, worker, message_ids, claimed_at, lease_until, settled_at, outcome, duration_ms)
select 'default', 'w', array[g], at, at, at, 'ok', 5
from (select g, now() - interval '30 days' + g * interval '1 s' as at from generate_series(1, 5000) g) as old
"""


@pytest.fixture
def rows(engine: Engine) -> Rows:
    return Rows(engine)


def call(rows: Rows, ids: list[int], ago: str, outcome: str, ms: int | None = None) -> None:
    """Of a partial one the first message was not accepted; the others took four seconds from their insert."""
    ((number,),) = rows.read(CALL, ids=ids, ago=ago, outcome=outcome, ms=ms)
    if outcome == "partial":
        rows.run(
            "insert into relay.attempt (message_id, call_id, result_index, outcome) values (:id, :call, 0, 'retry')",
            id=ids[0],
            call=number,
        )
    if outcome in ("ok", "partial"):
        rows.run(DONE, call=number, ids=ids if outcome == "ok" else ids[1:])


@pytest.fixture
def made(rows: Rows) -> Rows:
    """Calls of all kinds: what is before the last hour brought as much as what is in it."""
    ids = rows.add(10)
    call(rows, ids[:4], "2 hours", "ok", 900)
    call(rows, ids[4:6], "30 minutes", "ok", 100)
    call(rows, ids[6:9], "20 minutes", "partial", 300)
    call(rows, ids[9:], "10 minutes", "unknown", 200)
    call(rows, ids[9:], "5 minutes", "released")
    call(rows, ids[9:], "1 minute", "open")
    return rows


def test_rates_and_times_are_those_of_the_calls_in_the_span(made: Rows) -> None:
    with Database(made.engine).reading() as connection:
        hour, day = throughput(connection), throughput(connection, DAY)
    assert (hour.seconds, hour.calls, hour.done) == (3600, 3, 4)
    assert hour.done_per_second == pytest.approx(4 / 3600)
    assert hour.call_ms == Spread(200, 300)
    assert hour.message_seconds == Spread(pytest.approx(4), pytest.approx(4))
    assert (day.seconds, day.calls, day.done) == (86_400, 4, 8)
    assert day.call_ms == Spread(200, 900)


def test_where_there_are_too_many_calls_the_newest_count(made: Rows) -> None:
    with Database(made.engine).reading() as connection:
        found = throughput(connection, DAY, most_calls=4)
    assert (found.calls, found.done, found.seconds) == (2, 2, pytest.approx(20 * 60, abs=60))


def test_an_empty_database_and_one_without_calls_of_late_have_nothing_to_tell(rows: Rows) -> None:
    with Database(rows.engine).reading() as connection:
        empty = throughput(connection)
    rows.run(MANY)
    with Database(rows.engine).reading() as connection:
        assert throughput(connection) == empty
    assert (empty.calls, empty.done, empty.call_ms, empty.message_seconds) == (0, 0, None, None)


def scans(node: dict[str, Any]) -> Any:
    if "Relation Name" in node:
        yield node
    for child in node.get("Plans", ()):
        yield from scans(child)


@only_where_nothing_is_set("the plan is that of the test's own session")
def test_what_is_older_is_not_read(rows: Rows) -> None:
    """Neither calls nor messages, however many there are: the halving touches some twenty."""
    rows.run(MANY)
    rows.run(
        "insert into relay.outbox (topic, content, status, finished_at, call_id, result_index) "
        "select 't', '{}', 'done', now() - interval '20 days', g, 0 from generate_series(1, 5000) g"
    )
    for ago in ("30 minutes", "20 minutes"):
        call(rows, rows.add(3), ago, "partial", 100)
    rows.run("analyze")
    newest = rows.read("select array_agg(id) from (select id from relay.call order by id desc limit 2) newest")[0][0]
    for sql, given in ((CALLS, {"span": HOUR, "most": 10_000}), (MESSAGES, {"calls": newest})):
        with rows.engine.connect() as connection:
            asked = text("explain (analyze, format json) " + statement(sql, "relay").text).bindparams(**given)
            plan = connection.execute(asked).scalar_one()[0]["Plan"]
        touched = sum(
            (scan["Actual Rows"] + scan.get("Rows Removed by Filter", 0)) * scan["Actual Loops"] for scan in scans(plan)
        )
        assert 0 < touched < 100, plan


def test_status_tells_it(made: Rows, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELAY_DATABASE_URL", database_url)
    said = CliRunner().invoke(relay, ["status"]).stdout
    assert "last hour   4 done in 3 calls, 0.00111 a second; a call takes 200 to 300 ms; a message 4 to 4 s" in said
    found = json.loads(CliRunner().invoke(relay, ["status", "--json"]).stdout)
    assert (found["last_hour"]["done"], found["last_day"]["done"]) == (4, 8)
