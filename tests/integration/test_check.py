"""``relay check``: each fact made bad on purpose is found by its name, and takes no other fact with it."""

from __future__ import annotations

import asyncio
import json
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from uuid import uuid4

import pytest
from click.testing import CliRunner
from sqlalchemy import Engine, create_engine, make_url, text
from sqlalchemy.pool import NullPool

import relay
from relay.checks import server, vacuum
from relay.checks.catalogue import expected_catalogue, read_catalogue
from relay.checks.examination import REVISION, SERVER, TABLES
from relay.cli.verbs import relay as command
from relay.embedded import EmbeddedPostgres
from relay.sandbox.platform import Platform
from relay.sandbox.server import running_sandbox
from tests.fixtures.checked import Check, run, states
from tests.fixtures.pooler import needs_pgbouncer, pgbouncer
from tests.fixtures.waiting import eventually

pytestmark = pytest.mark.usefixtures("check_settings")

CATALOGUE = Path(relay.__file__).parent / "checks" / "catalogue.json"
WRONG_SECRET = "0123456789abcdef0123456789abcdef"


def test_a_healthy_relay_passes(check: Check) -> None:
    found = states(check())
    assert list(found) == ["settings", *SERVER, *REVISION, *TABLES, "accounts"]
    assert set(found.values()) == {"ok"}


def test_a_superuser_is_told_to_be_less(check: Check, superuser: Engine) -> None:
    url = superuser.url.render_as_string(hide_password=False)
    assert states(check(RELAY_DATABASE_URL=url))["superuser"] == "warn"


