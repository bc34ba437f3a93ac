"""``relay archive``, as a shell sees it."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Connection, Engine, text

from relay.cli.acting import summed
from relay.cli.verbs import relay
from relay.operators.archive import Moved
from tests.fixtures.roles import Roles

Relay = Callable[..., Result]
ROOT = Path(__file__).parents[2]
WHY = ("--reason", "the law allows it")
OLD = """
insert into relay.outbox (topic, content, dedupe_key, status, error_code, finished_at, created_at)
select 't', '{}', n, 'failed', 'isv.x', '2026-01-15 12:00+00', '2026-01-15 12:00+00' from generate_series(1, :count) n
"""


@pytest.fixture
def run(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Relay:
    """Run ``relay archive`` on the migrated database; it must end with ``code``."""
    monkeypatch.setenv("RELAY_DATABASE_URL", database_url)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, code: int = 0, verb: str = "archive") -> Result:
        result = CliRunner().invoke(relay, [verb, *arguments])
        assert result.exit_code == code, result.output
        return result

    return run


@pytest.fixture
def db(engine: Engine) -> Iterator[Connection]:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(OLD), {"count": 5})
        yield connection


def count(db: Connection, table: str) -> int:
    return int(db.execute(text(f"select count(*) from relay.{table}")).scalar_one())


def test_looking_first(run: Relay, db: Connection) -> None:
    db.execute(text("insert into relay.outbox (topic, content) values ('t', '{}')"))
    dry = json.loads(run("--older-than", "1d", "--dry-run", "--json").stdout)
    assert (dry["dry_run"], dry["messages"], dry["dedupe_keys"]) == (True, 5, 5)
    told = run("--older-than", "1d", "--dry-run")
    assert told.stdout.splitlines()[-1].split() == ["dedupe", "keys", "kept", "5"]
    assert told.stderr == "dry run: nothing was moved\n"
    assert count(db, "outbox") == 6


def test_moving(run: Relay, db: Connection) -> None:
    moved = json.loads(run("--older-than", "0s", "--batch", "2", "--json").stdout)
    assert moved == {"messages": 5, "attempts": 0, "calls": 0, "busy": False, "archiver": None}
    assert (count(db, "outbox"), count(db, "outbox_archive")) == (0, 5)
    reasons = db.execute(text("select reason, count from relay.action order by id"))
    assert [tuple(row) for row in reasons] == [("retention", number) for number in (2, 2, 1)]
    assert run("--older-than", "0s").stdout.split() == ["messages", "0", "attempts", "0", "calls", "0"]


def test_what_holds_a_key_stays_if_the_settings_say_so(
    run: Relay, db: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RELAY_ON_FAILED_HEAD", "hold")
    columns = "topic, content, ordering_key, status, error_code, finished_at"
    db.execute(text(f"insert into relay.outbox ({columns}) values ('t', '{{}}', 'k', 'failed', 'isv.x', now())"))
    assert json.loads(run("--older-than", "0s", "--dry-run", "--json").stdout)["messages"] == 5
    assert json.loads(run("--older-than", "0s", "--json").stdout)["messages"] == 5
    assert count(db, "outbox") == 1


def test_a_worker_may_move_and_not_drop(
    run: Relay, db: Connection, roles: Roles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RELAY_DATABASE_URL", roles.url("worker"))
    refused = run("--older-than", "23h", code=1).stderr
    assert refused.startswith("error: PostgreSQL refused: only the owner archives what finished less than a day ago")
    assert "relay archive --older-than 1d" in refused
    assert json.loads(run("--older-than", "1d", "--dry-run", "--json").stdout)["messages"] == 5
    assert json.loads(run("--older-than", "1d", "--json").stdout)["messages"] == 5
    for arguments in (["--list"], ["--drop", "2026-01", "--yes", *WHY]):
        assert run(*arguments, code=1).stderr.startswith("error: permission denied for table")
    assert count(db, "outbox_archive") == 5


def test_a_second_archiver_is_told(run: Relay, db: Connection, engine: Engine) -> None:
    with engine.begin() as first:
        first.execute(text("select * from relay.archive_messages(now(), 2, false, 'a', 'r', 0)"))
        said = run("--older-than", "0s").stderr
        pid = first.execute(text("select pg_backend_pid()")).scalar_one()
        assert said.startswith(f"another archiver is at work (process {pid}, role {engine.url.username}, application ")
        assert said.endswith(" s ago)): the rest is left to it\n")
        assert json.loads(run("--older-than", "0s", "--json").stdout)["busy"] is True


def test_months_are_listed(run: Relay, db: Connection) -> None:
    assert run("--list").stdout == ""
    run("--older-than", "0s")
    (month,) = json.loads(run("--list", "--json").stdout)["items"]
    assert (month["month"], month["messages"], month["first_id"], month["last_id"]) == ("2026-01", 5, "1", "5")
    heads, line = run("--list").stdout.splitlines()
    assert heads.startswith("month    messages  attempts  calls  first id  last id  bytes")
    assert line.endswith(month["hashes_sha256"])


def test_dropping_a_month(run: Relay, db: Connection) -> None:
    run("--older-than", "0s")
    dry = run("--drop", "2026-01", "--dry-run")
    assert (dry.stderr, count(db, "outbox_archive")) == ("dry run: nothing was dropped\n", 5)
    assert json.loads(run("--drop", "2026-01", "--dry-run", "--json").stdout)["dry_run"] is True
    assert "add --yes" in run("--drop", "2026-01", *WHY, code=2).stderr
    assert "--reason is missing" in run("--drop", "2026-01", "--yes", code=2).stderr
    assert count(db, "outbox_archive") == 5
    dropped = json.loads(run("--drop", "2026-01", "--yes", *WHY, "--actor", "ann", "--json").stdout)
    assert (dropped["messages"], count(db, "outbox_archive")) == (5, 0)
    entry = db.execute(text("select actor, reason, count from relay.action where action = 'drop'")).one()
    assert tuple(entry) == ("ann", WHY[1], 5)
    assert "There is nothing of 2026-01 in the archive" in run("--drop", "2026-01", "--yes", *WHY, code=1).stderr


def test_also_a_dry_run_says_that_an_older_month_comes_first(run: Relay, db: Connection) -> None:
    run("--older-than", "0s")
    db.execute(text("select relay.open_archive('2025-12-01')"))
    db.commit()
    for more in (["--dry-run"], ["--yes", *WHY]):
        assert "Drop 2025-12 first" in run("--drop", "2026-01", *more, code=1).stderr
    assert count(db, "outbox_archive") == 5


@pytest.mark.parametrize(("answer", "code", "left"), [("y\n", 0, 0), ("n\n", 1, 5)])
def test_on_a_terminal_a_person_is_asked(
    database_url: str, db: Connection, run: Relay, answer: str, code: int, left: int
) -> None:
    run("--older-than", "0s")
    ours, theirs = pty.openpty()
    os.write(ours, answer.encode())
    ended = subprocess.run(
        [sys.executable, "-m", "relay", "archive", "--drop", "2026-01", *WHY],
        env={**os.environ, "RELAY_DATABASE_URL": database_url, "PYTHONPATH": str(ROOT)},
        stdin=theirs,
        capture_output=True,
        text=True,
        timeout=60,
    )
    os.close(ours)
    os.close(theirs)
    assert "Drop 5 messages of 2026-01 for good? [y/N]:" in ended.stderr
    assert (ended.returncode, count(db, "outbox_archive")) == (code, left)


def test_who_reads_the_month_is_named_as_the_reason(run: Relay, db: Connection, engine: Engine) -> None:
    run("--older-than", "0s")
    with engine.begin() as auditor:
        auditor.execute(text("select * from relay.audit_message")).all()
        pid = auditor.scalar(text("select pg_backend_pid()"))
        refused = run("--drop", "2026-01", "--yes", *WHY, code=1)
    error, hint = refused.stderr.splitlines()
    assert f"error: process {pid}, role " in error
    assert error.endswith(" is using the relay's tables; nothing was changed")
    assert f"pg_terminate_backend({pid})" in hint
    assert count(db, "action") == 1
    assert count(db, "outbox_archive") == 5


def test_an_archived_message_is_shown_and_not_retried(run: Relay, db: Connection) -> None:
    assert json.loads(run("1", "--json", verb="show").stdout)["archived"] is False
    run("--older-than", "0s")
    assert json.loads(run("1", "--json", verb="show").stdout)["archived"] is True
    assert "content\n{}" in run("1", "--reveal", *WHY, verb="show").stdout
    assert "insert it as a new message" in run("1", *WHY, verb="retry", code=1).stderr
    assert run("1", *WHY, verb="redact").stdout == "1\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "say one of --older-than, --list, --drop"),
        (["--list", "--older-than", "1d"], "say one of --older-than, --list, --drop"),
        (["--drop", "January"], "'January' is no month; write 2026-01."),
        (["--older-than", "1y"], "'1y' is no duration"),
        (["--older-than", "1d", "--batch", "10001"], "is not in the range"),
    ],
    ids=str,
)
def test_usage(run: Relay, arguments: list[str], sentence: str) -> None:
    assert sentence in run(*arguments, code=2).stderr


def test_a_database_without_the_tables(run: Relay, empty_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELAY_DATABASE_URL", empty_url)
    for arguments in (["--older-than", "1d"], ["--list"], ["--drop", "2026-01", *WHY]):
        assert run(*arguments, code=78).stderr.splitlines()[-1] == "hint: Run: relay migrate"


def test_a_long_run_tells_how_far_it_is(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    seconds = iter([0.0, 1.0, 2.5, 2.5, 3.0, 5.0, 5.0])
    monkeypatch.setattr("time.monotonic", lambda: next(seconds))
    moved = summed([Moved(1000, 5)] * 3 + [Moved(calls=1)], Moved(), "archived")
    assert moved == Moved(3000, 15, 1)
    assert capsys.readouterr().err.splitlines() == [
        "archived 2,000 messages and 0 calls so far",
        "archived 3,000 messages and 1 call so far",
    ]
