"""``relay retry``, ``discard``, ``pause``, ``resume``, ``redact`` and ``prune``, as a shell sees them."""

from __future__ import annotations

import json
import math
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Connection, Engine, text

from relay.cli.acting import summed
from relay.cli.verbs import relay
from relay.errors import RelayError
from relay.operators import actions
from relay.operators.ledger import Order
from relay.operators.retention import Pruned

Relay = Callable[..., Result]
ROOT = Path(__file__).parents[2]
WHY = ("--reason", "the platform was down")
FAILED = {"status": "'failed'", "finished_at": "now()", "error_code": "'isp.down'"}
DONE = {"status": "'done'", "finished_at": "now()", "call_id": "1", "result_index": "0"}
NAMED = [["retry", "1"], ["discard", "1"], ["redact", "1"], ["pause", "--account", "a"], ["resume", "--account", "a"]]


@pytest.fixture
def run(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Relay:
    """Run a verb on the migrated database; it must end with ``code``."""
    monkeypatch.setenv("RELAY_DATABASE_URL", database_url)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, code: int = 0) -> Result:
        result = CliRunner().invoke(relay, arguments)
        assert result.exit_code == code, result.output
        return result

    return run


@pytest.fixture
def db(engine: Engine) -> Iterator[Connection]:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        yield connection


def insert(db: Connection, **columns: str) -> int:
    values = {"topic": "'t'", "content": "'{}'"} | columns
    statement = f"insert into relay.outbox ({', '.join(values)}) values ({', '.join(values.values())}) returning id"
    return int(db.execute(text(statement)).scalar_one())


def one(db: Connection, query: str) -> Any:
    return db.execute(text(query)).scalar_one()


def statuses(db: Connection) -> list[str]:
    return list(db.execute(text("select status from relay.outbox order by id")).scalars())


def test_retry_by_id_prints_the_ids_and_the_ledger_row(run: Relay, db: Connection) -> None:
    for _ in range(2):
        insert(db, **FAILED)
    result = run("retry", "2", "1", *WHY, "--actor", "ann")
    assert result.stdout == "1\n2\n"
    assert result.stderr == "2 messages made pending again; row 1 of the ledger\n"
    assert statuses(db) == ["pending", "pending"]
    row = db.execute(text("select actor, reason, selection, message_ids from relay.action")).one()
    selection = {"given": 2, "changed": 2, "stated": {"ids": [2, 1]}}
    assert tuple(row) == ("ann", WHY[1], selection, [1, 2])


def test_an_unknown_id_is_told_the_others_are_changed_and_the_exit_code_is_1(run: Relay, db: Connection) -> None:
    insert(db, **FAILED)
    done = insert(db, **DONE)
    result = run("retry", "1", str(done), "99", *WHY, "--json", code=1)
    assert json.loads(result.stdout) == {
        "changed": ["1"],
        "skipped": [
            {"id": "2", "why": "it is done, and done is final; to send it once more, insert it as a new message"},
            {"id": "99", "why": "there is no such message"},
        ],
        "action": "1",
    }
    assert "message 99 is left alone: there is no such message" in result.stderr
    assert run("retry", "99", *WHY, code=1).stdout == ""
    assert one(db, "select count(*) from relay.action") == 1


def test_retry_by_error_asks_for_yes_where_there_is_no_terminal(run: Relay, db: Connection) -> None:
    for code in ("'isp.down'", "'isp.down'", "'isv.bad'"):
        insert(db, **FAILED | {"error_code": code})
    refused = run("retry", "--error", "isp.down", *WHY, code=2)
    assert "2 messages to retry: look with --dry-run, then add --yes" in refused.stderr
    assert statuses(db) == ["failed"] * 3
    assert run("retry", "--error", "isp.down", *WHY, "--yes", "--rate", "10").stdout == "1\n2\n"
    assert statuses(db) == ["pending", "pending", "failed"]
    selection = {"given": 2, "changed": 2, "per_second": 10, "stated": {"error_code": "isp.down", "rate": 10}}
    assert one(db, "select selection from relay.action") == selection
    apart = (
        "select extract(epoch from max(available_at) - min(available_at)) from relay.outbox where status = 'pending'"
    )
    assert float(one(db, apart)) == 0.1


def test_one_message_found_by_a_filter_needs_no_yes(run: Relay, db: Connection) -> None:
    insert(db, **FAILED)
    assert run("retry", "--status", "failed", *WHY).stdout == "1\n"


