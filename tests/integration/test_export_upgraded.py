"""Two exports with an upgrade between them: hashes got their salt, the ledger says so, and the comparison is quiet."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

import relay
from relay import exports
from relay.cli.verbs import relay as command
from relay.exports import Plan, export
from relay.exports import rows as exported_rows
from relay.exports.rows import VIEWS
from tests.fixtures.hostility import takes_back
from tests.fixtures.rows import Rows

pytestmark = takes_back("standard_conforming_strings")  # the masks of the version before cannot do without

REDACTED = """
insert into relay.action (actor, action, reason, selection, message_ids, count)
select 'ann', 'redact', 'erasure', json_build_object('ids', array[3], 'sha256', json_build_object(cast(id as text),
    json_build_object('content', encode(content_sha256, 'hex')))), '{3}', 1 from relay.outbox where id = 3;
set local relay.redacting = 'on';
update relay.outbox set content = '{"redacted": true}' where id = 3
"""


@pytest.fixture
def before(empty_url: str) -> Rows:
    """Tables of the version before: 1 is archived, 2 and 3 have ended, 3 is redacted, 4 is pending."""
    relay.migrate(empty_url, to="0007")
    rows = Rows(create_engine(empty_url, poolclass=NullPool))
    for n in range(1, 5):
        rows.run(
            "insert into relay.outbox (topic, content, status, finished_at, created_at) "
            "select 't', cast(:content as json), :status, cast(:ended as timestamptz), now() - interval '9 days'",
            content=json.dumps({"n": n}),
            status="pending" if n == 4 else "failed",
            ended=None if n == 4 else f"2026-01-0{n} 12:00+00",
        )
    for _ in range(2):
        rows.read("select relay.archive_messages(now(), 1, false, 'a', 'r', 0)")
    with rows.engine.begin() as connection:
        for statement in REDACTED.split(";\n"):
            connection.exec_driver_sql(statement)
    return rows


def exported(rows: Rows, folder: Path) -> None:
    with rows.engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
        export(connection, folder, Plan(), told=lambda *_: None)


def exported_before(rows: Rows, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the version before would have exported: its views have no past pauses and no transactions of acts."""
    with monkeypatch.context() as patched:
        patched.setattr(exports, "VIEWS", tuple(replace(view, late=False) for view in VIEWS if not view.open_too))
        patched.setattr(exported_rows, "require_head_if_readable", lambda *_: False)
        exported(rows, folder)


def compared(*names: str, code: int = 0) -> Result:
    told = CliRunner().invoke(command, ["export", "--compare", *names])
    assert told.exit_code == code, told.output
    return told


def test_an_upgrade_between_two_exports_is_explained_by_the_ledger(
    before: Rows, empty_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    exported_before(before, tmp_path / "older", monkeypatch)
    relay.migrate(empty_url)
    exported(before, tmp_path / "newer")
    assert compared("older", "newer").stdout == ""
    found = compared("older", "newer", "--explained").stdout.splitlines()
    acts = dict(before.read("select selection ->> 'table', id from relay.action where action = 'salt'"))
    salted = "(salt, act {} of the ledger)"
    assert [line for line in found if line.startswith("audit_message")] == [
        f"audit_message {n}: changed content_sha256 {salted.format(acts['outbox'])}" for n in range(1, 5)
    ]
    redaction = before.one("select id from relay.action where action = 'redact'")
    assert f"audit_action {redaction}: changed selection {salted.format(acts['ledger'])}" in found
    counts = dict(before.read("select selection ->> 'table', count from relay.action where action = 'salt'"))
    assert counts == {"ledger": 1, "outbox": 2, "archive": 1}, "the redacted one got its salt with the ledger"


def test_what_was_changed_beside_it_is_found(
    before: Rows, empty_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    exported_before(before, tmp_path / "older", monkeypatch)
    before.run("alter table relay.outbox disable trigger user")
    before.run("update relay.outbox set content = '{}', content_sha256 = sha256('{}') where id = 2")
    before.run("alter table relay.outbox enable trigger user")
    before.run("alter table relay.action disable trigger user")
    before.run(
        "update relay.action set selection = json_build_object('sha256', json_build_object('9', "
        "json_build_object('content', repeat('0', 64)))) where action = 'redact'"
    )
    before.run("alter table relay.action enable trigger user")
    relay.migrate(empty_url)
    exported(before, tmp_path / "newer")
    found = compared("older", "newer", code=3).stdout
    assert "audit_message 2: changed content, content_characters\n" in found
    assert ": changed selection\n" in found


def test_after_the_upgrade_a_changed_hash_is_found(
    before: Rows, empty_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    relay.migrate(empty_url)
    before.run("alter table relay.action disable trigger user")
    before.run("update relay.action set at = at - interval '1 hour'")
    before.run("alter table relay.action enable trigger user")
    exported(before, tmp_path / "older")
    before.run("alter table relay.outbox disable trigger user")
    before.run("update relay.outbox set content_sha256 = sha256('x') where id = 2")
    before.run("alter table relay.outbox enable trigger user")
    exported(before, tmp_path / "newer")
    assert compared("older", "newer", code=3).stdout == "audit_message 2: changed content_sha256\n"
