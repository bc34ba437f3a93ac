"""What shows the tables, as logins that may read no table: all of it, and nothing that is masked."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.pool import NullPool

from relay.cli.verbs import VERBS, relay
from relay.windows import WINDOWS
from tests.fixtures.roles import Roles
from tests.fixtures.rows import Rows

Run = Callable[..., Result]
ROOT = Path(__file__).parents[2]
PHONE = "13812345678"
SAID = f"refused for {PHONE}"
TRIED = {"status": ("status",), "list": ("list",), "show": ("show", "ID")}
BY_FILTER = (
    ("--status", "failed", "--error", "isv.x"), ("--status", "pending", "--key", "k", "--account", "default"),
    ("--status", "done"), ("--topic", "t", "--since", "1h", "--limit", "2"),
)  # fmt: skip
MESSAGES = """
insert into relay.outbox (topic, content, headers, json_ex_content, target_group, ordering_key)
select 't', said, said, said, 'g', case n when 5 then 'k' end
from generate_series(1, 5) n, json_build_object('phone', cast(:phone as text)) as said
returning id
"""
WHAT_BECAME_OF_THEM = """
select relay.open_archive(cast(now() as date));
insert into relay.call (account, worker, message_ids, lease_until) values
    ('default', 'w', array[:done, :failed, :waiting], now()), ('default', 'w', array[:flying], now());
insert into relay.attempt (message_id, call_id, result_index, outcome, error_code, error_message)
values (:failed, 1, 1, 'failed', 'isv.x', :said), (:waiting, 1, 2, 'retry', 'isp.x', :said);
update relay.call set settled_at = now(), outcome = 'partial', request_id = 'r-1', error_code = '15',
    error_message = :said where id = 1;
update relay.outbox set status = 'done', finished_at = now(), call_id = 1, result_index = 0 where id = :done;
update relay.outbox set status = 'failed', finished_at = now(), call_id = 1, result_index = 1, error_code = 'isv.x',
    error_message = :said where id = :failed;