def test_a_filter_that_finds_nothing_is_no_failure(run: Relay, db: Connection) -> None:
    insert(db, **DONE)
    result = run("retry", "--topic", "t", *WHY, "--json")
    assert json.loads(result.stdout) == {"changed": [], "skipped": [], "action": None}
    assert "nothing was changed" in result.stderr


@pytest.mark.parametrize(("answer", "code", "after"), [("y\n", 0, "pending"), ("n\n", 1, "failed")])
def test_on_a_terminal_it_asks(database_url: str, db: Connection, answer: str, code: int, after: str) -> None:
    for _ in range(2):
        insert(db, **FAILED)
    ours, theirs = pty.openpty()
    os.write(ours, answer.encode())
    ended = subprocess.run(
        [sys.executable, "-m", "relay", "retry", "--status", "failed", *WHY],
        env={**os.environ, "RELAY_DATABASE_URL": database_url, "PYTHONPATH": str(ROOT)},
        stdin=theirs,
        capture_output=True,
        text=True,
        timeout=60,
    )
    os.close(ours)
    os.close(theirs)
    assert "Retry 2 messages? [y/N]:" in ended.stderr
    assert (ended.returncode, statuses(db)) == (code, [after, after])


def test_what_was_not_shown_is_not_changed(run: Relay, db: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the question and the answer another message may fail, one may be retried, and one may fail anew.

    Nor is what could not be retried when it was shown, though it could be now.
    """
    for _ in range(3):
        insert(db, **FAILED)
    insert(db, **FAILED | {"deliver_before": "now() - interval '1 s'"})

    def meanwhile(_verb: str, number: int, _thing: str) -> None:
        assert number == 3
        insert(db, **FAILED)
        db.execute(text("update relay.outbox set status = 'pending', finished_at = null where id in (1, 3)"))
        db.execute(text("update relay.outbox set status = 'failed', finished_at = now() where id = 3"))

    monkeypatch.setattr("relay.cli.operating.confirm", meanwhile)
    result = run("retry", "--status", "failed", *WHY, code=1)
    assert result.stdout == "2\n"
    assert result.stderr.splitlines() == [
        "1 message made pending again; row 1 of the ledger",
        "message 1 is left alone: it is pending already",
        "message 3 is left alone: it has changed since you looked",
        "message 4 is left alone: its deliver_before has passed, so it would not be sent",
    ]
    assert statuses(db) == ["pending", "pending", "failed", "failed", "failed"]
    selection = one(db, "select selection from relay.action")
    assert (selection["given"], selection["changed"], selection["left_alone"]) == (3, 1, [1, 3])
    assert selection["left_alone_why"] == {"it has changed since you looked": 1, "it is pending already": 1}


def test_who_comes_second_is_told_and_in_the_ledger(
    run: Relay, db: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        insert(db, **FAILED)
    discarding = "select relay.discard(array[1, 2], 'not any more')"
    monkeypatch.setattr("relay.cli.operating.confirm", lambda *_: db.execute(text(discarding)))
    result = run("retry", "--status", "failed", *WHY, "--json", code=1)
    why = "it has changed since you looked"
    assert json.loads(result.stdout) == {
        "changed": [],
        "skipped": [{"id": "1", "why": why}, {"id": "2", "why": why}],
        "action": "2",
    }
    assert result.stderr.splitlines()[0] == "0 messages made pending again; row 2 of the ledger"
    assert statuses(db) == ["failed", "failed"]


@pytest.mark.parametrize("verb", ["retry", "discard"])
def test_a_dry_run_tells_how_many_how_old_and_which_keys_and_writes_nothing(
    run: Relay, db: Connection, verb: str
) -> None:
    insert(db, **FAILED | {"created_at": "now() - interval '2 hours'"})
    insert(db, **FAILED | {"ordering_key": "'k'"})
    before = db.execute(text("select xmin::text from relay.outbox order by id")).all()
    result = run(verb, "--status", "failed", "--dry-run")
    assert [line.split()[-1] for line in result.stdout.splitlines()] == ["2", "2:00:00", "1"]
    assert result.stderr == "dry run: nothing was changed\n"
    found = json.loads(run(verb, "--status", "failed", "--dry-run", "--json").stdout)
    assert (found["count"], found["ordering_keys"], len(found["changing"])) == (2, 1, 2)
    assert found["oldest_seconds"] == pytest.approx(7200, abs=60)
    assert db.execute(text("select xmin::text from relay.outbox order by id")).all() == before
    assert one(db, "select count(*) from relay.action") == 0


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["retry", *WHY], "which messages?"),
        (["discard", *WHY], "which messages?"),
        (["retry", "--limit", "5", *WHY], "which messages?"),
        (["retry", "1", "--topic", "t", *WHY], "ids and filters exclude each other"),
        (["retry", "--status", "done", *WHY], "'done' is not one of 'failed', 'held'"),
        (["retry", "x", *WHY], "'x' is not a valid integer"),
        (["retry", "1", "--rate", "0", *WHY], "'0' is no rate"),
        (["redact", *WHY], "Missing argument"),
        (["pause", *WHY], "name either --account or --app"),
        (["pause", "--account", "a", "--app", "1", *WHY], "name either --account or --app"),
        (["resume", *WHY], "which pauses?"),
        (["resume", "--app", "1", "--error", "25", *WHY], "which pauses?"),
        (["resume", "--account", "", *WHY], "which pauses?"),
        (["prune"], "Missing option '--older-than'"),
        (["prune", "--older-than", "1d", "--batch", "10001"], "is not in the range"),
        *[(verb, "--reason is missing") for verb in NAMED],
        *[([*verb, "--reason", "  "], "--reason is missing") for verb in NAMED],
    ],
    ids=str,
)
def test_usage(run: Relay, db: Connection, arguments: list[str], problem: str) -> None:
    insert(db, **FAILED)
    result = run(*arguments, code=2)
    assert problem in result.stderr
    assert result.stdout == ""
    assert (statuses(db), one(db, "select count(*) from relay.action")) == (["failed"], 0)


def test_discard_by_filter_and_what_is_in_flight_stays(run: Relay, db: Connection) -> None:
    for _ in range(3):
        insert(db, account="'shop'")
    db.execute(
        text(
            "insert into relay.call (account, worker, message_ids, lease_until) "
            "values ('shop', 'w1', '{2}', now() + interval '1min')"
        )
    )
    result = run("discard", "--account", "shop", *WHY, "--yes", code=1)
    assert result.stdout == "1\n3\n"
    assert "message 2 is left alone: it is in flight: try again when call 1 is settled" in result.stderr
    assert statuses(db) == ["failed", "pending", "failed"]
    assert one(db, "select distinct error_message from relay.outbox where status = 'failed'") == WHY[1]


def test_who_it_was_is_known_without_being_told(run: Relay, db: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "ann")
    monkeypatch.setattr("socket.gethostname", lambda: "desk")
    run("pause", "--account", "a", *WHY)
    assert one(db, "select actor from relay.action where db_user = session_user") == "ann@desk"
    assert one(db, "select by from relay.pause") == "ann@desk"


def test_a_user_without_a_name_is_a_number(run: Relay, db: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.setattr("getpass.getuser", nobody)
    run("pause", "--account", "a", *WHY)
    assert one(db, "select actor from relay.action").startswith(f"uid {os.getuid()}@")


def test_pause_until_resumed_and_resume(run: Relay, db: Connection) -> None:
    insert(db, account="'shop'")
    assert run("pause", "--account", "shop", *WHY).stderr == (
        "account:shop is paused until resumed; row 1 of the ledger\n"
    )
    assert json.loads(run("status", "--json").stdout)["pauses"][0]["reason"] == WHY[1]
    again = run("pause", "--account", "shop", "--for", "30m", "--reason", "only for lunch", "--json")
    assert "in the place of a pause by" in again.stderr
    assert json.loads(again.stdout)["action"] == "2"
    assert one(db, "select until - now() between '29min' and '30min' from relay.pause") is True
    stated = one(db, "select selection -> 'stated' from relay.action where id = 2")
    assert stated == {"scope": "account:shop", "for": "1800s"}
    resumed = run("resume", "--account", "shop", *WHY, "--json")
    assert json.loads(resumed.stdout) == {"scope": "account:shop", "action": "3"}
    assert one(db, "select count(*) from relay.pause") == 0


def test_a_pause_of_an_account_that_nothing_knows_is_told_to_be_one(
    run: Relay, db: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert(db, account="'shop'", **FAILED)
    told = run("pause", "--account", "shpo", *WHY).stderr.splitlines()
    assert told[0] == "account:shpo is paused until resumed; row 1 of the ledger"
    assert told[1].startswith(
        "warning: no pending message has the account shpo, and no credential for it is known here"
    )
    assert one(db, "select count(*) from relay.pause") == 1
    (tmp_path / "relay.toml").write_text('[accounts.shpo]\napp_key = "1"\napp_secret = "s"\n')
    (tmp_path / "relay.toml").chmod(0o600)
    assert "warning" not in run("pause", "--account", "shpo", *WHY).stderr


def test_resume_of_what_is_not_paused_says_so(run: Relay, db: Connection) -> None:
    for more in ([], ["--dry-run"]):
        result = run("resume", "--app", "12345", *WHY, *more, code=1)
        assert result.stderr.splitlines()[0] == "error: app:12345 is not paused."
    assert one(db, "select count(*) from relay.action") == 0


def test_pause_and_resume_dry(run: Relay, db: Connection) -> None:
    assert "account:a would be paused until resumed" in run("pause", "--account", "a", "--dry-run").stderr
    assert one(db, "select count(*) from relay.pause") == 0
    run("pause", "--account", "a", *WHY)
    assert f"this pause would end: {WHY[1]}" in run("resume", "--account", "a", "--dry-run").stderr
    assert (one(db, "select count(*) from relay.pause"), one(db, "select count(*) from relay.action")) == (1, 1)


def test_resume_ends_the_pauses_that_were_found_and_no_newer_one(
    run: Relay, db: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    for scope in ("account:a", "account:b"):
        run("pause", f"--{scope.partition(':')[0]}", scope.partition(":")[2], *WHY)
    db.execute(text("update relay.pause set error_code = '25'"))
    another = "select relay.pause_scope('account:b', null, 'mine')"
    monkeypatch.setattr("relay.cli.pausing.confirm", lambda *_: db.execute(text(another)))
    result = run("resume", "--error", "25", *WHY, code=1)
    assert result.stdout == "account:a\n"
    assert result.stderr.splitlines()[1:] == ["account:b is left alone: it has changed since you looked"]
    assert one(db, "select array(select reason from relay.pause)") == ["mine"]


def test_resume_of_many(run: Relay, db: Connection) -> None:
    paused = [("account:a", "none"), ("account:b", "none"), ("account:c\u202e", "none"), ("app:1", "25")]
    for scope, code in paused:
        db.execute(
            text(f"insert into relay.pause (scope, reason, by, error_code) values (:scope, 'r', 'w', '{code}')"),
            {"scope": scope},
        )
    dry = run("resume", "--error", "none", "--dry-run")
    assert dry.stdout == "account:a\naccount:b\naccount:c\\u202e\n"
    assert dry.stderr == "dry run: 3 pauses would end; nothing was changed\n"
    assert (
        "3 pauses to resume: look with --dry-run, then add --yes"
        in run("resume", "--error", "none", *WHY, code=2).stderr
    )
    assert one(db, "select count(*) from relay.pause") == 4
    some = run("resume", "--account", "b", "--app", "1", "--app", "2", *WHY, "--json", code=1)
    assert some.stderr == "2 pauses ended; rows 1 to 2 of the ledger\napp:2 is not paused\n"
    assert json.loads(some.stdout) == {
        "dry_run": False,
        "count": 2,
        "resumed": [
            {"scope": scope, "reason": "r", "action": id_} for scope, id_ in (("account:b", "1"), ("app:1", "2"))
        ],
        "not_paused": ["app:2"],
    }
    rest = run("resume", "--error", "none", "--yes", *WHY)
    assert (rest.stdout, rest.stderr) == (
        "account:a\naccount:c\\u202e\n",
        "2 pauses ended; rows 3 to 4 of the ledger\n",
    )
    ledger = db.execute(
        text("select selection->>'scope', reason, selection->'stated' from relay.action order by id")
    ).all()
    named = {"scopes": ["account:b", "app:1", "app:2"]}
    assert [tuple(row) for row in ledger] == [
        ("account:b", WHY[1], named),
        ("app:1", WHY[1], named),
        ("account:a", WHY[1], {"error": "none"}),
        ("account:c\u202e", WHY[1], {"error": "none"}),
    ]
    assert one(db, "select count(*) from relay.pause") == 0
    assert run("resume", "--error", "none", *WHY).stderr == "no pause fits: nothing was changed\n"


def test_redact_and_what_show_tells_then(run: Relay, db: Connection) -> None:
    insert(db, **DONE | {"content": '\'{"buyer": "ann"}\''})
    insert(db)
    before = json.loads(run("show", "1", "--json").stdout)["content_sha256"]
    assert run("redact", "1", "--dry-run").stdout.split()[:2] == ["messages", "1"]
    assert run("redact", "1", *WHY).stdout == "1\n"
    assert one(db, "select content::text from relay.outbox where id = 1") == '{"redacted": true}'
    assert one(db, "select selection -> 'salted_sha256' -> '1' ->> 'content' from relay.action") == before
    refused = run("redact", "1", "2", *WHY, code=1)
    assert "message 1 is left alone: its content was removed already" in refused.stderr
    assert "message 2 is left alone: it is pending and would be sent without its content" in refused.stderr


def test_prune(run: Relay, db: Connection) -> None:
    age = "now() - interval '200 days'"
    for _ in range(5):
        insert(db, **DONE | {"created_at": age, "finished_at": age})
    insert(db)
    dry = json.loads(run("prune", "--older-than", "180d", "--dry-run", "--json").stdout)
    assert (dry["messages"], dry["oldest_seconds"]) == (5, pytest.approx(200 * 86_400, abs=60))
    assert "dry run: nothing was deleted" in run("prune", "--older-than", "180d", "--dry-run").stderr
    assert len(statuses(db)) == 6
    gone = run("prune", "--older-than", "180d", "--batch", "2", "--json")
    assert json.loads(gone.stdout) == {"messages": 5, "attempts": 0, "calls": 0}
    assert statuses(db) == ["pending"]
    rows = db.execute(text("select reason, count, selection ->> 'older_than' from relay.action order by id"))
    assert [tuple(row) for row in rows] == [("retention", count, "15552000s") for count in (2, 2, 1)]


def test_a_long_prune_tells_how_far_it_is(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    seconds = iter([0.0, 1.0, 2.5, 2.5, 3.0, 5.0, 5.0])
    monkeypatch.setattr("time.monotonic", lambda: next(seconds))
    gone = summed([Pruned(1000, 5)] * 3 + [Pruned(calls=1)], Pruned(), "deleted")
    assert gone == Pruned(3000, 15, 1)
    assert capsys.readouterr().err.splitlines() == [
        "deleted 2,000 messages and 0 calls so far",
        "deleted 3,000 messages and 1 call so far",
    ]


@pytest.mark.parametrize("verb", [*NAMED, ["prune", "--older-than", "1d"]], ids=str)
def test_a_database_without_the_tables(
    run: Relay, empty_url: str, monkeypatch: pytest.MonkeyPatch, verb: list[str]
) -> None:
    monkeypatch.setenv("RELAY_DATABASE_URL", empty_url)
    assert run(*verb, *WHY, code=78).stderr.splitlines()[-1] == "hint: Run: relay migrate"


def test_who_may_read_tables_and_call_nothing_is_told(
    run: Relay, db: Connection, superuser: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert(db, **FAILED)
    reader = f"relay_test_{os.urandom(4).hex()}"
    db.execute(text(f"create role {reader}; grant {reader} to current_user"))
    db.execute(text(f"grant usage on schema relay to {reader}"))
    db.execute(text(f"grant select on all tables in schema relay to {reader}"))
    monkeypatch.setenv("PGOPTIONS", f"-c role={reader}")
    try:
        for arguments in (["retry", "1", "--dry-run"], ["discard", "--status", "failed", *WHY], ["redact", "1", *WHY]):
            first, hint = run(*arguments, code=1).stderr.splitlines()
            assert first.startswith("error: permission denied for function ")
            assert hint.startswith("hint: relay roles tells who may")
        assert statuses(db) == ["failed"]
    finally:
        monkeypatch.delenv("PGOPTIONS")
        with superuser.begin() as connection:
            connection.execute(text(f"drop owned by {reader}; drop role {reader}"))


@pytest.mark.parametrize("scope", [("--account", "a\tb"), ("--account", " "), ("--app", "12\n3"), ("--app", " 1")])
def test_what_no_message_can_have_is_not_paused(run: Relay, db: Connection, scope: tuple[str, str]) -> None:
    assert run("pause", *scope, *WHY, code=1).stderr.startswith("error: ")
    assert one(db, "select count(*) from relay.pause") == 0


@pytest.mark.parametrize("rate", ["nan", "inf", "0", "-1", "x"])
def test_a_rate_is_a_number(run: Relay, db: Connection, rate: str) -> None:
    insert(db, **FAILED)
    refused = run("retry", "--status", "failed", "--rate", rate, "--yes", *WHY, code=2)
    assert f"'{rate}' is no rate; write a number from 0.001 to 1000000." in refused.stderr
    with pytest.raises(RelayError, match="no rate"):
        actions.retry(db, [1], Order("a", "r", {}), per_second=math.nan)
