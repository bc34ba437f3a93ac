"""A period exported twice and compared: what somebody changed in between is found, what may differ is explained."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Connection, Engine, text

from relay.cli.verbs import relay
from relay.message import ACCEPTED, Answered, Fault
from relay.message import Result as Indexed
from relay.operators import actions, retention
from relay.operators import archive as archiving
from relay.operators.ledger import Order
from relay.outcomes import Policy, decide
from relay.store import ClaimLimits, Store
from tests.fixtures.roles import Roles
from tests.fixtures.rows import Rows

Run = Callable[..., Result]
WHY = Order("ann", "why", {})
REFUSED = Indexed(Fault.MESSAGE, "isv.bad", "no")
DONE, FAILED, PENDING = 1, 2, 3  # ids of messages; the first two were in call 1


@pytest.fixture
def run(database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run ``relay export``; it must succeed unless ``code`` says otherwise."""
    monkeypatch.setenv("RELAY_DATABASE_URL", database_url)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object, code: int = 0) -> Result:
        result = CliRunner().invoke(relay, ["export", *map(str, arguments)])
        assert result.exit_code == code, result.output
        return result

    return run


@pytest.fixture
def table(engine: Engine, superuser: Engine) -> Rows:
    """A message that was accepted, one that failed, one that waits, and an act; all of them some days ago."""
    table = Rows(engine)
    table.add(2, content='{"tid": 1}')
    produce(engine, ACCEPTED, REFUSED)
    table.add(due_in_seconds=900, content='{"tid": 2}')
    act(engine, lambda connection: actions.pause(connection, "account:a", WHY))
    as_superuser(
        superuser,
        "update relay.outbox set created_at = created_at - interval '9 days', "
        "finished_at = finished_at - interval '9 days'",
        "update relay.call set claimed_at = claimed_at - interval '9 days', "
        "settled_at = settled_at - interval '9 days'",
        "update relay.attempt set at = at - interval '9 days'",
        "update relay.action set at = at - interval '9 days'",
    )
    return table


def produce(engine: Engine, *results: Indexed) -> None:
    store = Store(engine, worker="w", lease_seconds=60)
    (batch,) = store.claim(ClaimLimits(slots=1)).batches
    store.settle([decide(batch, Answered(results, "r-1", 200), Policy(), random.Random(1))], {})


def act(engine: Engine, order: Callable[[Connection], object]) -> None:
    with engine.begin() as connection:
        order(connection)


def as_superuser(superuser: Engine, *statements: str) -> None:
    """As somebody who may do anything, and leaves no trace in the ledger."""
    with superuser.begin() as connection:
        connection.execute(text("set local session_replication_role = 'replica'"))
        for statement in statements:
            connection.execute(text(statement))


