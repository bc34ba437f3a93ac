"""With the logins of the relay's roles and no scruples: texts, attempts, ends and times that nobody would believe."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Engine

from tests.fixtures.hostility import takes_back
from tests.fixtures.roles import Roles
from tests.fixtures.rows import Rows

Session = psycopg.Connection[tuple[object, ...]]
ROOT = Path(__file__).parents[2]
LONG = "repeat('y', 20000)"
ATTEMPT = "insert into relay.attempt (message_id, call_id, result_index, outcome) values ({}, 'unknown')"
PAUSE = "insert into relay.pause (scope, reason, error_code, credential, by) values ('app:{}', {}, {}, {}, {})"
ARCHIVE = "select * from relay.archive_messages(now() - interval '2 days', 10, false, {}, {}, 0)"
CALLS = "select * from relay.archive_calls(now() - interval '2 days', 10, {}, {}, 0)"
TOO_LONG = {
    "what a pending message has": f"update relay.outbox set error_message = {LONG} where id = 2",
    "a code": f"update relay.outbox set error_code = {LONG} where id = 2",
    "what ends a message": f"update relay.outbox set status = 'failed', finished_at = now(), error_message = {LONG} "
    "where id = 2",
    "an attempt's text": "insert into relay.attempt (message_id, call_id, result_index, outcome, error_message) "
    f"values (2, 2, 0, 'retry', {LONG})",
    "an attempt's code": "insert into relay.attempt (message_id, call_id, result_index, outcome, error_code) "
    f"values (2, 2, 0, 'retry', {LONG})",
    "a worker's name": "insert into relay.call (account, worker, message_ids, lease_until) "
    f"values ('a', {LONG}, '{{2}}', now())",
    **{
        f"a call's {column}": f"update relay.call set {column} = {LONG} where id = 2"
        for column in ("request_id", "error_code", "sub_code", "error_message")
    },
    **{
        f"a pause's {name}": PAUSE.format(1, *[LONG if n == at else "'x'" for n in range(4)])
        for at, name in enumerate(("reason", "code", "credential", "by"))
    },
    "a scope": f"insert into relay.pause (scope, reason, by) values ('app:' || {LONG}, 'r', 'w')",
    "a pace": f"insert into relay.pace values ({LONG}, now())",
    "who archives": ARCHIVE.format(LONG, "'r'"),
    "why somebody archives": ARCHIVE.format("'w'", LONG),
    "who archives calls": CALLS.format(LONG, "'r'"),
    "why somebody archives calls": CALLS.format("'w'", LONG),
    "settings": f"select relay.record_start('w', '1', json_build_object('a', {LONG}))",
    "settings in short numbers": "select relay.record_start('w', '1', '{\"a\": 1e131071}')",
    "settings in many numbers": "select relay.record_start('w', '1', "
    "cast(concat('[1e99', repeat(',1E+99', 400), ']') as json))",
}
REFUSED = (
    psycopg.errors.RestrictViolation,
    psycopg.errors.ProgramLimitExceeded,
    psycopg.errors.CheckViolation,
    psycopg.errors.InvalidParameterValue,
)


@pytest.fixture
def rows(engine: Engine) -> Rows:
    """1 has failed long ago by call 1, which is settled; 2 is pending and in call 2, which is open; so is 3."""
    rows = Rows(engine)
    rows.add(3)
    rows.run("insert into relay.call (account, worker, message_ids, lease_until) values ('a', 'w', '{1}', now())")
    rows.run("update relay.call set outcome = 'ok', settled_at = now() - interval '9 days', request_id = 'genuine'")
    rows.run(
        "update relay.outbox set status = 'failed', error_code = 'relay.expired', attempts = 1, call_id = 1, "
        "result_index = 0, finished_at = now() - interval '9 days' where id = 1"
    )
    rows.run("insert into relay.call (account, worker, message_ids, lease_until) values ('a', 'w', '{2,3}', now())")
    return rows


def connected(roles: Roles, part: str) -> Iterator[Session]:
    with psycopg.connect(roles.url(part).replace("+psycopg", ""), autocommit=True) as connection:
        yield connection


@pytest.fixture
def worker(rows: Rows, roles: Roles) -> Iterator[Session]:
    yield from connected(roles, "worker")


@pytest.fixture
def operator(rows: Rows, roles: Roles) -> Iterator[Session]:
    yield from connected(roles, "operator")


def taken(session: Session, statement: str) -> bool:
    """Whether the database takes it; undone either way."""
    try:
        with session.transaction(force_rollback=True):
            session.execute(statement.encode())
    except REFUSED:
        return False
    return True


def test_no_text_of_a_login_is_larger_than_anybody_can_read(worker: Session, rows: Rows) -> None:
    for days in (0, 9):
        rows.run("select relay.open_archive(cast(now() - make_interval(days => :days) as date))", days=days)
    rows.run(
        "insert into relay.call (account, worker, message_ids, lease_until, settled_at, outcome) "
        "values ('a', 'w', '{99}', now(), now() - interval '9 days', 'ok')"
    )
    assert [name for name, statement in TOO_LONG.items() if taken(worker, statement)] == []


@takes_back("standard_conforming_strings")  # U&'' cannot do without
def test_what_the_relay_itself_may_write_is_taken_in_full_and_long_reasons_of_people_stay(
    worker: Session, rows: Rows
) -> None:
    """Its own limits are in characters, of at most four bytes."""
    rows.run("update relay.outbox set error_message = repeat('y', 10000) where id = 3")
    assert taken(worker, "update relay.outbox set attempts = attempts + 1, error_code = 'x' where id = 2")
    assert taken(
        worker,
        "update relay.outbox set status = 'done', attempts = 1, call_id = 2, result_index = 1, finished_at = now() "
        "where id = 3",
    )
    most, code = "repeat(U&'\\+01F600', 1000)", "repeat(U&'\\+01F600', 200)"
    for statement in (
        f"update relay.outbox set error_message = {most}, error_code = {code} where id = 2",
        f"update relay.call set request_id = {code}, sub_code = {code}, error_message = {most} where id = 2",
        PAUSE.format("漢" * 80, most, code, "'f'", "'w'"),
    ):
        assert taken(worker, statement), statement
    with worker.transaction():
        worker.execute("update relay.call set outcome = 'unknown', settled_at = now() where id = 2")
        attempt = "insert into relay.attempt (message_id, call_id, result_index, outcome, error_code, error_message) "
        assert taken(worker, f"{attempt} values (2, 2, 0, 'retry', {code}, {most})")


FOREIGN = {
    "a settled call": "1, 1, 0",
    "no call": "2, 99, 0",
    "a call of others": "1, 2, 0",
    "another index": "2, 2, 1",
    "before its first": "2, 2, -1",
    "behind its last": "2, 2, 9",
    "no message": "99, 2, 0",
}


def test_an_attempt_is_of_a_call_that_names_its_message_and_is_just_settled(worker: Session) -> None:
    assert [name for name, values in FOREIGN.items() if taken(worker, ATTEMPT.format(values))] == []
    # In advance it would be in the way of whoever settles the call, and of who recovers it, for ever.
    assert not taken(worker, ATTEMPT.format("3, 2, 1"))
    with worker.transaction(force_rollback=True):
        worker.execute("update relay.outbox set status = 'failed', attempts = 1, finished_at = now() where id = 3")
        assert taken(worker, ATTEMPT.format("3, 2, 1"))
    closed = "update relay.call set outcome = 'unknown', settled_at = now() where id = 2"
    with worker.transaction(force_rollback=True):
        worker.execute(closed)
        assert taken(worker, ATTEMPT.format("2, 2, 0"))
    ended_before = "insert into relay.call (account, worker, message_ids, lease_until) values ('a', 'w', '{1}', now())"
    worker.execute(ended_before)
    assert not taken(worker, ATTEMPT.format("1, 3, 0"))
    worker.execute(closed)
    assert not taken(worker, ATTEMPT.format("2, 2, 0"))


def test_a_message_that_is_done_by_a_call_of_others_shows(worker: Session, rows: Rows) -> None:
    worker.execute(
        "update relay.outbox set status = 'done', attempts = 1, call_id = 1, result_index = 0, finished_at = now() "
        "where id = 2"
    )
    shown = rows.read("select call_id, request_id from relay.audit_message where id = 2")
    assert [tuple(row) for row in shown] == [(1, None)]
    assert rows.one("select request_id from relay.audit_failure where id = 1") == "genuine"
    page = (ROOT / "docs" / "audit.md").read_text()
    (query,) = re.findall(r"```sql\n(select m\.id, m\.call_id.*?)```", page, re.DOTALL)
    assert [row.id for row in rows.read(query)] == [2]


def test_what_people_do_bears_the_time_at_which_they_do_it(operator: Session, rows: Rows) -> None:
    with operator.transaction():
        operator.execute("select now()")
        rows.run("insert into relay.outbox (topic, content) values ('t', '{}')")
        rows.run("update relay.outbox set status = 'failed', finished_at = clock_timestamp() where id = 3")
        operator.execute("select relay.discard('{4}', 'r'), relay.retry('{3}', 'r')")
        operator.execute("select relay.pause_scope('account:a', null, 'r')")
    late = "select id from relay.outbox where id in (3, 4) and coalesce(finished_at, available_at) < created_at"
    assert rows.read(late) == []
    assert rows.one("select latency_seconds from relay.audit_message where id = 4") >= 0
    made = rows.one("select created_at from relay.outbox where id = 4")
    assert rows.one("select since from relay.pause") > made


def test_a_workers_pause_bears_its_time_too(worker: Session, rows: Rows) -> None:
    with worker.transaction():
        begun = worker.execute("select now()").fetchone()
        worker.execute(PAUSE.format(1, "'r'", "'7'", "'f'", "'w'").encode())
    assert begun is not None
    assert rows.one("select since - :begun from relay.pause", begun=begun[0]) > timedelta(0)


def test_a_discard_keeps_why_the_message_had_failed(operator: Session, rows: Rows) -> None:
    operator.execute("select relay.discard('{1}', 'given up')")
    selection = rows.one("select cast(selection as text) from relay.audit_action where action = 'discard'")
    assert json.loads(selection)["was"] == {"relay.expired": [1]}


@pytest.mark.parametrize("scope", ["account:" + "x" * 600, "account:a\nb", "app:\u202e1"])
def test_a_scope_is_a_name(operator: Session, scope: str) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="a scope has at most 512 bytes"):
        operator.execute("select relay.pause_scope(%s, null, 'r')", (scope,))
