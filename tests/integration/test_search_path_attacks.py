"""An application's login that plants functions, operators, types and tables of its own changes nothing of what we do.

Where everybody may create in ``public`` (databases that come from PostgreSQL 14 keep that), what is planted there is a
better match than PostgreSQL's own, and what is planted in ``pg_temp`` would even come first.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy import Engine, create_engine, make_url, text

from relay.roles import roles_sql
from relay.sessions import distrust
from relay.wakeups import Notified
from tests.fixtures.database import Server
from tests.fixtures.hostile import EVIL
from tests.fixtures.roles import Roles
from tests.fixtures.scripted import Bench, Scripted

# These run at each insert, where a setting would be felt.
EACH_INSERT = (
    "keep_evidence",
    "keep_order",
    "refuse_known_key",
    "wake",
    "keep_call",
    "step_over_call_ids",
    "name_calls",
)
PLANTED = EVIL.replace("create schema evil;", "").replace("grant usage on schema evil to public;", "")


def run(url: str, sql: str) -> None:
    """By the bare driver: SQLAlchemy's first question on a connection already calls what somebody planted."""
    conninfo = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute(sql.encode())


@pytest.fixture
def attacked(roles: Roles, postgres: Server, engine: Engine) -> Iterator[Roles]:
    """The application's login has planted what it could."""
    assert engine.url.database
    run(postgres.admin_url(engine.url.database), "grant create on schema public to public")
    run(roles.url("app"), PLANTED.replace("evil.", "public."))
    run(roles.url("app"), "insert into relay.outbox (topic, content, ordering_key) values ('t', '{}', 'k')")
    yield roles
    run(postgres.admin_url(engine.url.database), f"drop owned by {roles.login('app')} cascade")


def test_the_script_of_the_roles_calls_nothing_that_somebody_planted(
    attacked: Roles, postgres: Server, engine: Engine
) -> None:
    """It did: ``'table ' || cast(oid as regclass)`` found an operator of the application's, and ran it as superuser."""
    assert engine.url.database
    run(postgres.admin_url(engine.url.database), roles_sql(attacked.names))


@pytest.mark.parametrize("pooled", [False, True])
def test_the_worker_calls_nothing_that_somebody_planted(attacked: Roles, pooled: bool) -> None:
    engine = create_engine(attacked.url("worker"), isolation_level="READ COMMITTED")
    bench = Bench(engine, producer := Scripted())
    if pooled:
        assert distrust(engine)
    asyncio.run(bench.drain())
    engine.dispose()
    assert len(producer.produced) == 1


def test_a_login_with_a_schema_of_its_own_undoes_nothing(attacked: Roles, postgres: Server, engine: Engine) -> None:
    """Each trigger function looks its names up in fixed places, whatever the path of the session is."""
    assert engine.url.database
    superuser = postgres.admin_url(engine.url.database)
    run(superuser, EVIL.replace("evil", "own"))
    run(superuser, "insert into relay.outbox (topic, content) values ('t', '{}')")
    updates = (
        "update relay.outbox set topic = 'x'",
        "update relay.outbox set content = '{}'",
        "delete from relay.outbox",
        "delete from relay.action",
    )
    for update in updates:
        with pytest.raises(psycopg.Error, match=r"stays as it is|nothing is removed"):
            run(superuser, f"set search_path = own, pg_catalog; {update}")


def test_a_type_of_a_login_s_own_is_not_taken_for_postgresql_s(roles: Roles, engine: Engine) -> None:
    """A domain in ``pg_temp`` comes before every type: its check would run as the owner of a trigger's function."""
    run(
        roles.url("app"),
        """create function pg_temp.seen(pg_catalog.text) returns boolean language plpgsql as
               $f$ begin raise 'called as %', current_user; end $f$;
           create domain pg_temp.text as pg_catalog.text check (pg_temp.seen(value));
           create domain pg_temp.json as pg_catalog.text check (pg_temp.seen(value));
           create domain pg_temp.regclass as pg_catalog.text check (pg_temp.seen(value));
           insert into relay.outbox (topic, content, ordering_key) values ('t', '{"n": 1}', 'k');""",
    )
    with engine.connect() as connection:
        hashed = connection.scalar(
            text("select content_sha256 = sha256(content_salt || '{\"n\": 1}') from relay.outbox")
        )
    assert hashed is True


def test_every_function_of_ours_says_where_it_looks_names_up(engine: Engine) -> None:
    """In ``pg_catalog`` first and in ``pg_temp`` last; or, where each insert or claim goes, all names are qualified."""
    asked = """
        select proname, array_to_string(proconfig, ' '), prosrc from pg_proc
        where pronamespace = cast('relay' as regnamespace)"""
    with engine.connect() as connection:
        functions = connection.execute(text(asked)).all()
    assert len(functions) > 20
    for name, config, source in functions:
        pinned = (config or "").startswith("search_path=pg_catalog, ") and "pg_temp" in config
        assert pinned or (name in EACH_INSERT and "pg_catalog." in source), name
        bare = re.search(r"\bas (text|json|jsonb|regclass|name|timestamptz|date|xid8)\)|is (not )?distinct", source)
        assert pinned or not bare, (name, bare)
        assert "\\" not in source or "standard_conforming_strings=on" in (config or "") or "E'" in source, name


async def test_the_connection_that_listens_is_independent(database_url: str) -> None:
    conninfo = database_url.replace("postgresql+psycopg", "postgresql")
    joined = "&" if "?" in conninfo else "?"
    wakeup = Notified(
        f"{conninfo}{joined}options=-csearch_path%3Devil%20-cstatement_timeout%3D5000", despite_prepared=True
    )
    await wakeup.open()
    assert wakeup.trouble is None
    assert await wakeup._value("select current_setting('search_path')") == "pg_catalog, pg_temp"
    assert await wakeup._value("select current_setting('statement_timeout')") == "0"
    await wakeup.close()