TAMPERED = {
    "an error text": (
        ["update relay.outbox set error_message = 'it was them' where id = 2"],
        ["audit_message 2: changed error_message"],
    ),
    "a time": (
        ["update relay.outbox set finished_at = finished_at - interval '1 hour' where id = 1"],
        ["audit_message 1: changed finished_at, latency_seconds", "audit_delivery 1 0: changed at"],
    ),
    "a message less": (
        ["delete from relay.outbox where id = 1"],
        ["audit_message 1: missing", "audit_delivery 1 0: missing"],
    ),
    "a call less": (
        ["delete from relay.call"],
        [
            "audit_message 1: changed request_id",
            "audit_message 2: changed request_id",
            "audit_delivery 1 0: missing",
            "audit_delivery 1 1: missing",
            "audit_call 1: missing",
        ],
    ),
    "a message more": (
        [
            "insert into relay.outbox (topic, content, created_at, content_sha256) "
            "values ('t', '{}', now() - interval '5 days', decode('00', 'hex'))"
        ],
        ["audit_message 4: added"],
    ),
    "the ledger": (
        ["update relay.action set actor = 'bob', reason = 'because'"],
        ["audit_action 1: changed actor, reason"],
    ),
    "an act less": (["delete from relay.action"], ["audit_action 1: missing"]),
    "a message that failed": (
        ["update relay.outbox set status = 'done', error_code = null, error_message = null where id = 2"],
        ["audit_message 2: changed status, error_code, error_message", "audit_delivery 1 1: added"],
    ),
    "the end of a message that waits": (
        ["update relay.outbox set status = 'failed', finished_at = now() - interval '3 days' where id = 3"],
        ["audit_message 3: changed status, finished_at, latency_seconds"],
    ),
    "a content, its hash left": (
        ["update relay.outbox set content = '{\"tid\"\\: 9}' where id = 1"],
        ["audit_message 1: changed content"],
    ),
    "a message twice": (
        ["create table relay.outbox_archive_evil partition of relay.outbox_archive default",
         "insert into relay.outbox_archive select * from relay.outbox where id = 1"],
        ["audit_message 1: added"],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("how", "form"), [*((how, "jsonl") for how in TAMPERED), ("a time", "csv")])
def test_what_a_superuser_changed_is_found(run: Run, table: Rows, superuser: Engine, how: str, form: str) -> None:
    statements, found = TAMPERED[how]
    run("older", "--until", "24h", "--format", form)
    as_superuser(superuser, *statements)
    run("newer", "--format", form)
    told = run("--compare", "older", "newer", code=3)
    assert told.stdout.splitlines()[: len(found)] == found
    assert json.loads(run("--compare", "older", "newer", "--json", code=3).stdout)["same"] is False
    assert "it was them" not in told.output, "columns are told, not contents"


def test_what_went_its_way_is_explained(
    run: Run, table: Rows, engine: Engine, roles: Roles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was pending is sent, what had failed is retried or closed; others are redacted or archived."""
    retried, discarded = table.add(2)
    produce(engine, REFUSED, REFUSED)
    monkeypatch.setenv("RELAY_DATABASE_URL", roles.url("auditor"))
    for form in ("jsonl", "csv"):
        run(f"older.{form}", "--format", form)
    act(engine, lambda connection: actions.retry(connection, [retried], WHY))
    produce(engine, ACCEPTED)
    act(engine, lambda connection: actions.discard(connection, [discarded, PENDING], WHY))
    act(engine, lambda connection: actions.redact(connection, [DONE, FAILED], WHY))
    list(archiving.archive(engine.begin, timedelta(days=8), actor="ann", reason="old"))
    table.add(2)
    for form in ("jsonl", "csv"):
        run(f"newer.{form}", "--format", form)
        told = run("--compare", f"older.{form}", f"newer.{form}", "--explained")
        assert [line.split(":")[0] + line[line.index(" (") :] for line in told.stdout.splitlines()] == [
            f"audit_message {DONE} (redact, act 4 of the ledger)",
            f"audit_message {FAILED} (redact, act 4 of the ledger)",
            f"audit_message {PENDING} (it had not ended)",
            f"audit_message {retried} (retry, act 2 of the ledger)",
            f"audit_message {discarded} (discard, act 3 of the ledger)",
        ]
    assert run("--compare", "older.csv", "newer.csv").stdout == ""
    assert json.loads(run("--compare", "older.csv", "newer.csv", "--json").stdout)["unexplained"] == 0


def test_what_was_removed_by_a_prune_or_a_drop_is_explained(run: Run, table: Rows, engine: Engine) -> None:
    month = table.one("select to_char((now() - interval '9 days') at time zone 'UTC', 'YYYY-MM')")
    run("older")
    list(retention.prune(engine, timedelta(days=8), WHY, batch=10))
    run("newer")
    gone = ["audit_message 1", "audit_message 2", "audit_delivery 1 0", "audit_delivery 1 1", "audit_call 1"]
    told = run("--compare", "older", "newer", "--explained").stdout.splitlines()
    assert [line.split(":")[0] for line in told] == gone
    assert "audit_call 1: missing (prune, act 3 of the ledger)" in told
    assert month


def test_an_act_explains_only_what_it_names(run: Run, table: Rows, engine: Engine, superuser: Engine) -> None:
    """A retry of one message, a redaction of another: whoever changes more than that is found."""
    run("older")
    act(engine, lambda connection: actions.redact(connection, [FAILED], WHY))
    act(engine, lambda connection: actions.retry(connection, [PENDING, FAILED], WHY))
    as_superuser(
        superuser,
        "update relay.outbox set content = cast('{\"redacted\"\\: true}' as json) where id = 1",
        "update relay.outbox set content_sha256 = '\\x01' where id = 2",
        "update relay.outbox set status = 'failed' where id = 1",
    )
    run("newer")
    assert run("--compare", "older", "newer", code=3).stdout.splitlines()[:2] == [
        "audit_message 1: changed status, content, content_characters",
        "audit_message 2: changed content_sha256",
    ]


def test_what_an_export_could_not_see_yet_is_no_forgery(run: Run, table: Rows, engine: Engine) -> None:
    with engine.begin() as slow:
        slow.execute(text("insert into relay.outbox (topic, content) values ('late', '{}')"))
        table.add()
        run("older")
    run("newer")
    told = run("--compare", "older", "newer", "--explained").stdout
    assert told == "audit_message 4: added (its transaction was not committed yet)\n"


def test_only_what_both_periods_have_is_compared(run: Run, table: Rows) -> None:
    run("older", "--since", "10d", "--until", "24h")
    run("newer", "--since", "24h")
    assert "No time is in both" in run("--compare", "older", "newer", code=1).stderr
    table.add()
    run("later", "--since", "9d", "--until", "1h")
    told = run("--compare", "older", "later")
    assert told.stdout == ""
    assert "knows no act after" in told.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--compare", "newer", "older"], 1, "Name the older one first"),
        (["--compare", "older", "csv"], 1, "--format jsonl"),
        (["--compare", "older", "changed"], 3, "is not what it was: audit_call.jsonl has "),
        (["--compare", "older", "newer", "--since", "1h"], 2, "--compare takes"),
        (["--explained", "newer"], 2, "goes with --compare"),
    ],
)
def test_what_cannot_be_compared_is_said(run: Run, arguments: list[str], code: int, said: str) -> None:
    run("older")
    run("newer")
    run("csv", "--format", "csv")
    run("changed")
    with open("changed/audit_call.jsonl", "ab") as file:
        file.write(b"{}\n")
    assert said in run(*arguments, code=code).stderr
