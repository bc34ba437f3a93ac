"""The ledger tells what was done, by itself: nothing that a caller says, and no way of acting, makes it tell less."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine, Row, text

from relay.operators import archive, retention
from relay.operators.ledger import Order
from tests.fixtures.processes import StartRelay
from tests.fixtures.roles import Roles
from tests.fixtures.rows import Rows

Login = Callable[[str], psycopg.Connection[tuple[object, ...]]]
ORDER = Order("ann", "asked", {})
FAILED = "update relay.outbox set status = 'failed', finished_at = now() where id = any (cast(:ids as bigint[]))"


@pytest.fixture
def rows(engine: Engine) -> Rows:
    return Rows(engine)


@pytest.fixture
def login(roles: Roles) -> Iterator[Login]:
    opened = []

    def connect(part: str) -> psycopg.Connection[tuple[object, ...]]:
        opened.append(psycopg.connect(roles.url(part).replace("+psycopg", ""), autocommit=True))
        return opened[-1]

    yield connect
    for connection in opened:
        connection.close()


def acts(rows: Rows) -> list[Row[Any]]:
    return list(rows.read("select action, actor, db_user, selection, message_ids, count from relay.action order by id"))


def test_an_act_bears_its_own_time_and_not_that_of_its_transaction(rows: Rows, login: Login) -> None:
    with login("operator") as connection, connection.transaction():
        began = connection.execute("select now(), pg_sleep(0.05)").fetchone()
        assert began is not None
        connection.execute("select relay.pause_scope('account:a', null, 'r')")
    assert rows.one("select at - cast(:began as timestamptz) >= interval '50 ms' from relay.action", began=began[0])


def test_scope_and_ids_cannot_be_left_out_or_made_up(rows: Rows, roles: Roles, login: Login) -> None:
    failed, pending = rows.add(2)
    rows.run(FAILED, ids=[failed])
    false = '{"scope":  "account:other", "given": 0, "given": 1, "until": "never", "changed": 1e131071}'
    with login("operator") as connection:
        connection.execute("select relay.retry(%s, 'r', 'ann', %s, null)", [[failed, pending, 99], false])
        connection.execute("select relay.discard(%s, 'r', 'ann', null)", [[failed]])
        connection.execute("select relay.pause_scope('account:a', '9000-01-01', 'r', 'ann', %s)", [false])
        connection.execute("select relay.resume_scope('account:a', 'r', 'ann', null)")
    # Letter for letter.
    assert rows.one("select cast(selection -> 'stated' as text) from relay.action where action = 'retry'") == false
    retried, discarded, paused, resumed = acts(rows)
    assert (retried.selection["given"], retried.selection["changed"]) == (3, 1)
    assert retried.selection["left_alone"] == [pending, 99]
    assert discarded.selection == {"given": 1, "changed": 1}
    assert (paused.selection["scope"], paused.selection["until"][:4]) == ("account:a", "9000")
    assert (resumed.selection["scope"], resumed.selection["by"]) == ("account:a", "ann")
    assert {act.db_user for act in acts(rows)} == {roles.login("operator")}


def test_a_prune_keeps_hashes_attempts_and_days(rows: Rows, engine: Engine) -> None:
    first, second, third = rows.add(3, content='{"n": 1}')
    rows.run(
        "insert into relay.attempt (message_id, call_id, result_index, outcome) select id, call, 0, outcome "
        "from (values (:first, 1, 'unknown'), (:first, 2, 'unknown'), (:second, 1, 'retry')) as a (id, call, outcome)",
        first=first,
        second=second,
    )
    rows.run(FAILED.replace("now()", "now() - interval '1 day'"), ids=[first, second, third])
    hashes = rows.one("select string_agg(content_sha256, '' order by id) from relay.outbox")
    books = rows.read("select cast(day as text), inserted, done, failed, unknown from relay.audit_daily")
    list(retention.prune(engine, timedelta(0), ORDER, batch=10))
    (act,) = [act for act in acts(rows) if act.selection["table"] == "outbox"]
    assert (act.message_ids, act.selection["attempts"]) == ([first, second, third], 3)
    assert act.selection["hashes_sha256"] == hashlib.sha256(bytes(hashes)).hexdigest()
    assert act.selection["zone"] == "Asia/Shanghai"
    told = act.selection["days"]
    assert [(day, *one.values()) for day, one in told.items()] == [tuple(row) for row in books]


def test_a_dropped_month_keeps_its_days(rows: Rows, engine: Engine) -> None:
    ids = rows.add(2)
    at = "timestamptz '2026-01-09 20:00+00'"
    rows.run("alter table relay.outbox disable trigger user")
    rows.run(f"update relay.outbox set created_at = {at} where id = :id", id=ids[0])
    rows.run("alter table relay.outbox enable trigger user")
    rows.run(FAILED.replace("now()", at), ids=ids)
    list(archive.archive(engine.begin, timedelta(0), actor="a", reason="r"))
    with engine.begin() as connection:
        archive.drop_month(connection, "2026-01", actor="ann", reason="asked")
    told = acts(rows)[-1].selection
    assert told["days"]["2026-01-10"] == {"inserted": 1, "done": 0, "failed": 1, "unknown": 0}
    assert (len(told["days"]), told["zone"]) == (2, "Asia/Shanghai")


def test_pauses_that_ended_or_were_replaced_are_kept(rows: Rows, roles: Roles, login: Login) -> None:
    me, other = roles.login("worker"), roles.login("operator")
    order = (
        "insert into relay.pause as p (scope, until, reason, error_code, credential, by) values "
        "('account:a', now() + %s, %s, %s, %s, 'w') on conflict (scope) do update set until = excluded.until, "
        "reason = excluded.reason, error_code = excluded.error_code, credential = excluded.credential"
    )
    with login("worker") as worker:
        worker.execute(order, [timedelta(minutes=1), "a ban", "7", None])
        worker.execute(order, [timedelta(minutes=2), "a ban", "7", None])  # goes on, and is still that one
        worker.execute(order, [None, "refused", "27", "c"])
        worker.execute("select relay.lift_pauses('{account:a}', '{c}')")
        worker.execute(order, [timedelta(seconds=1), "short", "7", None])
        rows.run("update relay.pause set until = now() - interval '1 s', since = since - interval '1 h'")
        worker.execute(order, [timedelta(minutes=1), "again", "7", None])
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            worker.execute("truncate relay.pause_past")
    with login("operator") as operator:
        operator.execute("select relay.resume_scope('account:a', 'over')")
    with login("auditor") as auditor:
        found = auditor.execute(
            "select reason, db_user, ended_by, ended, in_force from relay.audit_pause where reason <> 'short' or "
            "ended = 'by itself' order by ended_at"
        ).fetchall()
    assert set(found) == {
        ("a ban", me, me, "replaced", False),
        ("refused", me, me, "lifted", False),
        ("short", rows.one("select cast(current_user as text)"), me, "by itself", False),
        ("again", me, other, "lifted", False),
    }
    for statement in ("update relay.pause_past set reason = 'x'", "delete from relay.pause_past"):
        with pytest.raises(Exception, match=r"stays as it is|nothing is removed"):
            rows.run(statement)


def test_whoever_changes_a_mask_is_in_the_ledger(rows: Rows, roles: Roles, login: Login) -> None:
    with login("owner") as connection:
        connection.execute("insert into relay.mask values ('t', '/a'), ('t', '/b')")
        connection.execute("update relay.mask set pointer = '/c' where pointer = '/a'")
        connection.execute("delete from relay.mask where pointer = '/b'")
        connection.execute("truncate relay.mask")
    found = acts(rows)
    mask = {"topic": "t", "pointer": "/c"}
    assert {(act.action, act.actor, act.db_user) for act in found} == {("mask", *[roles.login("owner")] * 2)}
    assert [list(act.selection) for act in found] == [
        ["added"],
        ["added"],
        ["removed", "added"],
        ["removed"],
        ["removed"],
    ]
    assert (found[2].selection["added"], found[4].selection["removed"]) == (mask, [mask])


@pytest.mark.usefixtures("path_of_the_user")
def test_a_worker_tells_its_version_and_settings_and_no_secret(
    rows: Rows, roles: Roles, start_relay: StartRelay
) -> None:
    env = {
        "RELAY_DATABASE_URL": roles.url("worker"),
        "RELAY_METRICS_PORT": "0",
        "RELAY_TMC_APP_KEY": "12345678",
        "RELAY_TMC_APP_SECRET": "s3cr3t-a",
        "RELAY_TMC_URL": "https://u:s3cr3t-b@example.com/router/rest",
        "RELAY_ACCOUNTS_QUERY": "select 'k' as app_key, 's3cr3t-c' as app_secret where :account = ''",
        "RELAY_CONCURRENCY": "3",
    }
    worker = start_relay("run", "--drain", "--producer", "stdout", env=env)
    assert worker.wait() == 0, worker.stderr
    (start,) = acts(rows)
    settings = start.selection["settings"]
    assert (start.action, start.db_user) == ("start", roles.login("worker"))
    assert start.selection["version"]
    assert (settings["concurrency"], settings["producer"], settings["tmc_app_key"]) == (3, "stdout", "…5678")
    assert settings["secrets_given"] == ["database_url", "tmc_app_secret", "accounts_query"]
    assert "s3cr3t" not in str(start)
    assert settings["tmc_url"] == "https://example.com"


def test_a_worker_without_the_right_starts_all_the_same(rows: Rows, roles: Roles, start_relay: StartRelay) -> None:
    rows.run(f"revoke execute on function relay.record_start from {roles.names.worker}")
    rows.add()
    env = {"RELAY_DATABASE_URL": roles.url("worker"), "RELAY_METRICS_PORT": "0"}
    worker = start_relay("run", "--drain", "--producer", "stdout", env=env)
    assert worker.wait() == 0
    assert "the ledger does not have this start" in str(worker.stderr)
    assert rows.counts() == {"done": 1}


def test_no_words_of_a_caller_make_the_ledger_unreadable(rows: Rows, login: Login) -> None:
    long = json.dumps({"x": "x" * 200_000})
    with login("operator") as connection:
        pause = "select relay.pause_scope('account:a', null, %s, 'ann', %s)"
        for refused in ('{"x": "\\u0000"}', '{"x": "\\ud800"}'):
            with pytest.raises(psycopg.errors.DataError):
                connection.execute(pause, ["r", refused])
        with pytest.raises(psycopg.errors.ProgramLimitExceeded):
            connection.execute(pause, ["r" * 10_001, None])
        connection.execute(pause, ["r", long])
    (act,) = acts(rows)
    assert act.selection["stated"] == {"bytes": len(long), "sha256": hashlib.sha256(long.encode()).hexdigest()}


def test_what_a_worker_tells_of_its_start_is_bounded(login: Login) -> None:
    long = json.dumps({"x": "x" * 20_000})
    with login("worker") as connection, pytest.raises(psycopg.errors.ProgramLimitExceeded):
        connection.execute("select relay.record_start('w', '1', %s)", [long])


def test_an_act_committed_late_is_known_by_its_transaction(rows: Rows, engine: Engine) -> None:
    with engine.begin() as slow:
        slow.execute(text("select relay.pause_scope('account:a', null, 'r')"))
        snapshot = rows.one("select cast(pg_current_snapshot() as text)")
    seen = "select pg_visible_in_snapshot(created_xid, cast(:snapshot as pg_snapshot)) from relay.audit_action"
    assert rows.one(seen, snapshot=snapshot) is False
