"""Claims step over locked messages without a word. Whoever keeps them locked is named, and nobody else is."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner
from sqlalchemy import Engine, create_engine, make_url

from relay import lingering
from relay.cli.verbs import relay
from relay.events import Events, LocksSeen
from relay.holders import Holder
from relay.lingering import Lingering
from relay.store import ClaimLimits, Store
from relay.worker.lingering import Lookout
from relay.worker.threads import Threads
from tests.fixtures.checked import Check
from tests.fixtures.hostility import only_where_nothing_is_set
from tests.fixtures.roles import Roles
from tests.fixtures.rows import Rows
from tests.fixtures.waiting import eventually

LOCK = "select id from relay.outbox for update"
OLD = """
insert into relay.outbox (topic, content, available_at, created_at)
select 't', '{}', now() - interval '5 minutes', now() - interval '5 minutes' from generate_series(1, 2)
"""


@pytest.fixture
def rows(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Rows:
    """With messages that have been due for long."""
    monkeypatch.setattr(lingering, "LOOK_AGAIN_SECONDS", 0.01)
    rows = Rows(engine)
    rows.run(OLD)
    return rows


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """No need to wait for a minute."""
    monkeypatch.setattr(lingering, "SECONDS", 0.1)


@contextmanager
def open_transaction(url: str, statement: str) -> Iterator[psycopg.Connection]:
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain, application_name="forgotten") as connection:
        connection.execute(statement.encode())
        yield connection
        connection.rollback()


@pytest.mark.usefixtures("soon", "check_settings")
def test_check_and_status_name_a_session_that_we_may_look_at(rows: Rows, check: Check, database_url: str) -> None:
    with open_transaction(database_url, LOCK) as holder:
        pid, role = holder.info.backend_pid, holder.info.user

        def told() -> dict[str, Any]:
            (found,) = check("--no-platform")["row locks"]
            return found if found["state"] == "warn" else {}

        found = eventually(told)
        assert f"process {pid}, role {role}, application forgotten, leaves a transaction open for " in found["sentence"]
        assert found["hint"].endswith(f"select pg_terminate_backend({pid}), as {role} or a member of pg_signal_backend")
        status = CliRunner().invoke(relay, ["status"]).stdout
        assert f"in the way  process {pid}, role {role}, application forgotten, leaves a transaction" in status
        assert f": select pg_terminate_backend({pid}), as {role} or a member of pg_signal_backend\n" in status
    assert check("--no-platform")["row locks"][0]["state"] == "ok"
    assert "in the way" not in CliRunner().invoke(relay, ["status"]).stdout


@pytest.mark.usefixtures("check_settings")
@pytest.mark.parametrize("part", ["", "operator"])
@only_where_nothing_is_set("the tests' logins see every session")
def test_a_session_that_is_hidden_from_us(
    rows: Rows, check: Check, roles: Roles, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the owner of the tables nor an operator sees since when another role's session is in its transaction."""
    with open_transaction(roles.url("worker"), LOCK) as holder:
        if part:
            monkeypatch.setenv("RELAY_DATABASE_URL", roles.url(part))
        else:
            (found,) = check("--no-platform")["row locks"]
            assert found["state"] == "warn"
            assert found["sentence"].endswith("; since when, a member of pg_monitor sees")
        (told,) = json.loads(CliRunner().invoke(relay, ["status", "--json"]).stdout)["lingering"]
        assert (told["pid"], told["role"], told["application"], told["seconds"]) == (
            *(holder.info.backend_pid, holder.info.user, "forgotten"),
            None,
        )


@pytest.mark.usefixtures("soon", "check_settings")
def test_who_sleeps_in_a_statement_is_named_too(rows: Rows, check: Check, database_url: str) -> None:
    with open_transaction(database_url, LOCK) as holder:
        holder.execute("select pg_sleep(0.2)")
        assert check("--no-platform")["row locks"][0]["state"] == "warn"


@pytest.mark.usefixtures("check_settings")
@pytest.mark.parametrize(
    ("part", "statement", "what"),
    [
        ("worker", "select id from relay.call for update", "calls"),
        ("worker", "select scope from relay.pause for share", "pauses"),
        ("worker", "insert into relay.pace (app_key, next_at) values ('77', now())", "the pace of app keys"),
        ("operator", "select relay.pause_scope('app:77', null, 'later')", "pauses"),
    ],
)
@only_where_nothing_is_set("the tests' logins see every session")
def test_who_keeps_something_else_locked_that_workers_write_is_named_too(
    rows: Rows, check: Check, roles: Roles, part: str, statement: str, what: str
) -> None:
    """Before, nothing told why nothing was settled, or why no call of an app key was made."""
    rows.run("insert into relay.call (account, worker, message_ids, lease_until) values ('x', 'w', '{99}', now())")
    rows.run("insert into relay.pause (scope, reason, by) values (concat('app', chr(58), '1'), 'r', 'w')")
    with open_transaction(roles.url(part), statement) as holder:
        (found,) = check("--no-platform")["row locks"]
        assert f"process {holder.info.backend_pid}, role {holder.info.user}, " in found["sentence"]
        assert f" may have locked {what}, which keeps messages from being sent" in found["sentence"]


