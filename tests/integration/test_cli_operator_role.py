"""A login that is a member of relay_operator, and of nothing else, has all of retry, discard, pause and resume."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine

import relay as package
from relay.cli.verbs import relay
from tests.fixtures.database import Server
from tests.fixtures.processes import StartRelay
from tests.fixtures.roles import Roles
from tests.fixtures.rows import Rows

Run = Callable[..., Result]
WHY = ("--reason", "the platform was down", "--actor", "ann")
SECRET = "张三 13800138000"
BY_FILTER = ("--status", "failed", "--error", "isp.down", "--topic", "t", "--account", "default", "--since", "1h")
LEDGER = "select action, actor, db_user, reason, selection, message_ids, count from relay.action order by id"


@pytest.fixture
def rows(engine: Engine) -> Rows:
    return Rows(engine)


@pytest.fixture
def run(roles: Roles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a verb as a login of this part; it must end with ``code``."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, part: str = "operator", code: int = 0, schema: str = "relay") -> Result:
        env = {"RELAY_DATABASE_URL": roles.url(part), "RELAY_SCHEMA": schema}
        result = CliRunner().invoke(relay, arguments, env=env)
        assert result.exit_code == code, result.output
        return result

    return run


def fail(rows: Rows, ids: list[int], code: str = "isp.down") -> None:
    rows.run(
        "update relay.outbox set status = 'failed', finished_at = now(), error_code = :code, error_message = :words "
        "where id = any (:ids)",
        ids=ids, code=code, words=SECRET,
    )  # fmt: skip


def ledger(rows: Rows) -> list[tuple[object, ...]]:
    return [tuple(row) for row in rows.read(LEDGER)]


@pytest.mark.parametrize("part", ["operator", "owner"])
def test_retry_by_filter_looked_at_first_and_spread_over_time(run: Run, rows: Rows, roles: Roles, part: str) -> None:
    down, other = rows.add(3), rows.add()
    fail(rows, down)
    fail(rows, other, "isv.x")
    dry = json.loads(run("retry", *BY_FILTER, "--dry-run", "--json", part=part).stdout)
    assert (dry["changing"], dry["skipped"]) == ([str(id_) for id_ in down], [])
    assert (rows.counts(), ledger(rows)) == ({"failed": 4}, [])
    done = run("retry", *BY_FILTER, "--yes", "--rate", "2", *WHY, part=part)
    assert done.stdout.split() == [str(id_) for id_ in down]
    assert done.stderr == "3 messages made pending again; row 1 of the ledger\n"
    apart = (
        "select extract(epoch from max(available_at) - min(available_at)) from relay.outbox where status = 'pending'"
    )
    assert (rows.counts(), float(rows.one(apart))) == ({"pending": 3, "failed": 1}, 1.0)
    stated = {
        "status": "failed", "error_code": "isp.down", "topic": "t", "account": "default", "since": "3600s", "rate": 2,
    }  # fmt: skip
    selection = {"given": 3, "changed": 3, "per_second": 2, "stated": stated}
    assert ledger(rows) == [("retry", "ann", roles.login(part), WHY[1], selection, down, 3)]


def test_what_is_left_alone_is_told_in_the_same_words_to_operator_and_owner(run: Run, rows: Rows) -> None:
    failed, waiting, sent, gone, late = rows.add(5)
    fail(rows, [failed, gone, late])
    rows.run("update relay.outbox set deliver_before = now() where id = :id", id=late)
    rows.run(
        "insert into relay.call (account, worker, message_ids, lease_until) values ('a', 'w', :ids, now())", ids=[sent]
    )
    run("redact", str(gone), *WHY, part="owner")
    ids = [str(id_) for id_ in (failed, waiting, sent, gone, late, 99)]
    for verb in ("retry", "discard"):
        told = [run(verb, *ids, "--dry-run", "--json", part=part, code=1) for part in ("operator", "owner")]
        assert told[0].stderr == told[1].stderr
    reasons = {
        one["id"]: one["why"] for one in json.loads(run("retry", *ids, *WHY, "--json", code=1).stdout)["skipped"]
    }
    assert reasons == {
        str(waiting): "it is pending already",
        str(sent): "it is in flight, in call 1",
        str(gone): "its content was removed, so there is nothing to send",
        str(late): "its deliver_before has passed, so it would not be sent",
        "99": "there is no such message",
    }
    assert [entry[0] for entry in ledger(rows)] == ["redact", "retry"]


@pytest.mark.parametrize("part", ["operator", "owner"])
def test_discard_by_id_and_by_filter(run: Run, rows: Rows, roles: Roles, part: str) -> None:
    first, second, third = rows.add(3, key="k")
    assert run("discard", str(first), "--dry-run", part=part).stdout.split()[:2] == ["messages", "1"]
    assert run("discard", str(first), *WHY, part=part).stdout == f"{first}\n"
    assert run("discard", "--key", "k", "--limit", "1", *WHY, part=part).stdout == f"{second}\n"
    assert (rows.counts(), rows.message(second).error_message) == ({"failed": 2, "pending": 1}, WHY[1])
    me = roles.login(part)
    facts = {"given": 1, "changed": 1}
    assert ledger(rows) == [
        ("discard", "ann", me, WHY[1], {**facts, "stated": {"ids": [first]}}, [first], 1),
        ("discard", "ann", me, WHY[1], {**facts, "stated": {"ordering_key": "k", "limit": 1}}, [second], 1),
    ]
    assert third == max(first, second, third)


@pytest.mark.parametrize("part", ["operator", "owner"])
def test_pause_and_resume(run: Run, rows: Rows, roles: Roles, part: str) -> None:
    rows.run("insert into relay.pause (scope, reason, error_code, by) values ('app:1', 'refused', '27', 'w')")
    assert (
        "app:1 would be paused for 0:30:00" in run("pause", "--app", "1", "--for", "30m", "--dry-run", part=part).stderr
    )
    assert rows.one("select by from relay.pause") == "w"
    paused = run("pause", "--app", "1", "--for", "30m", *WHY, "--json", part=part)
    assert paused.stderr == "in the place of a pause by w: refused\n"
    assert json.loads(paused.stdout)["action"] == "1"
    (pause,) = rows.read("select until - now() between '29min' and '30min' as so_long, by, error_code from relay.pause")
    assert tuple(pause) == (True, "ann", None)
    assert f"this pause would end: {WHY[1]}" in run("resume", "--app", "1", "--dry-run", part=part).stderr
    assert run("resume", "--app", "1", *WHY, part=part).stderr == "app:1 is resumed; row 2 of the ledger\n"
    assert run("resume", "--app", "1", *WHY, part=part, code=1).stderr.startswith("error: app:1 is not paused.\n")
    me = roles.login(part)
    stated = rows.read("select action, actor, db_user, reason, selection -> 'stated' from relay.action order by id")
    assert [tuple(row) for row in stated] == [
        ("pause", "ann", me, WHY[1], {"scope": "app:1", "for": "1800s"}),
        ("resume", "ann", me, WHY[1], {"scope": "app:1"}),
    ]


def test_as_a_process(rows: Rows, roles: Roles, start_relay: StartRelay) -> None:
    ids = rows.add(2)
    fail(rows, ids)
    env = {"RELAY_DATABASE_URL": roles.url("operator")}
    ended = start_relay("retry", "--status", "failed", "--error", "isp.down", "--yes", "--reason", "again", env=env)
    assert ended.wait() == 0, ended.stderr
    assert ended.stdout == [str(id_) for id_ in ids]
    assert rows.counts() == {"pending": 2}


@pytest.mark.parametrize("verb", [["redact", "1"], ["prune", "--older-than", "1d"], ["archive", "--older-than", "1d"]])
def test_the_owners_verbs_end_in_a_sentence(run: Run, rows: Rows, verb: list[str]) -> None:
    fail(rows, rows.add())
    first, hint = run(*verb, *WHY, code=1).stderr.splitlines()
    assert first.startswith("error: permission denied for ")
    assert hint.startswith("hint: relay roles tells who may: make ")
    assert (rows.counts(), ledger(rows)) == ({"failed": 1}, [])


@pytest.mark.parametrize("verb", [["retry", "1"], ["discard", "--topic", "t"], ["pause", "--account", "a"]])
@pytest.mark.parametrize("part", ["auditor", "worker"])
def test_nobody_else_has_these_verbs(run: Run, rows: Rows, part: str, verb: list[str]) -> None:
    fail(rows, rows.add())
    first, hint = run(*verb, *WHY, part=part, code=1).stderr.splitlines()
    assert first.startswith("error: permission denied for ")
    assert hint.startswith("hint: relay roles tells who may: make ")
    assert (rows.counts(), ledger(rows)) == ({"failed": 1}, [])


def test_what_an_operator_may_not_read_is_in_no_answer(rows: Rows, roles: Roles) -> None:
    ids = rows.add(2, content=json.dumps({"buyer": SECRET}))
    fail(rows, ids)
    with psycopg.connect(roles.url("operator").replace("+psycopg", ""), autocommit=True) as connection:
        told = [
            connection.execute(statement.encode(), [ids]).fetchall()
            for statement in (
                "select relay.find('retry') = any(%s)",
                "select * from relay.why_not('retry', %s)",
                "select * from relay.retry(%s, 'r', 'ann', null, null)",
                "select * from relay.discard(%s, 'r', 'ann', null)",
            )
        ]
        assert all(told)
        assert SECRET not in str(told)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("update relay.outbox set status = 'pending', finished_at = null")
        with pytest.raises(psycopg.errors.InvalidParameterValue, match="more than 0"):
            connection.execute("select relay.retry('{1}', 'r', 'ann', null, -1)")


def test_tables_that_are_too_old_are_told_without_reading_the_revision(run: Run, rows: Rows) -> None:
    rows.run("drop function relay.why_not(text, bigint[])")
    result = run("retry", "1", *WHY, code=78)
    assert result.stderr.splitlines()[-1] == "hint: Run: relay migrate"


def test_under_another_schema(
    postgres: Server, empty_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    schema = 'my "relay'
    package.migrate(empty_url, schema=schema)
    made = Roles(postgres, empty_url, schema)
    try:
        made.make()
        with psycopg.connect(made.url("app").replace("+psycopg", ""), autocommit=True) as connection:
            package.add(connection, "t", {}, schema=schema, allow_autocommit=True)
        env = {"RELAY_DATABASE_URL": made.url("operator"), "RELAY_SCHEMA": schema}
        for arguments, stdout in (
            (["discard", "--topic", "t"], "1\n"),
            (["retry", "1"], "1\n"),
            (["pause", "--account", "a"], ""),
            (["resume", "--account", "a"], ""),
        ):
            result = CliRunner().invoke(relay, [*arguments, *WHY], env=env)
            assert (result.exit_code, result.stdout) == (0, stdout), result.output
    finally:
        made.drop()
