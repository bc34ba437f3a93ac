"""docs/audit.md says how to compare an export with the database of today: by psql, with the rights of an auditor."""

from __future__ import annotations

import os
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import Engine, make_url, text

from relay.cli.verbs import relay
from relay.embedded import find_binaries
from relay.exports.rows import VIEWS
from relay.operators import actions, archive, retention
from relay.operators.ledger import Order
from tests.docs.markdown import ROOT, blocks, tables
from tests.fixtures.roles import Roles
from tests.fixtures.rows import Rows

PAGE = ROOT / "docs" / "audit.md"
HARD = '{"text": "back\\\\slash, \\u0001 \\"quoted\\"\\n包裹"}'


def ask(script: str, url: str, folder: Path) -> list[str]:
    """What psql answers, a line each."""
    conninfo = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    environment = {**os.environ, "PATH": f"{find_binaries()}{os.pathsep}{os.environ['PATH']}", "TARGET": conninfo}
    script = script.replace("psql -d shop", 'psql -X -q -A -t -F " " -v ON_ERROR_STOP=1 -d "$TARGET"')
    asked = subprocess.run(["bash", "-c", script], env=environment, cwd=folder, capture_output=True, text=True)
    assert asked.returncode == 0, asked.stderr
    return asked.stdout.splitlines()


def test_the_comparison_finds_what_a_superuser_changed(
    engine: Engine, superuser: Engine, roles: Roles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (script,) = (block.text for block in blocks(PAGE) if "audit_message.jsonl" in block.text)
    table = Rows(engine)
    kept, changed, redacted, pruned, pretended = table.add(5, content=HARD)
    table.run("update relay.outbox set status = 'failed', finished_at = now() where id = :id", id=redacted)
    table.run(
        "update relay.outbox set status = 'failed', finished_at = now() - interval '9 days' where id = :id", id=pruned
    )
    monkeypatch.setenv("RELAY_DATABASE_URL", roles.url("auditor"))
    assert CliRunner().invoke(relay, ["export", str(tmp_path)]).exit_code == 0
    assert ask(script, roles.url("auditor"), tmp_path) == []

    order = Order("ann", "why", {})
    with engine.begin() as connection:
        actions.redact(connection, [redacted], order)
    list(retention.prune(engine, timedelta(days=1), order, batch=10))
    with superuser.begin() as connection:
        connection.execute(text("set local session_replication_role = 'replica'"))
        connection.execute(
            text(
                "update relay.outbox set content = '{\"tid\": 2}', "
                "content_sha256 = sha256(content_salt || convert_to('{\"tid\": 2}', 'UTF8')) where id = :id"
            ),
            {"id": changed},
        )
        connection.execute(
            text(
                "update relay.outbox set content = cast(cast(:tombstone as text) as json), "
                "content_sha256 = sha256(content_salt || convert_to(:tombstone, 'UTF8')) where id = :id"
            ),
            {"id": pretended, "tombstone": actions.TOMBSTONE},
        )
    assert table.one("select count(*) from relay.audit_integrity where not intact") == 0, "the views alone cannot tell"
    assert ask(script, roles.url("auditor"), tmp_path) == [
        f"{changed} changed",
        f"{redacted} redacted",
        f"{pretended} changed",
        f"{pruned} gone",
    ]
    assert kept == table.one("select min(id) from relay.outbox")


def test_a_day_against_the_platforms_own_record(engine: Engine, roles: Roles, tmp_path: Path) -> None:
    """What both have is left out, what one side has is told, whether it is archived or not."""
    (script,) = (block.text for block in blocks(PAGE) if "accepted.csv" in block.text)
    table = Rows(engine)
    table.run(
        "insert into relay.outbox (topic, content, status, call_id, result_index, finished_at, created_at) "
        "select 't', '{}', 'done', 1, n, moment, moment from generate_series(0, 3) n cross join lateral "
        "(select cast('2026-11-11 23:59+08' as timestamptz) - make_interval(days => n / 3) as moment) as at"
    )
    table.run(
        "insert into relay.call (account, worker, message_ids, lease_until, settled_at, outcome, request_id) "
        "values ('a', 'w', '{1,2,3,4}', now(), now(), 'ok', 'r-1')"
    )
    list(archive.archive(engine.begin, timedelta(0), actor="a", reason="r", batch=1))
    (tmp_path / "accepted.csv").write_text("request_id,result_index\nr-1,0\nr-1,2\nr-9,0\n")
    assert ask(script, roles.url("auditor"), tmp_path) == [
        "r-1 1 2 only we have it",
        "r-9 0  only the platform has it",
    ]


def test_every_file_and_its_time_are_documented() -> None:
    documented = {
        view.strip(): time.strip() or None
        for views, times, _ in tables(PAGE, "file", "by", "so that")
        for view, time in zip(views.split(","), times.split(","), strict=True)
    }
    assert documented == {view.name: view.time for view in VIEWS}