@pytest.mark.usefixtures("check_settings")
@pytest.mark.parametrize(
    ("part", "statement"),
    [
        ("auditor", "select count(*) from relay.audit_message"),
        ("worker", "select id from relay.outbox"),
        ("app", "insert into relay.outbox (topic, content, ordering_key, dedupe_key) values ('t', '{}', 'k', 'd')"),
    ],
)
def test_who_cannot_have_locked_a_message_is_not_named(
    rows: Rows, check: Check, roles: Roles, part: str, statement: str
) -> None:
    with open_transaction(roles.url(part), statement):
        assert check("--no-platform")["row locks"][0]["state"] == "ok"


@pytest.mark.usefixtures("check_settings")
def test_nobody_is_named_where_no_message_waits(rows: Rows, check: Check, roles: Roles) -> None:
    rows.run("update relay.outbox set status = 'failed', finished_at = now(), error_code = 'x'")
    rows.add(1)
    with open_transaction(roles.url("worker"), LOCK):
        assert check("--no-platform")["row locks"][0]["state"] == "ok"


@pytest.mark.usefixtures("soon", "check_settings")
@pytest.mark.parametrize("waits", ["nothing", "a key"])
def test_an_application_that_keeps_ordering_keys_to_itself_is_named_while_messages_of_theirs_wait(
    rows: Rows, check: Check, roles: Roles, waits: str
) -> None:
    """All keys of one of 256 locks wait for it: some hundred inserts of one login stop the keys of every account."""
    many = "insert into relay.outbox (topic, content, account, ordering_key) select 't', '{}', 'b', 'k' || n "
    rows.run(
        "insert into relay.outbox (topic, content, ordering_key, available_at, created_at) "
        "select 't', '{}', :key, now() - interval '5 minutes', now() - interval '5 minutes' where :key <> 'nothing'",
        key=waits,
    )
    with open_transaction(roles.url("app"), f"{many} from generate_series(1, 4000) n") as holder:
        (found,) = check("--no-platform")["row locks"]
        if waits == "nothing":
            assert found["state"] == "ok", "only messages without a key wait, and not for this"
            return
        assert f"process {holder.info.backend_pid}, role {roles.login('app')}, " in found["sentence"]
        assert " may have locked ordering keys, which keeps messages from being sent" in found["sentence"]
        status = CliRunner().invoke(relay, ["status"]).stdout
        assert f"in the way  process {holder.info.backend_pid}, " in status


async def test_a_worker_tells_it_while_messages_could_be_sent(rows: Rows, roles: Roles) -> None:
    engine = create_engine(roles.url("worker"), isolation_level="READ COMMITTED")
    store = Store(engine, worker="w", lease_seconds=60)
    threads, told, came = Threads(store.cut_off, patience_seconds=10), list[Any](), asyncio.Event()

    def hear(event: Any) -> None:
        told.append(event)
        if isinstance(event, LocksSeen):
            came.set()

    with open_transaction(roles.url("worker"), LOCK) as holder:
        holder.execute("select pg_sleep(0.02)")
        assert store.claim(ClaimLimits(slots=1)).messages == 0
        assert store.lingering(600.0) == ()
        (found,) = store.lingering(0.01)
        assert (found.pid, found.seconds is None) == (holder.info.backend_pid, False)
        lookout = Lookout(store, threads, Events([hear]), every_seconds=0.01, seconds=0.01)
        looking = asyncio.create_task(lookout.look_forever())
        async with asyncio.timeout(20):
            await came.wait()
        looking.cancel()
        with suppress(asyncio.CancelledError):
            await looking
        assert told[1:] == [LocksSeen(sessions=1, prepared=0)]
        assert told[0].holder.startswith(f"process {found.pid}, role {found.role}, application forgotten, leaves a ")
        rows.run("insert into relay.pause (scope, reason, by) values (concat('account', chr(58), 'default'), 'r', 'w')")
        assert store.lingering(0.01) == ()
    engine.dispose()
    threads.close()


def test_a_worker_waits_until_it_has_seen_for_long_what_is_hidden_from_it() -> None:
    told: list[Any] = []
    lookout = Lookout(None, None, Events([told.append]))  # type: ignore[arg-type]
    hidden = Lingering("3/7", 12, "r", "", None, None, ("outbox",), "process 12, role r", "select 1")
    for now in (0.0, 20.0, 40.0):
        lookout.meet((hidden,), now)
    assert not told
    lookout.meet((), 60.0)  # gone: a new beginning
    for now in (80.0, 100.0, 120.0, 140.0, 160.0):
        lookout.meet((hidden,), now)
    event, count = told
    assert count == LocksSeen(sessions=1, prepared=0)
    lookout.meet((), 180.0)
    assert told[2:] == [LocksSeen(sessions=0, prepared=0)], "it is over"
    assert event.holder.startswith("process 12, role r, leaves a transaction open for 60 s and ")


def test_whoever_chooses_the_name_of_a_prepared_transaction_writes_no_statement_for_us() -> None:
    holder = Holder("3/7", None, "shop", "", None, "x'; drop table orders; --\x1b", 70.0, None, "me", tables=("call",))
    assert holder.remedy.startswith("rollback prepared 'x''; drop table orders; --\\u001b', as shop or ")
    (told,) = lingering.of([holder], 60.0)
    assert str(told).startswith(
        "the prepared transaction x'; drop table orders; --\\u001b of shop, is open for 70 s and "
    )