insert into relay.pause (scope, reason, by) values ('account:shop', :said, 'w')
"""


@pytest.fixture
def rows(engine: Engine) -> Rows:
    return Rows(engine)


@pytest.fixture
def ids(rows: Rows) -> list[str]:
    """Of a message that is done, one that failed, one that waits, one in flight, and one with an ordering key."""
    made = sorted(row.id for row in rows.read(MESSAGES, phone=PHONE))
    named = dict(zip(("done", "failed", "waiting", "flying"), made, strict=False)) | {"said": SAID}
    for statement in WHAT_BECAME_OF_THEM.split(";\n"):
        rows.run(statement, **{name: value for name, value in named.items() if f":{name}" in statement})
    return [str(id_) for id_ in made]


@pytest.fixture
def run(roles: Roles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a verb as a login of this part; it must end with ``code``."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, part: str, code: int = 0) -> Result:
        result = CliRunner().invoke(relay, arguments, env={"RELAY_DATABASE_URL": roles.url(part)})
        assert result.exit_code == code, result.output
        return result

    return run


def told(run: Run, part: str, *arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run(*arguments, "--json", part=part).stdout)
    for name in ("oldest_due_seconds", "oldest_free_seconds"):
        found.pop(name, None)  # they go on
    return found


def tried(id_: str) -> list[list[str]]:
    """Each verb of ``TRIED``, about this message."""
    return [[id_ if argument == "ID" else argument for argument in arguments] for arguments in TRIED.values()]


def test_the_verbs_that_read_views_are_named_on_the_page_and_tried_here() -> None:
    readers = {name for name, (where, _) in VERBS.items() if where.startswith("relay.cli.reading:")}
    text = (ROOT / "docs" / "audit.md").read_text(encoding="utf-8").partition("## What the commands read\n")[2]
    named = set(re.findall(r"`relay ([a-z-]+)`", text.partition(" read views")[0]))
    assert named == readers, (
        "docs/audit.md, What the commands read: the first sentence names each verb that reads views"
    )
    assert TRIED.keys() == readers, "add it to TRIED: no login is shown what is masked"


@pytest.mark.parametrize("part", ["operator", "auditor", "worker", "dashboard"])
def test_they_see_what_the_owner_sees(run: Run, ids: list[str], part: str) -> None:
    status = told(run, part, "status")
    assert status == told(run, "owner", "status")
    assert [status[name] for name in ("pending", "due", "in_flight_calls", "in_flight_messages")] == [3, 3, 1, 1]
    assert [len(status[name]) for name in ("failed", "pauses", "workers")] == [1, 1, 1]
    listed = [told(run, part, "list", *wanted) for wanted in BY_FILTER]
    assert listed == [told(run, "owner", "list", *wanted) for wanted in BY_FILTER]
    assert [len(page["items"]) for page in listed] == [1, 1, 1, 2]
    for id_ in ids:
        assert told(run, part, "show", id_) == told(run, "owner", "show", id_)
    shown = told(run, part, "show", ids[1])
    assert (shown["target_group"], shown["content_characters"], len(shown["content_sha256"])) == ("g", 25, 64)
    assert [(call["request_id"], call["result_index"]) for call in shown["calls"]] == [("r-1", 1)]
    assert [tried["outcome"] for tried in shown["history"]] == ["failed"]


def test_what_is_archived_is_shown_too(run: Run, rows: Rows, ids: list[str]) -> None:
    hot = {id_: told(run, "operator", "show", id_) for id_ in ids[:2]}
    rows.run("update relay.call set settled_at = now(), outcome = 'released' where settled_at is null")
    rows.run("update relay.outbox set status = 'failed', finished_at = now() where status = 'pending'")
    rows.read("select relay.archive_messages(now(), 10, false, 'a', 'r', 0)")
    rows.read("select relay.archive_calls(now(), 10, 'a', 'r', 0)")
    assert rows.one("select count(*) from relay.outbox_archive") == 5
    assert rows.one("select count(*) from relay.call") == 0
    refused = run("archive", "--list", part="auditor", code=1).stderr  # the owner's; auditors ask audit_message
    assert refused.startswith("error: permission denied for table outbox_archive\nhint: relay roles tells who may")
    assert {id_: told(run, "auditor", "show", id_) for id_ in ids[:2]} == {
        id_: found | {"archived": True} for id_, found in hot.items()
    }


@pytest.mark.parametrize("part", ["operator", "dashboard", "owner"])
def test_nobody_is_told_what_is_masked(run: Run, rows: Rows, ids: list[str], roles: Roles, part: str) -> None:
    everything = "".join(
        run(*arguments, *form, part=part).output
        for arguments in (*tried(ids[0]), *(["show", id_] for id_ in ids[1:]))
        for form in ([], ["--json"])
    )
    assert everything.count("refused for 138****5678") >= 8
    assert PHONE not in everything
    salts = [row.salt for row in rows.read("select encode(content_salt, 'hex') as salt from relay.outbox")]
    with create_engine(roles.url(part), poolclass=NullPool).connect() as connection:
        read = "".join(str(connection.execute(text(f"select * from relay.{name}")).all()) for name in WINDOWS)
        columns = "select attname from pg_attribute where attrelid = to_regclass('relay.read_outbox') and attnum > 0"
        seen = set(connection.scalars(text(columns)))
    assert "138****5678" in read
    assert PHONE not in read
    assert [salt for salt in salts if salt in everything + read or str(bytes.fromhex(salt)) in read] == []
    assert {"content", "content_salt", "json_ex_content", "headers"} & seen == set()


def test_a_condition_of_their_own_sees_what_is_shown_and_no_more(rows: Rows, ids: list[str], roles: Roles) -> None:
    """A function that costs nothing is asked first, and tells what it was given."""
    told: list[str] = []
    with psycopg.connect(roles.url("operator").replace("+psycopg", ""), autocommit=True) as connection:
        connection.add_notice_handler(lambda notice: told.append(str(notice.message_primary)))
        connection.execute(
            "create function pg_temp.tell(said text) returns boolean language plpgsql cost 0.0001 as "
            "$$begin raise notice '%', said; return true; end$$"
        )
        for name in WINDOWS:
            connection.execute(f"select from relay.{name} as one where pg_temp.tell(cast(one as text))".encode())
        connection.execute("select id from relay.read_outbox where pg_temp.tell(error_message) order by id")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("select id from relay.read_outbox for update")
    assert len(told) >= 10
    assert "refused for 138****5678" in told
    assert PHONE not in str(told)


def test_they_have_no_right_on_any_table(run: Run, rows: Rows, roles: Roles) -> None:
    asked = """
        select relname, privilege from pg_class
        cross join unnest(array['select', 'insert', 'update', 'references']) as privilege
        where relnamespace = to_regnamespace('relay') and relkind in ('r', 'p')
          and has_any_column_privilege(cast(:login as name), oid, privilege)
    """
    assert [rows.read(asked, login=roles.login(part)) for part in ("operator", "auditor", "dashboard")] == [[], [], []]
    refused = run("run", "--once", "--producer", "stdout", part="operator", code=1).stderr
    assert refused.startswith("error: permission denied for table alembic_version\nhint: relay roles tells who may")


def test_rights_of_the_version_before_are_told_with_the_way_to_these(
    run: Run, rows: Rows, ids: list[str], roles: Roles
) -> None:
    """Their script knew no windows."""
    verbs = tried(ids[0])
    rows.run(f"revoke select on {', '.join(f'relay.{name}' for name in WINDOWS)} from {roles.names.operator}")
    for verb in verbs:
        first, hint = run(*verb, part="operator", code=1).stderr.splitlines()
        views = ("read_outbox", "read_pause", "read_call")
        assert first in [f"error: permission denied for view {name}" for name in views]
        assert hint.endswith("After each relay migrate, run relay roles --sql again.")
    roles.run_script()
    for verb in verbs:
        run(*verb, part="operator")


def test_tables_that_are_too_old_are_told_without_reading_the_revision(run: Run, rows: Rows) -> None:
    rows.run("drop view relay.read_outbox")
    result = run("status", part="operator", code=78)
    assert result.stderr.splitlines()[-1] == "hint: Run: relay migrate"
