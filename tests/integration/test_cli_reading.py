"""``relay migrate``, ``add``, ``status``, ``list`` and ``show`` on a real database, as a shell sees them."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Connection, Engine, create_engine, text

from relay import reports
from relay.cli.verbs import relay
from relay.outbox import add
from relay.reports import Search
from relay.revisions import HEAD, REVISIONS

Relay = Callable[..., Result]
PROJECT = str(Path(__file__).parents[2])


@pytest.fixture
def run(database_url: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Relay:
    """Run a verb on the migrated database; it must succeed unless ``code`` says otherwise."""
    monkeypatch.setenv("RELAY_DATABASE_URL", database_url)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, code: int = 0, stdin: str = "") -> Result:
        result = CliRunner().invoke(relay, arguments, input=stdin)
        assert result.exit_code == code, result.output
        return result

    return run


def insert(connection: Connection, **columns: str) -> int:
    """Insert a message; each value is an SQL expression."""
    values = {"topic": "'t'", "content": "'{}'"} | columns
    statement = f"insert into relay.outbox ({', '.join(values)}) values ({', '.join(values.values())}) returning id"
    return int(connection.execute(text(statement)).scalar_one())


def insert_call(connection: Connection, *message_ids: int, **columns: str) -> int:
    listed = "array[" + ",".join(map(str, message_ids)) + "]::bigint[]"
    values = {
        "account": "'default'",
        "worker": "'w1'",
        "message_ids": listed,
        "lease_until": "now() + '1min'",
    } | columns
    statement = f"insert into relay.call ({', '.join(values)}) values ({', '.join(values.values())}) returning id"
    return int(connection.execute(text(statement)).scalar_one())


def test_status_tells_due_from_waiting_from_held(engine: Engine) -> None:
    with engine.begin() as connection:
        insert(connection)
        insert(connection, ordering_key="'k'", created_at="now() - interval '10 minutes'")
        insert(connection, created_at="now() - interval '1 hour'", available_at="now() - interval '5 minutes'")
        insert(connection, available_at="now() + interval '1 hour'")
        insert(
            connection,
            available_at="'infinity'",
            attempts="1",
            ordering_key="'k'",
            created_at="now() - interval '1 day'",
        )
        insert(connection, available_at="'-infinity'")
        insert(
            connection, status="'done'", finished_at="now()", created_at="now() - interval '9 days'", call_id="1",
            result_index="0",
        )  # fmt: skip
        found = reports.status(connection)
    assert (found.pending, found.due, found.waiting, found.held) == (6, 4, 1, 1)
    # Neither the hour since the third was inserted counts, nor what the second waited for its available_at.
    assert found.oldest_due_seconds == pytest.approx(300)


def test_the_oldest_is_the_one_that_may_go_for_longest(engine: Engine) -> None:
    with engine.begin() as connection:
        insert(connection, created_at="now() - interval '10 minutes'", available_at="now() - interval '10 minutes'")
        insert(connection, created_at="now() - interval '1 hour'", available_at="now() - interval '5 minutes'")
        found = reports.status(connection)
    assert found.oldest_due_seconds == pytest.approx(600)


def test_an_empty_outbox_has_no_oldest_message(engine: Engine) -> None:
    with engine.begin() as connection:
        found = reports.status(connection)
    assert found == reports.Status(0, 0, 0, 0, None, 0, None, 0, 0, (), (), ())


def test_status_shows_calls_in_flight_failures_and_pauses(engine: Engine) -> None:
    with engine.begin() as connection:
        insert_call(connection, 1, 2, 3)
        insert_call(connection, 4, worker="'w2'")
        insert_call(connection, 5, worker="'w2'", lease_until="now() - interval '1min'")
        insert_call(connection, 6, settled_at="now()", outcome="'ok'")
        for code in ("'isv.a'", "'isv.b'", "'isv.b'"):
            insert(connection, status="'failed'", finished_at="now()", error_code=code)
        for scope, until in (("account:a", "null"), ("app:1", "now() - interval '1s'"), ("app:2", "now() + '1h'")):
            connection.execute(
                text(f"insert into relay.pause (scope, until, reason, by) values ('{scope}', {until}, 'r', 'me')")
            )
        found = reports.status(connection)
    assert (found.in_flight_calls, found.in_flight_messages) == (3, 5)
    assert [(worker.worker, worker.calls, worker.messages) for worker in found.workers] == [("w1", 1, 3), ("w2", 2, 2)]
    assert found.workers[1].lease_until < found.workers[0].lease_until
    assert found.failed == (reports.FailedCode("isv.b", 2), reports.FailedCode("isv.a", 1))
    assert [pause.scope for pause in found.pauses] == ["app:2", "account:a"]


@pytest.mark.usefixtures("independent")
def test_status_never_scans_finished_messages(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(
            text(
                "insert into relay.outbox (topic, content, status, finished_at, call_id, result_index) "
                "select 't', '{}', 'done', now(), 1, 0 from generate_series(1, 20000)"
            )
        )
        insert(connection)
        insert(connection, ordering_key="'k'")
        insert(connection, status="'failed'", finished_at="now()", error_code="'isv.a'")
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("vacuum analyze relay.outbox"))
        before = _rows_read_by_scans(connection)
        found = reports.status(connection)
        assert (found.pending, len(found.failed)) == (2, 1)
        assert _rows_read_by_scans(connection) == before


def _rows_read_by_scans(connection: Connection) -> int:
    connection.execute(text("select pg_stat_force_next_flush()"))
    connection.execute(text("select pg_stat_clear_snapshot()"))
    return int(
        connection.execute(
            text("select seq_tup_read from pg_stat_user_tables where relid = 'relay.outbox'::regclass")
        ).scalar_one()
    )


def test_fail_if_older_asks_for_the_oldest_due_message(run: Relay, engine: Engine) -> None:
    assert run("status", "--fail-if-older", "5m").exit_code == 0
    with engine.begin() as connection:
        insert(connection, created_at="now() - interval '1 day'", available_at="'infinity'", attempts="1")
        insert(connection, created_at="now() - interval '10 minutes'", available_at="now() - interval '10 minutes'")
    run("status", "--fail-if-older", "11m")
    assert json.loads(run("status", "--json", "--fail-if-older", "9m", code=3).stdout)["due"] == 1


def test_status_for_people(run: Relay, engine: Engine) -> None:
    with engine.begin() as connection:
        insert(connection, created_at="now() - interval '61 minutes'", available_at="now() - interval '61 minutes'")
        insert_call(connection, 1)
    lines = run("status").stdout.splitlines()
    assert lines[0].split() == ["pending", "1"]
    assert any(line.startswith("oldest due  1:01:0") for line in lines)
    assert "in flight   1 message in 1 call" in lines
    assert any(line.split()[:3] == ["w1", "1", "1"] for line in lines)


def test_status_prints_the_first_pauses_of_very_many_and_programs_get_all(run: Relay, engine: Engine) -> None:
    """Accounts without credentials come last, for an application can make up any number of them."""
    with engine.begin() as connection:
        for scope, code in (("'account:ghost-' || n", "'relay.no_credentials'"), ("'app:' || n % 2", "'25'")):
            paused = f"select distinct {scope}, 'x', {code}, 'w' from generate_series(1, 1000) n"
            connection.execute(text(f"insert into relay.pause (scope, reason, error_code, by) {paused}"))
    lines = run("status").stdout.splitlines()
    shown = [line for line in lines if line.startswith(("account:", "app:"))]
    assert (len(shown), shown[0].split()[0], shown[1].split()[0]) == (30, "app:0", "app:1")
    assert "and 972 more pauses: see relay status --json, or relay.audit_pause where in_force" in lines
    assert len(json.loads(run("status", "--json").stdout)["pauses"]) == 1002


def test_list_goes_through_pages_newest_first(run: Relay, engine: Engine) -> None:
    with engine.begin() as connection:
        ids = [insert(connection) for _ in range(5)]
    seen, after = [], []
    for page_size in (2, 2, 1):
        page = json.loads(run("list", "--json", "--limit", "2", *after).stdout)
        assert len(page["items"]) == page_size
        seen += [item["id"] for item in page["items"]]
        after = ["--after", str(page["next"])]
    assert page["next"] is None
    assert seen == [str(number) for number in reversed(ids)]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Search(), [4, 3, 2, 1]),
        (Search("failed"), [4]),
        (Search(topic="b"), [2]),
        (Search(account="shop"), [3]),
        (Search(ordering_key="k"), [3, 2]),
        (Search(error_code="isv.x"), [4]),
        (Search("pending", ordering_key="k", topic="b"), [2]),
    ],
)
def test_list_filters(engine: Engine, wanted: Search, found: list[int]) -> None:
    with engine.begin() as connection:
        ids = [
            insert(connection),
            insert(connection, topic="'b'", ordering_key="'k'"),
            insert(connection, account="'shop'", ordering_key="'k'"),
            insert(connection, status="'failed'", finished_at="now()", error_code="'isv.x'"),
        ]
        listed = reports.find(connection, wanted, limit=10)
    assert [line.id for line in listed.lines] == [ids[number - 1] for number in found]
    assert listed.older is None


def test_list_since(run: Relay, engine: Engine) -> None:
    with engine.begin() as connection:
        insert(connection, created_at="now() - interval '3 hours'")
        insert(connection, created_at="now() - interval '1 hour'")
    items = json.loads(run("list", "--since", "2h", "--json").stdout)["items"]
    assert [item["id"] for item in items] == ["2"]


def test_list_says_how_far_it_looked_where_no_index_leads(
    run: Relay, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.reports.search.MOST_LOOKED", 2)
    monkeypatch.setattr(reports, "MOST_LOOKED", 2)
    with engine.begin() as connection:
        rare, *_ = [insert(connection, topic=topic) for topic in ("'rare'", "'t'", "'t'", "'t'")]
    first = json.loads(run("list", "--topic", "rare", "--json").stdout)
    assert first == {"items": [], "next": "3"}
    said = run("list", "--topic", "rare").stderr
    assert said == "looked at 2 messages, down to 3; to look at more: --after 3\n"
    second = json.loads(run("list", "--topic", "rare", "--after", "3", "--json").stdout)
    assert [item["id"] for item in second["items"]] == [str(rare)]


def test_list_for_people_is_aligned_and_says_how_to_go_on(run: Relay, engine: Engine) -> None:
    with engine.begin() as connection:
        insert(connection, topic="'订单'", account="'a'")
        # As the version before took it: now only a row of another transaction may have such an account.
        insert(connection, topic="'long-topic'", account="E'\\x1b[2Jb'", created_xid="'3'")
        insert(connection)
    result = run("list", "--limit", "2")
    heads, second = result.stdout.splitlines()[:2]
    assert heads.index("topic") == second.index("t")
    assert "\x1b" not in run("list").stdout
    assert result.stderr == "more: --after 2\n"
    wide = next(line for line in run("list").stdout.splitlines() if "订单" in line)
    plain = next(line for line in run("list").stdout.splitlines() if "long-topic" in line)
    assert wide.index("  a") + 2 == plain.index("  \\u001b[2Jb"), "two characters that take four columns"


def test_show_tells_the_whole_history_and_never_the_content(run: Relay, engine: Engine) -> None:
    content = '{"buyer": "张三",  "n": 1}'
    with engine.begin() as connection:
        number = insert(connection, content=f"'{content}'", deliver_before="'infinity'")
        neighbour = insert(connection)
        parent = insert_call(
            connection, neighbour, number, settled_at="now()", outcome="'rejected'", sub_code="'isv.p'"
        )
        child = insert_call(connection, number, parent_id=str(parent), settled_at="now()", outcome="'unknown'")
        insert_call(connection, neighbour, parent_id=str(parent), settled_at="now()", outcome="'ok'")
        last = insert_call(connection, number, worker="'w9'")
        connection.execute(
            text(
                "insert into relay.attempt (message_id, call_id, result_index, outcome, error_code, retry_at) "
                f"values ({number}, {child}, 0, 'unknown', 'relay.timeout', 'infinity')"
            )
        )
    result = run("show", str(number), "--json")
    found = json.loads(result.stdout)
    assert found["id"] == str(number)
    assert found["content_characters"] == len(content)
    with engine.connect() as connection:
        salt = bytes(connection.scalar(text("select content_salt from relay.outbox where id = :id"), {"id": number}))
    assert found["content_sha256"] == hashlib.sha256(salt + content.encode()).hexdigest()
    assert [(call["id"], call["result_index"], call["outcome"]) for call in found["calls"]] == [
        (str(parent), 1, "rejected"),
        (str(child), 0, "unknown"),
        (str(last), 0, None),
    ]
    (tried,) = found["history"]
    assert (tried["call_id"], tried["outcome"], tried["retry_at"]) == (str(child), "unknown", None)
    assert datetime.fromisoformat(found["created_at"]).tzinfo is not None
    people = run("show", str(number)).stdout
    assert "relay.timeout" in people
    assert "张三" not in people + result.stdout


def test_show_of_a_done_message_has_the_call_that_proves_it(run: Relay, engine: Engine) -> None:
    with engine.begin() as connection:
        call = insert_call(connection, 1, settled_at="now()", outcome="'ok'", request_id="'15r3nxoq4'")
        insert(connection, status="'done'", finished_at="now()", call_id=str(call), result_index="0")
    found = json.loads(run("show", "1", "--json").stdout)
    assert [call["request_id"] for call in found["calls"]] == ["15r3nxoq4"]


def test_what_a_pending_message_waits_for_is_told(run: Relay, engine: Engine) -> None:
    with engine.begin() as connection:
        for column in ({"account": "'shop'"}, {"available_at": "'infinity'", "error_code": "'relay.timeout'"}, {}):
            insert(connection, **column)
        connection.execute(text("insert into relay.pause (scope, reason, by) values ('account:shop', 'moving', 'ann')"))
    paused, held, plain = (run("show", str(number)).stdout for number in (1, 2, 3))
    assert re.search("^paused +account:shop until resumed: moving$", paused, re.M)
    assert re.search("^status +pending, held for a person since .*: relay retry or relay discard 2$", held, re.M)
    assert not re.search("^paused|held", plain, re.M)
    told = json.loads(run("show", "1", "--json").stdout)
    assert (told["pause"]["scope"], told["held"], told["held_since"]) == ("account:shop", False, None)
    assert [line.split()[:2] for line in run("list").stdout.splitlines()[1:]] == [
        ["3", "pending"], ["2", "held"], ["1", "pending"],
    ]  # fmt: skip
    assert [item["id"] for item in json.loads(run("list", "--status", "held", "--json").stdout)["items"]] == ["2"]


def test_show_of_an_unknown_message_fails(run: Relay) -> None:
    largest = 2**63 - 1
    assert run("show", str(largest), code=1).stderr.startswith(f"error: There is no message {largest}.")


def test_add_prints_the_id_and_only_that(run: Relay, engine: Engine) -> None:
    assert run("add", "a-topic", '{"tid": 1}', "--producer", "shell").stdout == "1\n"
    result = run(
        "add", "a-topic", "-", "--account", "shop", "--ordering-key", "k", "--dedupe-key", "d", "--json",
        "--available-at", "2026-11-11T00:00:00+08:00", "--deliver-before", "2999-01-01T00:00:00Z",
        stdin='{"text": "包裹"}',
    )  # fmt: skip
    id_ = int(json.loads(result.stdout)["id"])
    with engine.begin() as connection:
        rows = connection.execute(text("select content::text, account, ordering_key, producer from relay.outbox"))
        assert [tuple(row) for row in rows] == [
            ('{"tid": 1}', "default", None, "shell"),
            ('{"text": "包裹"}', "shop", "k", None),
        ]
        due = connection.scalar(
            text("select available_at = '2026-11-10T16:00:00Z' from relay.outbox where id = :id"), {"id": id_}
        )
    assert due is True


def test_by_hand_no_message_is_added_whose_time_has_passed(run: Relay, engine: Engine) -> None:
    refused = run("add", "t", "{}", "--deliver-before", "2026-01-01T00:00:00Z", code=2)
    assert "2026-01-01T00:00:00+00:00 has passed" in refused.stderr
    with engine.begin() as connection:  # an application that comes late loses nothing by it but the message
        assert add(connection, "t", "{}", deliver_before=datetime(2026, 1, 1, tzinfo=UTC)) == 1


def test_add_of_a_duplicate_succeeds_and_says_so(run: Relay) -> None:
    run("add", "t", "{}", "--dedupe-key", "d")
    again = run("add", "t", "{}", "--dedupe-key", "d")
    assert again.stdout == ""
    assert "already there" in again.stderr
    assert json.loads(run("add", "t", "{}", "--dedupe-key", "d", "--json").stdout) == {"id": None}


def test_add_reads_utf_8_whatever_the_locale_says(run: Relay, engine: Engine, database_url: str) -> None:
    def add(given: bytes) -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-m", "relay", "add", "t"]
        env = os.environ | {"RELAY_DATABASE_URL": database_url, "PYTHONIOENCODING": "latin1", "PYTHONPATH": PROJECT}
        return subprocess.run(command, input=given, env=env, capture_output=True)

    assert add('{"a":"向阳"}'.encode()).returncode == 0
    refused = add('{"a":"向阳"}'.encode("gb18030"))
    assert (refused.returncode, refused.stdout) == (1, b"")
    assert refused.stderr.startswith(b"error: content is not UTF-8 text")
    with engine.connect() as connection:
        assert list(connection.scalars(text("select content::text from relay.outbox"))) == ['{"a":"向阳"}']


def test_add_refuses_what_is_no_message(run: Relay) -> None:
    result = run("add", "t", "[1]", code=1)
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")


def test_migrate_says_what_it_did_and_add_works_in_another_schema(
    run: Relay, empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RELAY_DATABASE_URL", empty_url)
    monkeypatch.setenv("RELAY_SCHEMA", "My Outbox")
    assert "has no relay tables" in run("migrate", "--check", code=78).stderr
    first, second = run("migrate"), run("migrate")
    assert run("migrate", "--check").stderr == f"the tables are at revision {HEAD}\n"
    assert "--check asks whether" in run("migrate", "--check", "--sql", code=2).stderr
    applied = "".join(f"applied revision {revision.REVISION}\n" for revision in REVISIONS)
    assert (first.stdout, first.stderr) == ("", applied)
    assert second.stderr == "nothing to do\n"
    run("add", "t", "{}")
    assert json.loads(run("status", "--json").stdout)["pending"] == 1
    assert len(json.loads(run("list", "--json").stdout)["items"]) == 1
    assert json.loads(run("show", "1", "--json").stdout)["id"] == "1"


def test_migrate_sql_prints_the_ddl_and_connects_to_nothing(
    run: Relay, empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RELAY_DATABASE_URL")
    ddl = run("migrate", "--sql").stdout
    engine = create_engine(empty_url)
    with engine.connect() as connection:
        script: Any = connection.connection.dbapi_connection
        script.execute(ddl)  # as psql would: nothing in it is a parameter
        script.commit()
    with engine.connect() as connection:
        assert connection.scalar(text("select count(*) from relay.outbox")) == 0
    engine.dispose()
