"""``relay check`` on what surrounds the tables: the way there, several servers, collations, policies, rules, rights."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, create_engine, make_url, text
from sqlalchemy.pool import NullPool

import relay
from relay.checks import server, way
from relay.embedded import EmbeddedPostgres
from tests.fixtures.checked import Check, run, states
from tests.fixtures.database import Server
from tests.fixtures.proxy import proxied
from tests.fixtures.roles import Roles
from tests.integration.test_connections import way_to

pytestmark = pytest.mark.usefixtures("check_settings")


@pytest.mark.parametrize(
    ("host", "encrypted", "sslmode", "sentence"),
    [
        ("", False, "prefer", None),
        ("127.0.0.1", False, "prefer", None),
        ("::1", True, "prefer", None),
        ("10.1.2.3", True, "verify-full", None),
        ("10.1.2.3", True, "verify-ca", None),
        ("10.1.2.3", True, "require", "10.1.2.3 is encrypted, but with sslmode=require nobody asks who answers there"),
        ("10.1.2.3", False, "prefer", "the connection to 10.1.2.3 is not encrypted"),
        ("db.example.com", False, "disable", "the connection to db.example.com is not encrypted"),
    ],
)
def test_a_way_that_leaves_this_machine_is_encrypted_and_verified(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, host: str, encrypted: bool, sslmode: str, sentence: str | None
) -> None:
    monkeypatch.setattr(way, "_way", lambda _: (host, encrypted, sslmode))
    monkeypatch.setattr(way, "_open_from", lambda *_: None)
    with engine.connect() as connection:
        (found,) = way.encryption(connection, None)  # type: ignore[arg-type]
    assert found.state == ("warn" if sentence else "ok")
    assert (sentence or "") in found.sentence
    assert "sslmode=verify-full" in found.hint or not sentence


@pytest.mark.parametrize(("heard", "state"), [("10.9.9.9", "warn"), ("127.0.0.1", "ok"), ("null", "ok")])
def test_the_way_from_a_pooler_on_is_looked_at_too(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, heard: str, state: str
) -> None:
    address = "null::inet" if heard == "null" else f"inet '{heard}'"
    monkeypatch.setattr(way, "_OPEN_FROM", way._OPEN_FROM.replace("inet_client_addr()", f"({address})"))
    monkeypatch.setattr(way, "leads_to_a_pooler", lambda _: True)
    with engine.connect() as connection:
        (found,) = way.encryption(connection, None)  # type: ignore[arg-type]
    assert found.state == state
    assert state == "ok" or found.sentence.startswith("from 10.9.9.9 on, a pooler or a proxy, ")


def test_the_way_itself_is_looked_at(engine: Engine, database_url: str) -> None:
    with engine.connect() as connection:
        assert way._way(connection) in (("", False, "prefer"), ("127.0.0.1", False, "prefer"))
        assert way._open_from(connection, False) is None
    url = make_url(database_url).update_query_dict({"sslmode": "disable"})
    with create_engine(url, poolclass=NullPool).connect() as connection:
        assert way._way(connection)[1:] == (False, "disable")


@pytest.mark.usefixtures("engine")
def test_a_proxy_that_spreads_connections_over_servers(
    check: Check, database_url: str, own_postgres: EmbeddedPostgres
) -> None:
    name, login = str(make_url(database_url).database), str(make_url(database_url).username)
    with Server(own_postgres.url()).admin() as connection:
        if login != make_url(own_postgres.url()).username:
            connection.execute(text(f'create role "{login}" superuser login'))
        connection.execute(text(f'create database "{name}"'))
    other = make_url(own_postgres.url()).set(database=name)
    relay.migrate(other)
    targets = itertools.cycle([make_url(database_url), other])
    with proxied(lambda: way_to(next(targets))) as proxy:
        spread = make_url(database_url).difference_update_query(["host", "port"]).set(host="127.0.0.1", port=proxy.port)
        facts = check(code=1, RELAY_DATABASE_URL=spread.render_as_string(hide_password=False))
    (found,) = facts["one server"]
    assert found["sentence"] == "4 connections led to 2 servers"
    assert {name for name, state in states(facts).items() if state == "fail"} == {"one server"}


def test_a_proxy_that_spreads_reads_over_a_standby(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = "select max(pid) from pg_stat_activity where datname = current_database()"
    monkeypatch.setattr(way, "_WHICH", f"select pg_backend_pid() = ({mine}) as standby, 1 as started")
    found = check(code=1)["one server"][0]
    assert "of 4 connections led to a standby, the others to a primary" in found["sentence"]


def test_pgpool_in_between_is_named(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    assert states(check())["pooler"] == "ok"
    monkeypatch.setattr(server, "speaks_for_pgpool", lambda _: True)
    (found,) = check()["pooler"]
    assert (found["state"], found["sentence"][:15]) == ("warn", "behind Pgpool-I")


def test_a_collation_that_sorts_otherwise_than_before(check: Check, engine: Engine, postgres: Server) -> None:
    database = engine.url.database
    with engine.connect() as connection:
        version = connection.scalar(text("select current_setting('server_version_num')::integer"))
    if version < 150_000:
        pytest.skip("PostgreSQL 14 does not record versions of collations")
    with postgres.admin() as connection:
        connection.execute(text(f"update pg_database set datcollversion = '0.9' where datname = '{database}'"))
    (found,) = check()["collation"]
    assert (found["state"], "and were by 0.9" in found["sentence"]) == ("warn", True)
    assert "reindex schema concurrently" in found["hint"]


def test_policies_that_hide_rows(check: Check, engine: Engine, roles: Roles) -> None:
    run(engine, "alter table relay.outbox enable row level security")
    assert states(check())["row security"] == "warn"
    facts = check(code=1, RELAY_DATABASE_URL=roles.url("worker"))
    assert states(facts)["row security"] == "fail"
    run(engine, facts["row security"][0]["hint"])
    assert states(check())["row security"] == "ok"


def test_rules_that_rewrite_statements(check: Check, engine: Engine) -> None:
    run(engine, 'create rule "Theirs" as on delete to relay.pause do instead nothing')
    (found,) = check(code=1)["rules"]
    assert (found["state"], found["hint"][:35]) == ("fail", 'drop rule "Theirs" on relay.pause: ')
    run(engine, 'create or replace rule "Theirs" as on delete to relay.pause do also notify x')
    (found,) = check()["rules"]
    assert (found["state"], found["sentence"]) == ("warn", "the rule Theirs rewrites statements on pause")
    run(engine, found["hint"].partition(":")[0])
    assert states(check())["rules"] == "ok"


def test_workers_that_shall_archive_and_may_not(check: Check, engine: Engine, roles: Roles) -> None:
    url = roles.url("worker")
    assert states(check(RELAY_DATABASE_URL=url, RELAY_ARCHIVE_AFTER_DAYS="30"))["archiving"] == "ok"
    run(engine, f"revoke execute on all functions in schema relay from public, {roles.names.worker}")
    facts = check(code=1)
    assert "may not execute archive_calls, archive_messages" in facts["archiving"][0]["sentence"]
    assert "lacks execute on function relay.leave_out_expired(bigint,bigint)" in facts["rights"][0]["sentence"]
    run(engine, facts["rights"][0]["hint"])
    assert states(check(RELAY_ARCHIVE_AFTER_DAYS="0"))["archiving"] == "ok"
    run(engine, facts["archiving"][0]["hint"])
    assert states(check(RELAY_ARCHIVE_AFTER_DAYS="30"))["archiving"] == "ok"


@pytest.fixture
def idle_transaction(engine: Engine, roles: Roles) -> Iterator[None]:
    """Of another role, with a snapshot that it keeps; begun when the roles are made, and over before they go."""
    with engine.connect() as connection:
        connection.execution_options(isolation_level="REPEATABLE READ")
        connection.execute(text("select 1"))
        yield


@pytest.mark.usefixtures("idle_transaction")
def test_a_holder_of_the_horizon_is_seen_by_whoever_may_not_see_since_when(check: Check, roles: Roles) -> None:
    (found,) = check(RELAY_DATABASE_URL=roles.url("worker"))["vacuum horizon"]
    assert "holds it for a time that this role may not see" in found["sentence"]
    assert "pg_read_all_stats" in found["sentence"]


PARTS = {
    "auditor": ("an auditor", 8),
    "operator": ("an operator", 8),
    "dashboard": ("a dashboard", 8),
    "metrics": ("a collector of metrics", 13),
    "app": ("an application", 13),
}


def test_whoever_is_no_worker_is_told_so_and_given_no_grant(check: Check, roles: Roles) -> None:
    """A grant on the outbox would show an auditor every content."""
    for part, (called, least) in PARTS.items():
        facts = check(RELAY_DATABASE_URL=roles.url(part), RELAY_ARCHIVE_AFTER_DAYS="7")
        (found,) = facts["rights"]
        assert found["sentence"].endswith(f"has the rights of {called}; those of a worker were not looked for"), part
        (unseen,) = facts["not looked at"]
        assert len(unseen["sentence"].partition(": ")[2].split(", ")) >= least, unseen
        assert not [fact for told in facts.values() for fact in told if "grant" in fact["hint"]]
        assert {name for name, state in states(facts).items() if state != "ok"} == {"not looked at"}
    assert "not looked at" not in check(RELAY_DATABASE_URL=roles.url("worker"))
