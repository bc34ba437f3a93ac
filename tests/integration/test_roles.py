"""Each role can do its work and nothing else: what is refused is written out, one statement at a time."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import asdict

import psycopg
import pytest
from click.testing import CliRunner
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.pool import NullPool

import relay
from relay.cli.verbs import relay as command
from relay.message import ACCEPTED, Answered, Batch, Fault, Refused, Result
from relay.outbox.columns import Columns
from relay.outcomes import Policy, decide, without_credentials
from relay.roles import MAY, VIEWS, RoleNames, roles_sql
from relay.sql import VERSION_TABLE
from relay.store import ClaimLimits, Store
from relay.windows import WINDOWS
from tests.contract.writers import EVERY
from tests.fixtures.database import Server
from tests.fixtures.processes import StartRelay
from tests.fixtures.roles import Roles
from tests.fixtures.rows import Rows

ARCHIVES = {"outbox_archive", "call_archive", "attempt_archive"}
OWN = {"outbox", "call", "attempt", "pause", "pause_past", "pace", "action", "mask", "catching_up", VERSION_TABLE}
TABLES = OWN | ARCHIVES | {"dedupe"}
PARTS = ("app", "worker", "auditor", "operator", "metrics", "dashboard")
FUNCTIONS = {
    "retry": "select relay.retry('{1}', 'r')",
    "discard": "select relay.discard('{1}', 'r')",
    "pause_scope": "select relay.pause_scope('account:a', null, 'r')",
    "resume_scope": "select relay.resume_scope('account:a', 'r')",
    "find": "select relay.find('retry')",
    "why_not": "select relay.why_not('retry', '{1}')",
    "retry as ann": "select relay.retry('{1}', 'r', 'ann', null, null)",
    "discard as ann": "select relay.discard('{1}', 'r', 'ann', null)",
    "pause_scope as ann": "select relay.pause_scope('account:a', null, 'r', 'ann', null)",
    "resume_scope as ann": "select relay.resume_scope('account:a', 'r', 'ann', null)",
    "latest_messages": "select relay.latest_messages(1)",
    "lock_messages": "select relay.lock_messages('retry', '{1}')",
    "record_action": "select relay.record_action('retry', 'ann', 'r', null, null, 0)",
    "archive_messages": "select relay.archive_messages(now() - interval '1 day', 1, false, 'a', 'r', 0)",
    "archive_calls": "select relay.archive_calls(now() - interval '1 day', 1, 'a', 'r', 0)",
    "leave_out_expired": "select relay.leave_out_expired(1, 0)",
    "lift_pauses": "select relay.lift_pauses('{app:1}', '{f}')",
    "open_archive": "select relay.open_archive('2026-01-01')",
    "open_archives": "select relay.open_archives('{2026-01-01}')",
    "sequences_left_behind": "select relay.sequences_left_behind()",
    "step_over_used_ids": "select relay.step_over_used_ids('outbox')",
    "unused_id": "select relay.unused_id(1, '1')",
    "archive_alone": "select relay.archive_alone()",
    "name_calls": "select relay.name_calls()",
    "nobody_names_calls": "select relay.nobody_names_calls()",
    "wait_for_key": "select relay.wait_for_key('pg_class', 1)",
    "unused_call_id": "select relay.unused_call_id(1)",
    "salt_messages": "select relay.salt_messages('{1}')",
    "salt_ledger": "select relay.salt_ledger(0, 1)",
    "salt_page": "select relay.salt_page('outbox', 1, 0, 1)",
    "ask_content": "select relay.ask_content(1, '{}', 'r')",
    "content_is": "select relay.content_is(1)",
    "forget_keys": "select relay.forget_keys(now() - interval '9 days', 1, 'a', 'r')",
    "index_month": "select relay.index_month(1)",
    "record_salting": "select relay.record_salting('outbox', 1)",
    "remember_page": "select relay.remember_page(1, 0, 1)",
    "catch_up": "select relay.catch_up(1)",
    "left_to_do": "select relay.left_to_do()",
    "record_start": "select relay.record_start('w', '1', '{}')",
}
READABLE = {
    "app": {"outbox": "id"},
    "worker": {"outbox": ", ".join(("topic", "content", *Columns.__annotations__, "id", "status", "content_sha256"))}
    | dict.fromkeys(("call", "attempt", "pause", "pace", VERSION_TABLE, "blocked_keys"), "*")
    | {f"read_{table}": "*" for table in ("outbox", "call", "attempt", "pause", "pace", "outbox_archive")},
    "auditor": dict.fromkeys((*VIEWS, *WINDOWS), "*"),
    "operator": dict.fromkeys((*VIEWS, *WINDOWS), "*"),
    "metrics": {"audit_backlog": "*"},
    "dashboard": dict.fromkeys((*VIEWS, *WINDOWS), "*"),
}
INSERT = "insert into relay.outbox (topic, content) values ('t', '{}')"
WRITES = {
    "a message with a status": "insert into relay.outbox (topic, content, status) values ('t', '{}', 'pending')",
    "a message of another time": "insert into relay.outbox (topic, content, created_at) values ('t', '{}', now())",
    "a message of another user": "insert into relay.outbox (topic, content, created_by) values ('t', '{}', 'x')",
    "a message with a hash": "insert into relay.outbox (topic, content, content_sha256) values ('t', '{}', '')",
    "content": "update relay.outbox set content = '{}'",
    "topic": "update relay.outbox set topic = 'x'",
    "the hash": "update relay.outbox set content_sha256 = ''",
    "the salt": "update relay.outbox set content_salt = ''",
    "a message with a salt": "insert into relay.outbox (topic, content, content_salt) values ('t', '{}', '')",
    "deliver_before": "update relay.outbox set deliver_before = now()",
    "removed messages": "delete from relay.outbox",
    "emptied messages": "truncate relay.outbox",
    "which messages a call had": "update relay.call set message_ids = '{1}'",
    "when a call was claimed": "update relay.call set claimed_at = now()",
    "removed calls": "delete from relay.call",
    "an attempt": "update relay.attempt set outcome = 'retry'",
    "removed attempts": "delete from relay.attempt",
    "the ledger": "insert into relay.action (actor, action, reason, count) values ('x', 'retry', 'r', 0)",
    "an attempt of another time": "insert into relay.attempt (message_id, call_id, result_index, outcome, at) "
    "values (1, 1, 0, 'retry', now())",
    "a pause of another time": "insert into relay.pause (scope, reason, by, since) values ('app:1', 'r', 'w', now())",
    "a pause of another login": "insert into relay.pause (scope, reason, by, db_user) values ('app:1', 'r', 'w', 'x')",
    "another scope of a pause": "update relay.pause set scope = 'app:1'",
    "no pause": "delete from relay.pause",
    **{f"{table} for nobody else": f"lock table relay.{table} in share row exclusive mode" for table in OWN},
    "a pause's past": "insert into relay.pause_past select * from relay.pause_past",
    "removed pauses' past": "delete from relay.pause_past",
    "the ledger's past": "update relay.action set reason = 'x'",
    "removed ledger": "delete from relay.action",
    "an archived message": "insert into relay.outbox_archive select * from relay.outbox",
    "the archive": "update relay.outbox_archive set content = '{}'",
    "removed archive": "delete from relay.outbox_archive",
    "emptied archive": "truncate relay.outbox_archive",
    "a dropped month": "drop table relay.outbox_archive_y2026m01",
    "a mask": "delete from relay.mask",
    "the revision": f"update relay.{VERSION_TABLE} set version_num = '1'",
    "a table": "create table relay.x (id integer)",
    "a trigger": "alter table relay.outbox disable trigger all",
    "replication role": "set session_replication_role = 'replica'",
}
WORKERS = {
    "the state": "update relay.outbox set status = 'failed', finished_at = now()",
    "a call": "insert into relay.call (account, worker, message_ids, lease_until) values ('a', 'w', '{1}', now())",
    "an end and its attempt": "update relay.call set outcome = 'unknown', settled_at = now() where id = 1; "
    "insert into relay.attempt values (1, 1, 0, 'retry')",
    "a pause": "insert into relay.pause (scope, reason, by) values ('account:a', 'r', 'w')",
    "a pace": "insert into relay.pace values ('1', now())",
}
Login = Callable[[str], psycopg.Connection[tuple[object, ...]]]


@pytest.fixture
def rows(engine: Engine) -> Rows:
    return Rows(engine)


@pytest.fixture
def login(roles: Roles) -> Iterator[Login]:
    """A connection in autocommit as a member of this role."""
    opened = []

    def connect(part: str) -> psycopg.Connection[tuple[object, ...]]:
        opened.append(psycopg.connect(roles.url(part).replace("+psycopg", ""), autocommit=True))
        return opened[-1]

    yield connect
    for connection in opened:
        connection.close()


def refused(connection: psycopg.Connection[tuple[object, ...]], statement: str) -> bool:
    """Whether there is no right to do this; what is allowed is undone. Any other error is one."""
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(statement.encode())
    except psycopg.errors.InsufficientPrivilege:
        return True
    return False


@pytest.mark.parametrize("part", PARTS)
def test_promise_10_a_role_reads_what_is_its_own(login: Login, rows: Rows, part: str) -> None:
    """Of views that have rows, for an empty one calls none of the functions in it."""
    blocked, unclear = rows.add(key="k"), rows.add()
    rows.run(
        "update relay.outbox set available_at = now() + interval '1 day', error_message = 'x' where id = :id",
        id=blocked[0],
    )
    rows.run(
        "update relay.outbox set status = 'failed', finished_at = now(), call_id = 1 where id = :id", id=unclear[0]
    )
    rows.run(WORKERS["a call"].replace("'{1}'", ":ids"), ids=unclear)
    rows.run("insert into relay.attempt values (:id, 1, 0, 'unknown')", id=unclear[0])
    rows.run(WORKERS["a pause"])
    rows.run(WRITES["the ledger"])
    assert [view for view in VIEWS if not rows.read(f"select * from relay.{view}")] == []
    with login(part) as connection:
        for name in sorted(TABLES | {*VIEWS, *WINDOWS}):
            columns = READABLE[part].get(name)
            assert refused(connection, f"select {columns or '*'} from relay.{name}") == (columns is None), name
            if columns != "*":
                assert refused(connection, f"select * from relay.{name}"), name


@pytest.mark.parametrize("part", PARTS)
def test_promise_10_a_role_writes_what_is_its_own(login: Login, rows: Rows, part: str) -> None:
    rows.add()
    rows.run("select relay.open_archive('2026-01-01')")
    rows.run(WORKERS["a call"])
    with login(part) as connection:
        assert refused(connection, INSERT) == (part != "app")
        assert [name for name, statement in WRITES.items() if not refused(connection, statement)] == []
        allowed = [name for name, statement in WORKERS.items() if not refused(connection, statement)]
        assert allowed == (list(WORKERS) if part == "worker" else [])


@pytest.mark.parametrize("part", PARTS)
def test_a_role_calls_what_is_its_own(login: Login, part: str) -> None:
    operators = [
        name
        for name in FUNCTIONS
        if name.startswith(("find", "why_not", "retry", "discard", "pause", "resume", "latest"))
    ]
    own = {
        "operator": operators,
        "auditor": ["latest_messages"],
        "worker": [
            *("archive_messages", "archive_calls", "leave_out_expired", "lift_pauses", "sequences_left_behind"),
            *("name_calls", "nobody_names_calls", "left_to_do", "record_start"),
        ],
    }
    with login(part) as connection:
        assert [name for name, call in FUNCTIONS.items() if not refused(connection, call)] == own.get(part, [])


OWNERS = ("lock", "record", "open", "index", "step_over", "unused", "is_", "salt", "remember", "archive_al", "wait_")


def test_before_any_role_is_made_nobody_may_call_them(rows: Rows) -> None:
    """They run with the rights of whoever migrated, perhaps a superuser."""
    found = rows.read(
        "select proname, cast(cast(oid as regprocedure) as text) as function, "
        "has_function_privilege('pg_monitor', oid, 'execute') as may "
        "from pg_proc where pronamespace = to_regnamespace('relay') and prorettype <> cast('trigger' as regtype) "
        "and (prosecdef or proname = any (:owners))",
        owners=[name for name in FUNCTIONS if name.startswith(OWNERS)],
    )
    assert {row.proname for row in found} == {name.removesuffix(" as ann") for name in FUNCTIONS}
    assert len(found) == len(FUNCTIONS)
    assert [row.function for row in found if row.may] == []


def test_nobody_else_sees_anything(roles: Roles, engine: Engine) -> None:
    with engine.connect() as connection:
        connection.execute(text("create role relay_test_nobody; grant relay_test_nobody to current_user"))
        connection.execute(text("set local role relay_test_nobody"))
        with pytest.raises(ProgrammingError, match="permission denied for schema relay"):
            connection.execute(text("select * from relay.audit_backlog"))


@pytest.mark.parametrize("writer", EVERY)
async def test_the_app_inserts_in_every_way(roles: Roles, rows: Rows, writer: str) -> None:
    async with EVERY[writer](roles.url("app")) as transaction:
        assert await transaction.add("topic", {"tid": 1}, ordering_key="1", producer="shop", headers={"a": "b"})
        assert await transaction.add("topic", {"tid": 2}, dedupe_key="2")
        await transaction.commit()
    assert rows.one("select count(*) from relay.outbox where length(content_sha256) = 32") == 2
    assert rows.one("select distinct created_by from relay.outbox") == roles.login("app")


def test_the_app_may_name_exactly_the_public_columns(roles: Roles, rows: Rows) -> None:
    may = rows.read(
        "select attname from pg_attribute where attrelid = to_regclass('relay.outbox') and attnum > 0 "
        "and has_column_privilege(cast(:role as name), attrelid, attnum, 'insert')",
        role=roles.names.app,
    )
    assert {row.attname for row in may} == {"topic", "content", *Columns.__annotations__}


def claim(store: Store) -> Batch:
    (batch,) = store.claim(ClaimLimits(slots=1)).batches
    return batch


def test_the_worker_does_all_that_a_worker_does(roles: Roles, rows: Rows) -> None:
    rows.add(2, key="k")
    rows.add(3)
    rows.add(deliver_within_seconds=-1)
    engine = create_engine(roles.url("worker"), poolclass=NullPool, isolation_level="READ COMMITTED")
    store, rng = Store(engine, worker="w", lease_seconds=60), random.Random(1)
    first = claim(store)
    assert len(first) == 4
    results = (ACCEPTED, Result(Fault.MESSAGE, "isv.x"), Result(Fault.PROVIDER, "isp.x"), ACCEPTED)
    store.settle([decide(first, Answered(results), Policy(), rng)], {})
    second = claim(store)
    assert store.extend([second.key]) == {second.key}
    rows.lapse_leases()
    assert len(store.recover(Policy(), rng)) == 1
    rows.run("update relay.outbox set available_at = now() where status = 'pending'")
    refused_batch = decide(claim(store), Refused(Fault.CONTENT, "41"), Policy(), rng)
    halves = store.settle([refused_batch], {}).children
    for half in halves:
        store.settle([decide(half, Answered((ACCEPTED,) * len(half)), Policy(), rng)], {})
    rows.add(account="b")
    no_session = Refused(Fault.CREDENTIALS, "27", credential="f")
    store.settle([decide(claim(store), no_session, Policy(), rng)], {})
    assert [pause.scope for pause in store.pauses()] == ["account:b"]
    assert store.lift_pause("account:b", "f")
    store.pause_all([without_credentials(account) for account in ("b", "nobody")])
    store.pause_all([without_credentials(account) for account in ("b", "one more")])
    assert store.refused_accounts("", 2) == {"b": "none", "nobody": "none"}
    assert store.refused_accounts("nobody", 2) == {"one more": "none"}
    assert [pause.scope for pause in store.pauses_of(["b", "c"])] == ["account:b"]
    assert store.lift_pauses({"account:b": "none", "account:nobody": "another"}) == ("account:b",)
    assert store.reserve("1", 0.5) == store.reserve("2", 0.5) == 0.0
    assert store.pending() == 1
    assert not store.still_moving(["b"])
    assert rows.counts() == {"done": 4, "failed": 2, "pending": 1}


def test_the_worker_drains_a_backlog(roles: Roles, rows: Rows, start_relay: StartRelay) -> None:
    rows.add(120)
    env = {"RELAY_DATABASE_URL": roles.url("worker"), "RELAY_METRICS_PORT": "0"}
    worker = start_relay("run", "--drain", "--producer", "stdout", env=env)
    assert worker.wait() == 0, worker.stderr
    assert rows.counts() == {"done": 120}


def test_a_call_bears_the_login_that_made_it(roles: Roles, rows: Rows, login: Login) -> None:
    made = (
        "insert into relay.call (account, worker, message_ids, lease_until{}) values ('a', 'another', '{{9}}', now(){})"
    )
    with login("worker") as connection:
        connection.execute(made.format("", "").encode())
    for forged in (made.format(", created_by", ", 'another'"), "update relay.call set created_by = 'another'"):
        with login("worker") as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(forged.encode())
    asked = "select worker, created_by from relay.audit_call"
    with login("auditor") as connection:
        assert connection.execute(asked.encode()).fetchall() == [("another", roles.login("worker"))]
    rows.run("update relay.call set settled_at = now(), outcome = 'released'")
    for _ in ("the month", "the call"):
        rows.run("select relay.archive_calls(now(), 10, 'a', 'r', 0)")
    assert rows.read("select from relay.call") == []
    assert [tuple(row) for row in rows.read(asked)] == [("another", roles.login("worker"))]


def test_the_operators_functions_change_and_record(roles: Roles, rows: Rows, login: Login) -> None:
    failed, held, pending, in_flight, done, expired, redacted = rows.add(7)
    end = "update relay.outbox set status = 'failed', finished_at = now(), error_code = 'isv.x' where id = any (:ids)"
    rows.run(end, ids=[failed, expired, redacted])
    rows.run("update relay.outbox set available_at = 'infinity' where id = any (:ids)", ids=[held, in_flight])
    rows.run("update relay.outbox set deliver_before = now() where id = :id", id=expired)
    rows.run(
        "update relay.outbox set status = 'done', finished_at = now(), call_id = 1, result_index = 0 where id = :id",
        id=done,
    )
    with rows.engine.begin() as connection:
        connection.execute(text("set local relay.redacting = 'on'"))
        connection.execute(
            text("update relay.outbox set content = cast(:content as json), content_salt = '' where id = :id"),
            {"content": '{"redacted": true}', "id": redacted},
        )
    rows.run(
        "insert into relay.call (account, worker, message_ids, lease_until) values ('default', 'w', :ids, now())",
        ids=[in_flight],
    )
    everything = [failed, held, pending, in_flight, done, expired, redacted, 99]
    with login("operator") as connection:

        def call(function: str, *arguments: object) -> object:
            marks = ", ".join(["%s"] * len(arguments))
            row = connection.execute(f"select relay.{function}({marks})".encode(), arguments).fetchone()
            assert row is not None
            return row[0]

        assert call("retry", everything, "the platform is back") == [failed, held]
        assert call("retry", [done], "again") == []
        assert call("discard", everything, "not needed") == [failed, held, pending, expired, redacted]
        assert call("discard", everything, "not needed") == []
        call("pause_scope", "account:a", None, "maintenance")
        assert call("resume_scope", "account:a", "over") is True
        assert call("resume_scope", "account:a", "over") is False
        with pytest.raises(psycopg.errors.CheckViolation, match="action_reason_given"):
            call("pause_scope", "account:a", None, " ")
    ledger = rows.read("select actor, db_user, action, reason, message_ids, count from relay.action order by id")
    me = roles.login("operator")
    assert [tuple(row) for row in ledger] == [
        (me, me, "retry", "the platform is back", [failed, held], 2),
        (me, me, "discard", "not needed", [failed, held, pending, expired, redacted], 5),
        (me, me, "pause", "maintenance", None, 0),
        (me, me, "resume", "over", None, 0),
    ]
    assert (rows.message(failed).error_code, rows.message(failed).error_message) == ("relay.discarded", "not needed")
    assert rows.one("select status from relay.outbox where id = :id", id=in_flight) == "pending"


def test_the_operators_functions_want_read_committed(rows: Rows, login: Login) -> None:
    (id_,) = rows.add()
    with login("operator") as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.autocommit = False
        with pytest.raises(psycopg.errors.InvalidTransactionState, match="READ COMMITTED"):
            connection.execute("select relay.discard(%s, 'r')", [[id_]])


def test_a_function_of_the_operator_finds_no_table_of_the_caller(rows: Rows, login: Login) -> None:
    (id_,) = rows.add()
    with login("operator") as connection:
        connection.execute("create temporary table action (id integer)")
        connection.execute("create temporary table outbox (id bigint, status text)")
        connection.execute("set search_path = pg_temp, relay")
        connection.execute("select relay.discard(%s, 'r')", [[id_]])
    assert (rows.message(id_).error_code, rows.one("select count(*) from relay.action")) == ("relay.discarded", 1)


def test_the_script_can_be_run_again_and_takes_back_what_is_too_much(roles: Roles, rows: Rows, login: Login) -> None:
    rows.run(f"grant select, update, delete on relay.outbox to {roles.names.app}, public")
    rows.run(f"grant select (content) on relay.outbox to {roles.names.app}")
    roles.run_script()
    with login("app") as connection:
        assert refused(connection, "select content from relay.outbox")
        assert refused(connection, "delete from relay.outbox")
        assert not refused(connection, INSERT)


def test_the_owner_is_no_superuser_and_everything_is_its_own(roles: Roles, rows: Rows, login: Login) -> None:
    owners = rows.read(
        "select distinct owner from ("
        "select relowner as owner from pg_class where relnamespace = to_regnamespace('relay')"
        " union select proowner from pg_proc where pronamespace = to_regnamespace('relay')"
        " union select nspowner from pg_namespace where nspname = 'relay') as found"
    )
    assert len(owners) == 1
    assert (
        rows.one("select rolsuper or rolcanlogin from pg_roles where rolname = :name", name=roles.names.owner) is False
    )
    with login("owner") as connection:
        assert not refused(connection, "update relay.outbox set status = 'failed', finished_at = now()")
        assert refused(connection, WRITES["replication role"])


def test_under_another_schema_and_odd_names(postgres: Server, empty_url: str) -> None:
    schema = 'my "relay'
    relay.migrate(empty_url, schema=schema)
    made = Roles(postgres, empty_url, schema)
    try:
        made.make()
        with psycopg.connect(made.url("app").replace("+psycopg", ""), autocommit=True) as connection:
            assert relay.add(connection, "t", {}, schema=schema, allow_autocommit=True) == 1
    finally:
        made.drop()


def test_the_command_prints_what_the_function_makes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELAY_SCHEMA", "outbox")
    names = [f"--{part}={part}s" for part in asdict(RoleNames())]
    result = CliRunner().invoke(command, ["roles", "--sql", *names])
    assert result.exit_code == 0, result.output
    assert result.stdout == roles_sql(RoleNames(*(f"{part}s" for part in asdict(RoleNames()))), schema="outbox")
    told = CliRunner().invoke(command, ["roles", "--app", "shop"])
    assert [line.split()[0] for line in told.stdout.splitlines()] == [
        "role", "relay_owner", "shop", "relay_worker", "relay_auditor", "relay_operator", "relay_metrics",
        "relay_dashboard",
    ]  # fmt: skip
    assert CliRunner().invoke(command, ["roles", "--sql", "--app", "relay_owner"]).exit_code == 2
    assert list(MAY) == list(asdict(RoleNames()))
