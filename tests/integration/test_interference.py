"""What somebody has put on the tables and hides rows or swallows writes: the worker says so, and sends nothing twice.

A policy of rows without a rule for the worker, a rule ``do instead nothing``, a trigger that gives back null: none of
them is an error to PostgreSQL.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest
from click.testing import CliRunner
from sqlalchemy import Engine, create_engine, text

from relay.cli.verbs import relay as command
from relay.errors import RefusedError
from relay.events import CallRefused, CallSettled
from relay.message import Answer, Answered, Batch, Fault, Refused, Result, Scope
from relay.worker import cycle
from tests.fixtures.checked import Check
from tests.fixtures.database import Server
from tests.fixtures.roles import Roles
from tests.fixtures.rows import Rows
from tests.fixtures.scripted import Bench, Scripted, accept
from tests.fixtures.waiting import eventually_async

TABLES = ("outbox", "call", "attempt", "pause")
READ_BY_A_DRAIN = ("outbox", "call", "pause")
SWALLOW = """
create schema theirs;
create function theirs.swallow() returns trigger language plpgsql as 'begin return null; end';
grant usage on schema theirs to public;
"""


@pytest.fixture
def admin(postgres: Server, engine: Engine) -> Iterator[Engine]:
    """The administrator who puts it there."""
    made = create_engine(postgres.admin_url(engine.url.database or ""), isolation_level="AUTOCOMMIT")
    yield made
    made.dispose()


@pytest.fixture
def worker(roles: Roles) -> Iterator[Engine]:
    made = create_engine(roles.url("worker"), isolation_level="READ COMMITTED")
    yield made
    made.dispose()


@pytest.fixture
def rows(engine: Engine) -> Rows:
    return Rows(engine)


def put(admin: Engine, sql: str) -> None:
    with admin.connect() as connection:
        connection.execute(text(sql))


def invoke(*arguments: str, url: str, code: int) -> str:
    environment = {"RELAY_DATABASE_URL": url, "RELAY_PRODUCER": "stdout", "RELAY_METRICS_PORT": "0"}
    result = CliRunner().invoke(command, list(arguments), env=environment)
    assert result.exit_code == code, result.output
    return result.output


@pytest.mark.usefixtures("check_settings")
@pytest.mark.parametrize("table", TABLES)
def test_a_policy_that_hides_rows_is_named_by_whoever_would_not_see_them(
    roles: Roles, admin: Engine, rows: Rows, check: Check, table: str
) -> None:
    rows.add()
    put(admin, f"alter table relay.{table} enable row level security")
    if table in READ_BY_A_DRAIN:
        told = invoke("run", "--drain", url=roles.url("worker"), code=1)
        assert f'row-level security policy for table "{table}"' in told
        assert "hint: Drop what was put there: alter table ... disable row level security" in told
    found = check("--no-platform", code=1, RELAY_DATABASE_URL=roles.url("worker"))["row security"]
    assert [each["state"] for each in found] == ["fail"]
    assert table in found[0]["sentence"]
    assert rows.counts() == {"pending": 1}


@pytest.mark.usefixtures("check_settings")
@pytest.mark.parametrize("verb", [["run", "--drain"], ["list"], ["status"], ["retry", "1", "--reason", "r"]])
def test_a_policy_that_even_the_owner_is_under_is_named(
    database_url: str, admin: Engine, rows: Rows, verb: list[str]
) -> None:
    rows.add()
    put(admin, "alter table relay.outbox enable row level security")
    put(admin, "alter table relay.outbox force row level security")
    assert 'row-level security policy for table "outbox"' in invoke(*verb, url=database_url, code=1)


async def happens(predicate: Callable[[], object]) -> None:
    async def looked() -> object:
        return predicate()

    await eventually_async(looked)


def refuse(batch: Batch) -> Answer:
    return Answered(tuple(Result(Fault.MESSAGE, "isv.bad", "bad") for _ in batch.messages))


def split(_: Batch) -> Answer:
    return Refused(Fault.CONTENT, "41", message="bad")


def ban(_: Batch) -> Answer:
    return Refused(Fault.THROTTLED, "7", message="banned", pause_seconds=0.2, scope=Scope.ACCOUNT)


def trigger(table: str, event: str) -> str:
    return (
        f"{SWALLOW} create trigger swallows before {event} on relay.{table} "
        "for each row execute function theirs.swallow()"
    )


def rule(table: str, event: str) -> str:
    return f"create rule swallows as on {event} to relay.{table} do instead nothing"


@pytest.mark.parametrize(
    ("swallowed", "table", "play"),
    [
        pytest.param(rule("outbox", "update"), "outbox", accept, id="a rule, done"),
        pytest.param(rule("outbox", "update"), "outbox", refuse, id="a rule, failed"),
        pytest.param(rule("call", "update"), "call", accept, id="a rule, calls"),
        pytest.param(rule("attempt", "insert"), "attempt", refuse, id="a rule, attempts"),
        pytest.param(trigger("outbox", "update"), "outbox", accept, id="a trigger, done"),
        pytest.param(trigger("outbox", "update"), "outbox", refuse, id="a trigger, failed"),
        pytest.param(trigger("call", "update"), "call", accept, id="a trigger, calls"),
        pytest.param(trigger("attempt", "insert"), "attempt", refuse, id="a trigger, attempts"),
        pytest.param(trigger("call", "insert"), "call", split, id="a trigger, halves"),
        pytest.param(trigger("pause", "insert"), "pause", ban, id="a trigger, pauses"),
    ],
)
def test_what_is_swallowed_is_told_and_sent_once(
    worker: Engine, admin: Engine, rows: Rows, swallowed: str, table: str, play: Callable[[Batch], Answer]
) -> None:
    """The first of them was sent more than a thousand times a second, and logged as done each time."""
    rows.add(2)

    async def scenario() -> None:
        async with bench.running():
            await happens(lambda: len(bench.told(CallRefused)) > 1)  # it has been tried again
            assert len(producer.calls) == 1
            mend = "drop schema theirs cascade" if "trigger" in swallowed else f"drop rule swallows on relay.{table}"
            await asyncio.to_thread(put, admin, mend)
            producer.play = accept
            await happens(lambda: bench.told(CallSettled))

    async def put_it_there() -> None:
        """While the call is under way: it could be claimed before."""
        producer.inside = None
        await asyncio.to_thread(put, admin, swallowed)

    bench = Bench(worker, producer := Scripted(play))
    producer.inside = put_it_there
    asyncio.run(scenario())
    told = bench.told(CallRefused)[0].error
    assert "rule" in told or f"swallows on {table}" in told or f'relation "{table}"' in told


def test_a_claim_that_is_swallowed_is_told(
    worker: Engine, admin: Engine, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A drain went round for ever, without a word."""
    monkeypatch.setattr(cycle, "_REFUSALS", 2)  # it waits between them, each time longer
    rows.add(2)
    put(admin, trigger("call", "insert"))
    bench = Bench(worker, producer := Scripted())
    with pytest.raises(RefusedError, match="the trigger swallows on call"):
        asyncio.run(bench.drain())
    assert producer.calls == []