def test_for_people_each_fact_is_a_line(superuser: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELAY_DATABASE_URL", superuser.url.render_as_string(hide_password=False))
    result = CliRunner().invoke(command, ["check", "--no-platform"])
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert {line.split()[0] for line in lines} == {"ok", "warn"}
    assert len(lines) == 3 + len(SERVER) + len(TABLES)
    assert [line for line in lines if "-> Give the relay a role of its own" in line]


@pytest.mark.usefixtures("independent")  # as ``relay check`` reads it
def test_the_expected_catalogue_is_what_the_revisions_make(engine: Engine, pytestconfig: pytest.Config) -> None:
    with engine.connect() as connection:
        there = read_catalogue(connection, "relay")
    if pytestconfig.getoption("--update-golden"):
        CATALOGUE.write_text(json.dumps(there, indent=2) + "\n")
    assert there == expected_catalogue(), "if it is meant: pytest --update-golden"
    assert min(map(len, there.values())) >= 4


def test_in_a_schema_of_another_name(check: Check, empty_url: str) -> None:
    """Also after a restore that wrote down with quotes where functions look names up."""
    relay.migrate(empty_url, schema="Odd Name")
    restored = 'alter function "Odd Name".archive_alone() set search_path = pg_catalog, "Odd Name", pg_temp'
    run(create_engine(empty_url, poolclass=NullPool), "set quote_all_identifiers = on", restored)
    assert "fail" not in states(check(RELAY_DATABASE_URL=empty_url, RELAY_SCHEMA="Odd Name")).values()


OLD = "now() - interval '10 minutes'"
MESSAGE = "insert into relay.outbox (topic, content, ordering_key, available_at, created_at, error_code) values "
WRONG_TABLES = {
    "no predicate": (
        "drop index relay.outbox_due; create index outbox_due on relay.outbox (account, available_at, id)",
        "index outbox_due is CREATE INDEX",
    ),
    "no index": ("drop index relay.outbox_failed_heads", "index outbox_failed_heads is missing"),
    "invalid index": (
        "update pg_index set indisvalid = false where indexrelid = 'relay.call_open'::regclass",
        "index call_open is INVALID CREATE INDEX",
    ),
    "no trigger": ("drop trigger outbox_done_is_final on relay.outbox", "trigger outbox_done_is_final is missing"),
    "sleeping trigger": (
        "alter table relay.outbox disable trigger outbox_facts_stay",
        "trigger outbox_facts_stay is DISABLED",
    ),
    "wrong check": (
        "alter table relay.attempt drop constraint attempt_outcome_known, "
        "add constraint attempt_outcome_known check (outcome in ('retry', 'failed'))",
        "constraint attempt_outcome_known is CHECK",
    ),
    "no check of the content": (
        "alter domain relay.content drop constraint content_is_an_object_within_limit",
        "constraint content_is_an_object_within_limit is missing",
    ),
    "no default": ("alter table relay.outbox alter attempts drop default", "column outbox.attempts is integer"),
    "no column": ("alter table relay.catching_up drop column last", "column catching_up.last is missing"),
    "other function": (
        "create or replace function relay.refuse_undoing() returns trigger language plpgsql as 'begin return new; end'",
        "function refuse_undoing() is returns trigger body",
    ),
}


@pytest.mark.parametrize("trouble", WRONG_TABLES)
def test_tables_that_are_not_as_migrated(trouble: str, check: Check, superuser: Engine) -> None:
    made, sentence = WRONG_TABLES[trouble]
    run(superuser, made)
    (found,) = check(code=1)["catalogue"]
    assert found["state"] == "fail"
    assert found["sentence"].startswith(sentence)


def test_what_somebody_added_matters_where_it_has_a_say(check: Check, engine: Engine) -> None:
    run(
        engine,
        "alter table relay.outbox add column theirs text",
        "create index theirs on relay.outbox (theirs)",
        "alter table relay.outbox add constraint theirs check (theirs <> '')",
    )
    (found,) = check()["catalogue"]
    assert (found["state"], found["sentence"][:37]) == ("warn", "constraint theirs is not of the relay")


WARNINGS = {
    "autovacuum": ("alter table relay.outbox set (autovacuum_enabled = off)", "switched off for outbox"),
    "backlog": (f"{MESSAGE} ('t', '{{}}', null, {OLD}, {OLD}, null)", "1 due, the oldest for 6"),
    "held": (f"{MESSAGE} ('t', '{{}}', null, 'infinity', now(), 'relay.timeout')", "1 held"),
    "blocked keys": (
        f"{MESSAGE} ('t', '{{}}', 'k', now() + interval '1 hour', {OLD}, 'isp.x')",
        "1, of which 1 for more than 300 s",
    ),
    "pauses": (
        "insert into relay.pause (scope, reason, by) values ('account:shop-7', 'credentials refused', 'w1')",
        "account:shop-7 until resumed: credentials refused",
    ),
    "failed": (
        "insert into relay.outbox (topic, content, status, finished_at, error_code) "
        "values ('t', '{}', 'failed', now(), 'isv.x')",
        "1 in the last hour, most of them with isv.x",
    ),
    "open calls": (
        f"insert into relay.call (account, worker, message_ids, lease_until) values ('default', 'w1', '{{1}}', {OLD})",
        "1 whose lease ran out",
    ),
}


@pytest.mark.parametrize("name", WARNINGS)
def test_what_somebody_should_look_at(name: str, check: Check, engine: Engine) -> None:
    made, sentence = WARNINGS[name]
    run(engine, made)
    facts = check()
    assert {other for other, state in states(facts).items() if state == "warn"} == {name}
    assert sentence in facts[name][0]["sentence"]


@pytest.mark.parametrize("table", ["outbox", "call", "action"])
def test_a_sequence_left_behind_is_named_with_what_mends_it(table: str, check: Check, engine: Engine) -> None:
    run(
        engine,
        "insert into relay.outbox (topic, content) values ('t', '{}'), ('t', '{}')",
        "insert into relay.call (account, worker, message_ids, lease_until, settled_at, outcome) "
        "values ('default', 'w1', '{1}', now(), now(), 'ok'), ('default', 'w1', '{2}', now(), now(), 'ok')",
        "insert into relay.action (actor, action, reason, count) values ('a', 'retry', 'r', 1), ('a', 'retry', 'r', 1)",
        f"alter sequence relay.{table}_id_seq restart",
    )
    (found,) = check(code=1)["sequences"]
    assert found["state"] == "fail"
    assert f"relay.{table}_id_seq is left behind: id 2 is in use" in found["sentence"]
    run(engine, found["hint"].removeprefix("As the owner: "))
    assert check()["sequences"][0]["state"] == "ok"


def test_many_pauses_are_counted(check: Check, engine: Engine) -> None:
    run(
        engine,
        "insert into relay.pause (scope, reason, by) select 'account:' || n, 'r', 'w' from generate_series(1, 5) n",
    )
    assert check()["pauses"][0]["sentence"].endswith("; 2 more")


@pytest.mark.parametrize("revision", ["0001", "9999"])
def test_at_another_revision_the_tables_are_not_looked_at(revision: str, check: Check, engine: Engine) -> None:
    run(engine, f"update relay.alembic_version set version_num = '{revision}'")
    facts = check(code=1)
    assert states(facts)["revision"] == "fail"
    assert not facts.keys() & TABLES.keys()
    assert states(facts)["accounts"] == "ok"


def test_without_tables(check: Check, empty_url: str) -> None:
    (found,) = check(code=1, RELAY_DATABASE_URL=empty_url)["revision"]
    assert (found["state"], found["hint"]) == ("fail", "Run: relay migrate")


@pytest.fixture
def role(superuser: Engine, database_url: str) -> Iterator[tuple[str, str]]:
    """A role without rights, and the URL to connect as it."""
    name = f"relay_test_{uuid4().hex[:12]}"
    run(superuser, f"create role {name} login password 'secret'")
    yield name, make_url(database_url).set(username=name, password="secret").render_as_string(hide_password=False)
    run(superuser, f"drop owned by {name}; drop role {name}")


def test_a_role_that_may_only_read_is_told_what_it_lacks(check: Check, engine: Engine, role: tuple[str, str]) -> None:
    name, url = role
    run(engine, f"grant usage on schema relay to {name}; grant select on all tables in schema relay to {name}")
    facts = check(code=1, RELAY_DATABASE_URL=url)
    (found,) = facts["rights"]
    assert "update (status, attempts," in found["sentence"]
    assert "lift_pauses" in found["sentence"]
    assert {fact for fact, state in states(facts).items() if state != "ok"} == {
        "rights",
        "sequences",
        "after migrating",
    }
    run(engine, found["hint"])
    assert states(check())["rights"] == "ok"


def test_what_a_role_may_not_see_stops_nothing_else(check: Check, role: tuple[str, str]) -> None:
    facts = check(code=1, RELAY_DATABASE_URL=role[1])
    found = facts["revision"][0]
    assert (found["state"], found["sentence"]) == ("warn", "cannot be looked at: permission denied for schema relay")
    assert {name for name, state in states(facts).items() if state == "fail"} == {"rights"}
    assert (states(facts)["superuser"], states(facts)["catalogue"]) == ("ok", "ok")


def test_who_holds_the_vacuum_horizon(
    check: Check, database_url: str, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert check()["vacuum horizon"][0]["sentence"] == "nobody holds it"
    held = create_engine(database_url, isolation_level="REPEATABLE READ", connect_args={"application_name": "a-report"})
    with held.connect() as connection:
        pid = connection.scalar(text("select pg_backend_pid()"))
        (found,) = check()["vacuum horizon"]
        assert found["state"] == "ok"
        monkeypatch.setattr(vacuum, "OLD_SECONDS", -1)
        (found,) = check()["vacuum horizon"]
        assert found["state"] == "warn"
        assert (
            f"process {pid}, role {engine.url.username}, application a-report, idle in transaction" in found["sentence"]
        )
        assert f"pg_terminate_backend({pid})" in found["hint"]
    held.dispose()


@pytest.mark.parametrize(("seconds", "state"), [(2, "ok"), (10, "warn"), (-10, "warn"), (400, "fail")])
def test_the_clock_of_the_host(check: Check, monkeypatch: pytest.MonkeyPatch, seconds: float, state: str) -> None:
    monkeypatch.setattr(server, "time", SimpleNamespace(time=lambda: time.time() + seconds))
    (found,) = check(code=int(state == "fail"))["clock"]
    assert found["state"] == state
    assert found["sentence"].startswith(f"this host is {abs(seconds)}.0 s {'ahead of' if seconds > 0 else 'behind'}")


def test_a_server_that_is_too_old(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "OLDEST_VERSION", 99)
    assert states(check(code=1))["version"] == "fail"


def test_a_database_that_cannot_be_written_to(check: Check, engine: Engine) -> None:
    run(engine, f"alter database {engine.url.database} set default_transaction_read_only = on")
    facts = check(code=1)
    assert {name for name, state in states(facts).items() if state == "fail"} == {"primary"}


def test_a_lease_with_little_room(check: Check) -> None:
    assert states(check(RELAY_LEASE_SECONDS="20"))["lease"] == "warn"


def test_a_database_that_does_not_answer(check: Check) -> None:
    facts = check(code=69, RELAY_DATABASE_URL=f"postgresql://relay:{WRONG_SECRET}@127.0.0.1:9/shop")
    assert states(facts) == {"settings": "ok", "database": "fail", "accounts": "ok"}
    assert WRONG_SECRET not in str(facts)


def test_settings_that_are_wrong(check: Check) -> None:
    facts = check(code=78, RELAY_BATCH_SIZE="51", RELAY_CONCURENCY="1")
    assert [fact["state"] for fact in facts["settings"]] == ["fail", "fail"]


def test_credentials_that_are_missing(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RELAY_TMC_APP_SECRET")
    assert states(check(code=1))["accounts"] == "fail"
    assert states(check("--account", "shop-7", RELAY_TMC_APP_SECRET="s", RELAY_PRODUCER="stdout"))["accounts"] == "ok"
    assert states(check("--account", "shop-7", RELAY_PRODUCER="tmc"))["accounts"] == "warn"


PLATFORM = {
    "as it should be": ({}, [], 0, "ok", "accepts key, secret and session of the account default"),
    "secret": ({"SECRET": WRONG_SECRET}, [], 1, "fail", "25: Invalid signature"),
    "key": ({"KEY": "99"}, [], 1, "fail", "isv.appkey-not-exists: Invalid app Key"),
    "session": ({"SESSION": "another-session"}, [], 1, "fail", "invalid-sessionkey: Invalid session"),
    "throttled": ({}, ["throttle=5"], 0, "warn", "makes the account default wait"),
    "clock": ({}, ["clock"], 1, "fail", "cannot read our requests: 31"),
    "proxy": ({}, ["http-502"], 1, "fail", "gives no answer: relay.http_502"),
}


@pytest.mark.parametrize("trouble", PLATFORM)
async def test_what_the_platform_says(trouble: str, check: Check) -> None:
    wrong, faults, code, state, sentence = PLATFORM[trouble]
    names = {"KEY": "TMC_APP_KEY", "SECRET": "TMC_APP_SECRET", "SESSION": "TMC_SESSION"}
    credentials = {f"RELAY_{names[part]}": value for part, value in wrong.items()}
    async with running_sandbox(Platform(faults=faults)) as sandbox:
        told = {"code": code, "RELAY_TMC_URL": sandbox.router_url, **credentials}
        facts = await asyncio.to_thread(lambda: check("--account", "default", **told))
        (found,) = facts["platform"]
        assert (found["state"], sentence in found["sentence"]) == (state, True), found
        assert (len(sandbox.platform.calls), sandbox.platform.messages) == (1, []), "one call, and nothing published"
    assert WRONG_SECRET not in str(facts)


def test_a_platform_that_cannot_be_reached(check: Check) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        facts = check("--account", "default", code=1, RELAY_TMC_URL=f"http://127.0.0.1:{taken.getsockname()[1]}/")
    assert facts["platform"][0]["sentence"].startswith("gives no answer: relay.unreachable")


def answers(path: Path) -> bool:
    """Whether somebody listens there: the socket is in the folder a moment before."""
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


@needs_pgbouncer
def test_a_pooler_in_between(check: Check, own_postgres: EmbeddedPostgres) -> None:
    relay.migrate(own_postgres.url())
    assert check(RELAY_DATABASE_URL=own_postgres.url())["pooler"][0]["sentence"].startswith("connected directly")
    folder = Path(tempfile.gettempdir()) / f"relay-pooler-{uuid4().hex[:12]}"  # short: it holds a socket
    with pgbouncer(own_postgres.url(), folder) as url:
        eventually(lambda: answers(folder / ".s.PGSQL.6432"))
        facts = check(RELAY_DATABASE_URL=url)
        assert facts["pooler"][0]["sentence"].startswith("behind a pooler in transaction mode")
        assert states(facts)["catalogue"] == "ok"
        assert states(check(RELAY_WAKEUP="notify"))["pooler"] == "warn"
