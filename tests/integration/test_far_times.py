"""Times that PostgreSQL knows and most languages do not: refused where they come in, read where they are already."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

import relay
from relay.cli.verbs import relay as command
from relay.errors import MessageError
from relay.readable import Beyond
from tests.fixtures.rows import Rows
from tests.fixtures.scripted import Bench, Scripted
from tests.fixtures.waiting import eventually_async

INSERT = "insert into relay.outbox (topic, content, {column}) values ('t', '{{}}', {value})"
FAR = "'55000-06-01 00:00+00'"  # milliseconds taken for seconds


@pytest.fixture
def rows(engine: Engine) -> Rows:
    return Rows(engine)


@pytest.fixture
def old_rows(rows: Rows) -> Rows:
    """Rows that are there already, as the schema before this one took them."""
    rows.run("alter table relay.outbox alter created_xid set default '3'")
    for value in (FAR, "'4000-01-01 BC'", "'9999-12-31 23:59:59+00'", "'infinity'", "'-infinity'", "now()"):
        rows.run(INSERT.format(column="available_at", value=value))
        rows.run(INSERT.format(column="deliver_before", value=value))
        if "infinity" not in value:
            rows.run(INSERT.format(column="created_at", value=value))
    rows.run("alter table relay.outbox alter created_xid set default pg_current_xact_id()")
    return rows


@pytest.fixture
def run(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("RELAY_DATABASE_URL", database_url)
    monkeypatch.setenv("RELAY_PRODUCER", "stdout")
    return lambda *arguments: CliRunner().invoke(command, list(arguments))


@pytest.mark.parametrize("value", [FAR, "'0044-03-15 BC'", "'9999-12-31 12:00+00'", "'0001-01-01 00:00+00'"])
@pytest.mark.parametrize("column", ["available_at", "deliver_before", "created_at"])
def test_a_time_outside_the_years_is_refused_at_the_insert(rows: Rows, column: str, value: str) -> None:
    with pytest.raises(DBAPIError, match=r"a time of this message is outside the years 1 to 9999") as refused:
        rows.run(INSERT.format(column=column, value=value))
    assert getattr(refused.value.orig, "sqlstate") == "23514"  # noqa: B009


def test_what_is_never_due_cannot_be_inserted_and_what_was_held_can_be_restored(rows: Rows) -> None:
    with pytest.raises(DBAPIError, match="never due"):
        rows.run(INSERT.format(column="available_at", value="'infinity'"))
    rows.run(INSERT.format(column="available_at, attempts", value="'infinity', 3"))
    rows.run(INSERT.format(column="available_at, error_code", value="'infinity', 'relay.timeout'"))
    rows.run(INSERT.format(column="available_at, created_xid", value="'infinity', '3'"))  # as a dump has it


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("available_at", "'-infinity'"),
        ("deliver_before", "'infinity'"),
        ("available_at", "'9999-12-30 23:59:59+00'"),
        ("deliver_before", "'0001-01-02 00:00+00'"),
        ("deliver_before", "null"),
    ],
)
def test_what_has_a_meaning_is_taken(rows: Rows, column: str, value: str) -> None:
    rows.run(INSERT.format(column=column, value=value))


def test_the_limits_are_the_same_in_every_zone(engine: Engine) -> None:
    for zone in ("UTC", "Asia/Shanghai", "Pacific/Kiritimati", "Etc/GMT+12"):
        with engine.begin() as connection:
            connection.execute(text(f"set local timezone = '{zone}'"))
            connection.execute(text(INSERT.format(column="available_at", value="'9999-12-30 23:59:59.999999+00'")))
        late = INSERT.format(column="available_at", value="'9999-12-31 00:00+00'")
        with engine.connect() as connection:
            connection.execute(text(f"set local timezone = '{zone}'"))
            with pytest.raises(DBAPIError):
                connection.execute(text(late))


@pytest.mark.parametrize(
    "moment", [datetime.max.replace(tzinfo=UTC), datetime.max.replace(tzinfo=timezone(timedelta(hours=-9)))]
)
@pytest.mark.parametrize("column", ["available_at", "deliver_before"])
def test_python_refuses_it_before_the_database_does(engine: Engine, column: str, moment: datetime) -> None:
    columns: Any = {column: moment}
    with engine.begin() as connection, pytest.raises(MessageError, match="outside the years 1 to 9999"):
        relay.add(connection, "t", {}, **columns)


@pytest.mark.parametrize("zone", ["UTC", "Asia/Shanghai", "America/New_York"])
def test_whatever_is_there_already_is_shown(old_rows: Rows, run: Any, zone: str, database_url: str) -> None:
    name = database_url.rpartition("/")[2].partition("?")[0]
    old_rows.run(f"alter database \"{name}\" set timezone = '{zone}'")
    found = run("list", "--json")
    assert found.exit_code == 0, (found.output, found.exception)
    listed = json.loads(found.stdout)
    assert len(listed["items"]) == 16
    assert any(message["available_at"] and message["available_at"].startswith("55000") for message in listed["items"])
    assert any("BC" in message["created_at"] for message in listed["items"])
    assert "55000" in run("list").stdout
    for message in listed["items"]:
        shown = run("show", message["id"])
        assert (shown.exit_code, shown.stderr) == (0, ""), shown.output
    status = run("status", "--json")
    assert status.exit_code == 0, status.output
    assert json.loads(status.stdout)["far"] == 2
    assert "2, the last in the year 55000: milliseconds taken for seconds?" in run("status").stdout
    checked: Result = run("check", "--no-platform")
    assert "due times" in checked.stdout
    assert "55000" in checked.stdout
    for verb in (("archive", "--older-than", "1d", "--dry-run"), ("prune", "--older-than", "1d", "--dry-run")):
        assert run(*verb).exit_code == 0, run(*verb).output
    ids = [message["id"] for message in listed["items"]]
    discarded = run("discard", *ids, "--reason", "strange")
    assert discarded.exit_code == 0, discarded.output


async def test_a_worker_goes_on_among_them(old_rows: Rows, engine: Engine) -> None:
    bench = Bench(engine, Scripted())

    async def rest_is_far_away() -> bool:
        return old_rows.counts().get("pending") == 3  # two in the far future, one that is held

    async with bench.running() as task:
        await eventually_async(rest_is_far_away)
        assert not task.done()
    expired = old_rows.read("select id from relay.outbox where error_code = 'relay.expired'")
    assert len(expired) == 3


PAUSE = "select relay.pause_scope('account:x', {until}, 'why')"


def test_a_pause_until_infinity_is_one_until_resumed(rows: Rows, run: Any) -> None:
    rows.run(PAUSE.format(until="'infinity'"))
    assert rows.one("select until is null from relay.pause") is True
    assert "account:x" in run("status").stdout
    assert run("resume", "--account", "x", "--reason", "r").exit_code == 0


@pytest.mark.parametrize("until", ["'-infinity'", "now() - interval '1 s'", FAR, "'9999-12-31 23:00+00'"])
def test_a_pause_ends_between_now_and_the_year_9999(rows: Rows, until: str) -> None:
    with pytest.raises(DBAPIError, match="a pause must end between now and the year 9999"):
        rows.run(PAUSE.format(until=until))


@pytest.mark.parametrize("until", ["'infinity'", "'-infinity'", FAR])
async def test_pauses_that_are_there_already_end_no_worker(rows: Rows, engine: Engine, run: Any, until: str) -> None:
    """As the schema before this one took them, or somebody wrote them into the table."""
    rows.run("alter table relay.pause drop constraint pause_until_finite")
    rows.run(f"insert into relay.pause (scope, until, reason, by) values ('account:x', {until}, 'r', 'me')")
    rows.add(2, account="x", deliver_within_seconds=None)
    rows.add(3)
    bench = Bench(engine, Scripted())
    expected = 5 if until == "'-infinity'" else 3

    async def done() -> bool:
        return rows.counts().get("done") == expected

    async with bench.running() as task:
        await eventually_async(done)
        assert not task.done()
    for verb in (("status",), ("check", "--no-platform"), ("resume", "--account", "x", "--reason", "r")):
        assert "cannot reach" not in run(*verb).output


@pytest.mark.parametrize("rate", ["'NaN'", "'Infinity'", "0", "-1", "1e-300"])
def test_a_rate_that_leads_nowhere_is_refused(rows: Rows, rate: str) -> None:
    with pytest.raises(DBAPIError, match="per_second"):
        rows.run(f"select relay.retry(array[1, 2], 'r', 'me', null, {rate})")


@pytest.mark.parametrize(
    "verb",
    [
        ("archive", "--older-than", "800000d", "--reason", "r"),
        ("prune", "--older-than", "800000d", "--reason", "r"),
        ("list", "--since", "999999d"),
        ("retry", "--until", "36501d", "--reason", "r"),
        ("pause", "--account", "x", "--for", "999999d", "--reason", "r"),
        ("status", "--fail-if-older", "999999d"),
    ],
)
def test_a_duration_of_more_than_a_hundred_years_is_a_sentence(run: Any, verb: tuple[str, ...]) -> None:
    refused = run(*verb)
    assert refused.exit_code == 2
    assert "is more than a hundred years" in refused.stderr


def test_a_time_beyond_the_years_reads_as_written_and_compares_as_the_last() -> None:
    far, early = Beyond("55000-11-24 16:00:00+00"), Beyond("4000-01-01 00:00:00+00 BC")
    assert (far.isoformat(), str(early)) == ("55000-11-24T16:00:00+00", "4000-01-01 00:00:00+00 BC")
    assert early < datetime.now(UTC) < far
