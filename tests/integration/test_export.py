"""An export says what the views say: exactly, of one snapshot, in periods that tile, with the rights of an auditor."""

from __future__ import annotations

import csv
import io
import json
import random
import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.pool import NullPool

import relay as package
from relay.cli.export import Progress
from relay.cli.verbs import relay
from relay.exports import rows
from relay.message import ACCEPTED, Answer, Answered, Batch, Fault, Refused
from relay.message import Result as Indexed
from relay.operators import actions
from relay.operators.ledger import Order
from relay.outcomes import Policy, decide
from relay.revisions import HEAD
from relay.store import ClaimLimits, Store
from tests.fixtures.roles import Roles
from tests.fixtures.rows import Rows

Run = Callable[..., Result]
VIEWS = [view.name for view in rows.VIEWS]
LOST = Refused(Fault.UNKNOWN, "relay.timeout", message="no answer for 13812345678")


@pytest.fixture
def run(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run ``relay export``; it must succeed unless ``code`` says otherwise."""
    monkeypatch.setenv("RELAY_DATABASE_URL", database_url)

    def run(*arguments: object, code: int = 0) -> Result:
        result = CliRunner().invoke(relay, ["export", *map(str, arguments)])
        assert result.exit_code == code, result.output
        return result

    return run


@pytest.fixture
def table(engine: Engine) -> Rows:
    return Rows(engine)


def produce(engine: Engine, answer: Answer) -> Batch:
    store = Store(engine, worker="w", lease_seconds=60)
    (batch,) = store.claim(ClaimLimits(slots=1)).batches
    store.settle([decide(batch, answer, Policy(), random.Random(1))], {})
    return batch


def fill(engine: Engine, table: Rows) -> None:
    """A row for each view, and texts that are hard on a file."""
    table.add(content='{"phone": "13812345678", "buyer": "向阳\\n\\"aa\\""}', key="=1+1")
    table.add(key='\'a,"b"\r\n包裹')
    produce(engine, Answered((ACCEPTED, Indexed(Fault.MESSAGE, "isv.bad", "-no\nof 13812345678")), "r-1", 200))
    table.run("insert into relay.outbox (topic, content, producer) values ('t', '{}', ''), ('@t', '{}', null)")
    produce(engine, LOST)
    with engine.begin() as connection:
        actions.pause(connection, "account:a", Order("ann", "+why", {"scope": "account:a"}))


def manifest_of(folder: Path) -> Any:
    return json.loads((folder / "manifest.json").read_bytes())


def read(folder: Path, view: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / f"{view}.jsonl").read_text(encoding="utf-8").splitlines()]


def ids(folder: Path, view: str = "audit_message") -> list[int]:
    return [row["id"] for row in read(folder, view)]


def new(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_an_auditor_exports_and_everything_fits(
    run: Run, engine: Engine, table: Rows, roles: Roles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(engine, table)
    monkeypatch.setenv("RELAY_DATABASE_URL", roles.url("auditor"))
    printed = run(tmp_path)
    manifest = manifest_of(tmp_path)
    assert (manifest["db_user"], manifest["schema_revision"]) == (roles.login("auditor"), None)
    assert (manifest["database"], manifest["schema"]) == (engine.url.database, "relay")
    assert "password" not in str(manifest)
    assert [file["view"] for file in manifest["files"]] == VIEWS
    for file in manifest["files"]:
        found = table.read(f"select * from relay.{file['view']}")
        assert (file["rows"], file["columns"]) == (len(found), list(found[0]._fields)), file
        assert "13812345678" not in (tmp_path / file["name"]).read_text(encoding="utf-8")
    # The line on stdout is one that sha256sum checks, and so is the file.
    for sums in (printed.stdout, (tmp_path / "SHA256SUMS").read_text()):
        subprocess.run(["sha256sum", "--strict", "-c"], input=sums.encode(), cwd=tmp_path, check=True)
    assert run("--verify", tmp_path).stdout == printed.stdout
    assert printed.stderr.endswith(f"{sum(file['rows'] for file in manifest['files'])} rows in 6 files\n")


def test_rows_are_exact(run: Run, engine: Engine, table: Rows, tmp_path: Path) -> None:
    fill(engine, table)
    run(tmp_path)
    first, second, *_ = read(tmp_path, "audit_message")
    assert first["content"] == {"phone": "138****5678", "buyer": '向阳\n"aa"'}
    assert first["content_sha256"] == table.message(first["id"]).content_sha256.hex()
    assert (first["status"], first["held"], first["deliver_before"]) == ("done", False, None)
    assert second["ordering_key"] == '\'a,"b"\r\n包裹'
    created = table.message(first["id"]).created_at
    assert first["created_at"] == f"{created.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"
    assert list(first) == manifest_of(tmp_path)["files"][0]["columns"]
    assert read(tmp_path, "audit_call")[0]["message_ids"] == [first["id"], second["id"]]
    assert read(tmp_path, "audit_action")[0]["selection"] == {"scope": "account:a", "stated": {"scope": "account:a"}}
    assert manifest_of(tmp_path)["schema_revision"] == HEAD


def test_both_formats_have_the_same_rows(run: Run, engine: Engine, table: Rows, tmp_path: Path) -> None:
    fill(engine, table)
    as_json, as_csv = new(tmp_path / "json"), new(tmp_path / "csv")
    run(as_json)
    run(as_csv, "--format", "csv")
    run("--verify", as_csv)
    for view in VIEWS:
        assert loaded_by_postgres(engine, as_csv / f"{view}.csv") == [
            {name: in_a_cell(value) for name, value in row.items()} for row in read(as_json, view)
        ]
    keys = [row["ordering_key"] for row in csv.DictReader(io.StringIO((as_csv / "audit_message.csv").read_text()))]
    assert keys[0] == "'=1+1"


def loaded_by_postgres(engine: Engine, path: Path) -> list[dict[str, str | None]]:
    """PostgreSQL tells null from an empty text; it is told to read each column as text."""
    data = path.read_bytes()
    columns = data.partition(b"\r\n")[0].decode().split(",")
    with engine.connect() as connection:
        raw: Any = connection.connection.driver_connection
        listed = ", ".join(f'"{name}" text' for name in columns)
        raw.execute(f"create temp table loaded ({listed})".encode())
        with raw.cursor().copy("copy loaded from stdin (format csv, header)") as copy:
            copy.write(data)
        found = raw.execute("select * from loaded").fetchall()
    return [
        {name: value and value.removeprefix("'") for name, value in zip(columns, row, strict=True)} for row in found
    ]


def in_a_cell(value: Any) -> str | None:
    match value:
        case None | str():
            return value
        case float():
            return f"{value:.3f}"
        case dict():
            return json.dumps(value, ensure_ascii=False)
        case _:
            return json.dumps(value, separators=(",", ":"))


def test_days_tile_and_are_those_of_the_daily_books(run: Run, engine: Engine, table: Rows, tmp_path: Path) -> None:
    """Midnight in Shanghai is 16:00 in UTC; what begins with it belongs to the new day."""
    moments = ["2026-01-09 15:59:59.999999", "2026-01-09 16:00", "2026-01-10 15:59:59.999999", "2026-01-10 16:00"]
    for moment in moments:
        table.run(
            "with made as (insert into relay.call (account, worker, message_ids, claimed_at, lease_until, settled_at, "
            "outcome) select 'a', 'w', array[max(id) + 1], cast(:at as timestamptz) - interval '1 hour', now(), :at, "
            "'ok' from (select 0 as id union all select id from relay.outbox) as ids returning id) "
            "insert into relay.outbox (topic, content, created_at, status, finished_at, call_id, result_index) "
            "select 't', '{}', cast(:at as timestamptz), 'done', :at, id, 0 from made",
            at=f"{moment}+00",
        )
        table.run("insert into relay.action (at, actor, action, reason, count) values (:at, 'a', 'x', 'r', 0)",
                  at=f"{moment}+00")  # fmt: skip
    table.run("insert into relay.call (account, worker, message_ids, lease_until) values ('a', 'w', '{9}', now())")
    days = ["2026-01-09", "2026-01-10", "2026-01-11", "2026-01-12"]
    books = {
        str(row.day): row.inserted for row in table.read("select day, inserted from relay.audit_daily order by day")
    }
    seen: dict[str, list[int]] = {"audit_message": [], "audit_call": [], "audit_action": []}
    for day, following in pairwise(days):
        run(new(tmp_path / day), "--since", day, "--until", following)
        assert len(ids(tmp_path / day)) == books[day]
        settled = {call["id"] for call in read(tmp_path / day, "audit_call")}
        assert {delivery["call_id"] for delivery in read(tmp_path / day, "audit_delivery")} == settled
        for view, found in seen.items():
            found += ids(tmp_path / day, view)
    assert list(books.values()) == [1, 2, 1]
    assert seen == {view: [1, 2, 3, 4] for view in seen}
    run(new(tmp_path / "open end"), "--since", days[0])
    assert ids(tmp_path / "open end", "audit_call") == [1, 2, 3, 4, 5], "what is still open too"


def test_a_date_is_one_of_the_zone_of_the_books(run: Run, superuser: Engine, tmp_path: Path) -> None:
    with superuser.begin() as connection:
        connection.execute(text(f"alter database \"{superuser.url.database}\" set relay.zone = 'UTC'"))
    run(tmp_path, "--since", "2026-01-10", "--until", "2026-01-11T00:00:00+08:00")
    manifest = manifest_of(tmp_path)
    assert (manifest["since"], manifest["until"]) == ("2026-01-10T00:00:00.000000Z", "2026-01-10T16:00:00.000000Z")


def test_a_message_committed_late_is_in_the_next_export(run: Run, engine: Engine, table: Rows, tmp_path: Path) -> None:
    insert = text("insert into relay.outbox (topic, content) values ('late', '{}')")
    with engine.begin() as slow:
        slow.execute(insert)
        table.add()
        end = table.one("select clock_timestamp()")
        run(new(tmp_path / "1"), "--until", end.isoformat())
    run(new(tmp_path / "2"), "--previous", tmp_path / "1" / "manifest.json")
    first, second = manifest_of(tmp_path / "1"), manifest_of(tmp_path / "2")
    assert (ids(tmp_path / "1"), ids(tmp_path / "2")) == ([2], [1])
    assert (second["since"], second["until"]) == (first["until"], None)
    assert [file["late"] for file in second["files"]] == [1, 0, 0, 0, 0, 0]
    printed = run("--verify", tmp_path / "1").stdout
    assert printed.startswith(second["previous"])
    assert run("--verify", tmp_path / "2", "--previous", tmp_path / "1" / "manifest.json").stderr == ""
    assert second["previous"] in run("--verify", tmp_path / "2").stderr


def test_an_act_committed_late_is_in_the_next_export(run: Run, engine: Engine, table: Rows, tmp_path: Path) -> None:
    with engine.begin() as slow:
        slow.execute(text("select relay.pause_scope('account:a', null, 'r')"))
        end = table.one("select clock_timestamp()")
        run(new(tmp_path / "1"), "--until", end.isoformat())
    run(new(tmp_path / "2"), "--previous", tmp_path / "1" / "manifest.json")
    assert (ids(tmp_path / "1", "audit_action"), ids(tmp_path / "2", "audit_action")) == ([], [1])
    assert [file["late"] for file in manifest_of(tmp_path / "2")["files"]] == [0, 0, 0, 0, 0, 1]


def test_a_pause_that_ended_is_in_one_export_and_one_that_holds_in_each(run: Run, table: Rows, tmp_path: Path) -> None:
    table.run("select relay.pause_scope('account:a', null, 'r'), relay.pause_scope('account:b', null, 'r')")
    table.run("select relay.resume_scope('account:a', 'r')")
    run(new(tmp_path / "1"), "--until", table.one("select clock_timestamp()").isoformat())
    run(new(tmp_path / "2"), "--previous", tmp_path / "1" / "manifest.json")
    paused = [[pause["scope"] for pause in read(tmp_path / name, "audit_pause")] for name in ("1", "2")]
    assert paused == [["account:a", "account:b"], ["account:b"]]


def test_all_files_are_of_one_snapshot(
    run: Run, engine: Engine, table: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(engine, table)
    actions = table.one("select count(*) from relay.audit_action")

    def meanwhile(_progress: Progress, view: str, number: int) -> None:
        if (view, number) == ("audit_message", 1):
            table.run("insert into relay.action (actor, action, reason, count) values ('a', 'x', 'r', 0)")

    monkeypatch.setattr(Progress, "__call__", meanwhile)
    run(tmp_path)
    assert len(read(tmp_path, "audit_action")) == actions
    assert table.one("select count(*) from relay.audit_action") == actions + 1


def test_memory_does_not_grow_with_rows(run: Run, table: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are, few are in the process at a time, and the server sorts few messages at a time."""
    sizes: list[int] = []
    plain = psycopg.ServerCursor.fetchmany

    def counted(self: psycopg.ServerCursor[Any], size: int = 0) -> list[Any]:
        found = plain(self, size)
        sizes.append(len(found))
        return found

    monkeypatch.setattr(psycopg.ServerCursor, "fetchmany", counted)
    monkeypatch.setattr(rows, "SLICE_IDS", 300)
    table.add(500)
    table.run("select setval('relay.outbox_id_seq', 2000)")
    table.add(500)
    run(tmp_path)
    assert ids(tmp_path) == [*range(1, 501), *range(2001, 2501)]
    assert sum(sizes) == 1000, "all rows came through here"
    assert max(sizes) == rows.FETCHED_ROWS


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--until", "2999-01-01"], "in the future"),
        (["--since", "2999-01-01"], "is empty"),
        (["--since", "2026-01-02", "--until", "2026-01-02"], "is empty"),
        (["--since", "1h", "--until", "2h"], "is empty"),
        (["--previous", "1/manifest.json", "--since", "2026-01-02"], "--since out"),
        (["--previous", "2/manifest.json"], "has no end"),
        (["--previous", "1/audit_pause.jsonl"], "is no manifest"),
    ],
)
def test_a_period_that_is_none_is_refused(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    run(new(Path("1")), "--until", "2026-01-01")
    run(new(Path("2")))
    found = run(new(Path("3")), *arguments, code=1)
    assert said in found.stderr
    assert found.stdout == ""
    assert not Path("3/manifest.json").exists()


def test_another_database_is_not_followed(
    run: Run, empty_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(new(tmp_path / "1"), "--until", "2026-01-01")
    package.migrate(empty_url)
    monkeypatch.setenv("RELAY_DATABASE_URL", empty_url)
    found = run(new(tmp_path / "2"), "--previous", tmp_path / "1" / "manifest.json", code=1)
    assert found.stderr.startswith("error: The preceding export is of relay_test_")


def test_an_export_without_an_end_can_be_followed_from_a_time_given(run: Run, table: Rows, tmp_path: Path) -> None:
    table.add()
    run(new(tmp_path / "1"))
    run(new(tmp_path / "2"), "--previous", tmp_path / "1" / "manifest.json", "--since", "1h")
    assert ids(tmp_path / "1") == ids(tmp_path / "2") == [1]
    since = datetime.fromisoformat(manifest_of(tmp_path / "2")["since"])
    assert since + timedelta(hours=1) == datetime.fromisoformat(manifest_of(tmp_path / "2")["snapshot_at"])


def test_a_schema_of_another_name(run: Run, empty_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELAY_DATABASE_URL", empty_url)
    monkeypatch.setenv("RELAY_SCHEMA", "My Outbox")
    missing = run(tmp_path, code=78)
    assert missing.stderr.endswith("hint: Run: relay migrate\n")
    package.migrate(empty_url, schema="My Outbox")
    made = create_engine(empty_url, poolclass=NullPool)
    with made.begin() as connection:
        connection.execute(text("insert into \"My Outbox\".outbox (topic, content) values ('t', '{}')"))
    run(tmp_path)
    assert ids(tmp_path) == [1]
    assert manifest_of(tmp_path)["schema"] == "My Outbox"


def test_json_and_the_exit_code_for_programs(run: Run, table: Rows, tmp_path: Path) -> None:
    table.add()
    found = json.loads(run(tmp_path, "--json").stdout)
    assert found["files"][0]["rows"] == 1
    assert run("--verify", tmp_path).stdout == f"{found['sha256']}  {tmp_path / 'manifest.json'}\n"
    assert json.loads(run("--verify", tmp_path, "--json").stdout)["fits"] is True
    with open(tmp_path / "audit_message.jsonl", "ab") as file:
        file.write(b"{}\n")
    changed = run("--verify", tmp_path, code=3)
    assert changed.stdout.startswith("audit_message.jsonl: has ")
    assert (
        json.loads(run("--verify", tmp_path, "--json", code=3).stdout)["problems"][0]["file"] == "audit_message.jsonl"
    )
    run("--verify", tmp_path, "--since", "1h", code=2)
    run(tmp_path, code=1)


def test_exports_beside_each_other_are_a_chain_by_themselves(run: Run, engine: Engine, tmp_path: Path) -> None:
    """Nobody has to name the one before, and what it could not see yet is taken in."""
    with engine.begin() as slow:
        slow.execute(text("insert into relay.outbox (topic, content) values ('late', '{}')"))
        with engine.begin() as connection:
            end = connection.execute(text("select clock_timestamp()")).scalar_one().isoformat()
            connection.execute(text("insert into relay.outbox (topic, content) values ('t', '{}')"))
        run(tmp_path / "1", "--until", end)
    run(tmp_path / "2", "--since", end)
    run(tmp_path / "again", "--until", end)
    run(tmp_path / "3", "--after", tmp_path / "2")
    hashes = {name: run("--verify", tmp_path / name).stdout[:64] for name in ("1", "2", "again")}
    named = {name: manifest_of(tmp_path / name)["previous"] for name in ("1", "2", "again", "3")}
    assert named == {"1": None, "2": hashes["1"], "again": hashes["2"], "3": hashes["2"]}
    assert (ids(tmp_path / "1"), ids(tmp_path / "2")) == ([2], [1])
    assert len(run("--verify", tmp_path).stdout.splitlines()) == 4
    shutil.rmtree(tmp_path / "2")
    broken = run("--verify", tmp_path, code=3).stdout
    assert broken.startswith("again/manifest.json: follows an export that is not here")
    assert json.loads(run("--verify", tmp_path, "--json", code=3).stdout)["fits"] is False
    run(tmp_path / "4", "--after", tmp_path / "3", "--previous", tmp_path / "3" / "manifest.json", code=2)
