"""Every way to the schema ends at the same catalogue, and a host application's own Alembic never notices."""

from __future__ import annotations

import asyncio
import io
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.operations import Operations
from click.testing import CliRunner
from sqlalchemy import Engine, create_engine, make_url, text
from sqlalchemy.exc import SAWarning
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.pool import NullPool

import relay
from relay.cli.verbs import relay as verbs
from relay.errors import ConfigurationError, SchemaError
from relay.revisions import HEAD, REVISIONS, current_revision, require_head
from relay.revisions.migrating import migration_sql
from tests.fixtures.processes import Alembic
from tests.integration.catalogue import catalogue, catalogue_at

ALL = [revision.REVISION for revision in REVISIONS]
ROOT = Path(__file__).parents[2]
ODD = " ".join(
    f"-c {name}={value}"
    for name, value in {
        "standard_conforming_strings": "off",
        "quote_all_identifiers": "on",
        "transform_null_equals": "on",
        "array_nulls": "off",
        "datestyle": "German",
        "plpgsql.extra_errors": "all",
    }.items()
)
SCHEMAS = ["relay", "outbox", "My Schema", 'quote"d', "出库"]


@pytest.fixture
def empty(empty_url: str) -> Iterator[Engine]:
    made = create_engine(empty_url, poolclass=NullPool)
    yield made
    made.dispose()


@pytest.fixture
def wanted(database_url: str) -> dict[str, set[str]]:
    """The catalogue of the migrated schema."""
    found = catalogue_at(database_url)
    assert all(found.values())
    return found


def test_from_empty_and_once_more_on_a_url(empty_url: str, wanted: dict[str, set[str]]) -> None:
    assert relay.migrate(empty_url) == ALL
    assert relay.migrate(empty_url) == []
    assert catalogue_at(empty_url) == wanted


def test_on_an_engine(empty: Engine, wanted: dict[str, set[str]]) -> None:
    assert relay.migrate(empty) == ALL
    with empty.connect() as connection:
        assert catalogue(connection) == wanted


def test_on_a_connection_the_caller_commits(empty: Engine, wanted: dict[str, set[str]]) -> None:
    with empty.connect() as connection:
        assert relay.migrate(connection) == ALL
        connection.rollback()
        assert current_revision(connection, "relay") is None
        assert relay.migrate(connection) == ALL
        connection.commit()
    with empty.connect() as connection:
        assert catalogue(connection) == wanted


async def test_on_an_async_connection(empty_url: str, wanted: dict[str, set[str]]) -> None:
    engine = create_async_engine(empty_url, poolclass=NullPool)
    async with engine.begin() as connection:
        assert await connection.run_sync(relay.migrate) == ALL
    assert catalogue_at(empty_url) == wanted


@pytest.mark.parametrize("schema", SCHEMAS)
def test_under_another_name(schema: str, empty: Engine, wanted: dict[str, set[str]]) -> None:
    assert relay.migrate(empty, schema=schema) == ALL
    assert relay.migrate(empty, schema=schema) == []
    with empty.connect() as connection:
        require_head(connection, schema)
        assert catalogue(connection, schema) == wanted


def test_step_by_step(empty: Engine, wanted: dict[str, set[str]]) -> None:
    for number in ALL:
        assert relay.migrate(empty, to=number) == [number]
    with empty.connect() as connection:
        assert catalogue(connection) == wanted


def test_two_schemas_side_by_side(empty: Engine, wanted: dict[str, set[str]]) -> None:
    assert relay.migrate(empty, schema="one") == relay.migrate(empty, schema="two") == ALL
    with empty.connect() as connection:
        assert catalogue(connection, "one") == catalogue(connection, "two") == wanted


def test_many_at_once(empty_url: str, wanted: dict[str, set[str]]) -> None:
    with ThreadPoolExecutor(8) as pool:
        applied = list(pool.map(relay.migrate, [empty_url] * 8))
    assert sorted(applied) == [[]] * 7 + [ALL]
    assert catalogue_at(empty_url) == wanted


@pytest.mark.parametrize("schema", SCHEMAS)
def test_the_printed_script_does_the_same(schema: str, empty_url: str, wanted: dict[str, set[str]]) -> None:
    """Whatever is set; also in one piece, of which all is read before any of it is run."""
    conninfo = make_url(empty_url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(conninfo, autocommit=True, options=ODD) as connection:
        connection.execute(migration_sql(schema=schema).encode())
    assert catalogue_at(empty_url, schema) == wanted
    assert relay.migrate(empty_url, schema=schema) == []


@pytest.mark.parametrize("schema", ["relay", "My Schema"])
def test_plain_alembic_does_the_same(
    schema: str, empty_url: str, wanted: dict[str, set[str]], alembic: Alembic
) -> None:
    upgraded = alembic("upgrade", "head", url=empty_url, schema=schema)
    assert upgraded.returncode == 0, upgraded.report()
    assert catalogue_at(empty_url, schema) == wanted
    assert relay.migrate(empty_url, schema=schema) == []


def test_alembic_and_our_command_follow_each_other(
    empty_url: str, wanted: dict[str, set[str]], alembic: Alembic
) -> None:
    relay.migrate(empty_url)
    assert alembic("upgrade", "head", url=empty_url).returncode == 0
    assert f"{HEAD} (head)" in alembic("current", url=empty_url).stdout
    downgraded = alembic("downgrade", "base", url=empty_url)
    assert downgraded.returncode == 0, downgraded.report()
    assert not any(catalogue_at(empty_url).values())
    assert relay.migrate(empty_url) == ALL
    assert catalogue_at(empty_url) == wanted


def test_the_newest_revision_can_be_taken_back(empty_url: str, wanted: dict[str, set[str]], alembic: Alembic) -> None:
    relay.migrate(empty_url, to=ALL[-2])
    before = catalogue_at(empty_url)
    assert relay.migrate(empty_url) == ALL[-1:]
    assert catalogue_at(empty_url) == wanted
    taken_back = alembic("downgrade", "-1", url=empty_url)
    assert taken_back.returncode == 0, taken_back.report()
    assert catalogue_at(empty_url) == before


def test_alembic_finds_nothing_to_generate(database_url: str, alembic: Alembic) -> None:
    checked = alembic("check", url=database_url)
    assert checked.returncode == 0, checked.report()


def test_the_offline_script_of_alembic_does_the_same(
    empty_url: str, wanted: dict[str, set[str]], alembic: Alembic
) -> None:
    printed = alembic("upgrade", "head", "--sql", url=empty_url)
    assert printed.returncode == 0, printed.report()
    conninfo = make_url(empty_url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute("\n".join(printed.stdout).encode())
    assert catalogue_at(empty_url) == wanted
    assert relay.migrate(empty_url) == []


class Base(DeclarativeBase):
    """A host application's own models."""


class Order(Base):
    __tablename__ = "shop_order"

    tid: Mapped[int] = mapped_column(primary_key=True)


HOST_ENVIRONMENT = """
from alembic import context

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=context.config.attributes["metadata"])
with context.begin_transaction():
    context.run_migrations()
"""
HOST_FIRST = """
import sqlalchemy as sa
from alembic import op
from relay.revisions import upgrade as relay_upgrade

revision = "host1"
down_revision = None

def upgrade():
    op.create_table("shop_order", sa.Column("tid", sa.Integer, primary_key=True))
    relay_upgrade(op, to="0001")
"""


def test_a_host_migration_brings_our_tables_and_its_check_stays_clean(
    tmp_path: Path, empty: Engine, wanted: dict[str, set[str]]
) -> None:
    """The host asked for one revision and gets that one; the rest comes with a later one, its own or ours."""
    (tmp_path / "versions").mkdir()
    (tmp_path / "env.py").write_text(HOST_ENVIRONMENT)
    (tmp_path / "versions" / "host1.py").write_text(HOST_FIRST)
    config = Config()
    config.set_main_option("script_location", str(tmp_path))
    config.set_main_option("path_separator", "os")
    with empty.connect() as connection:
        config.attributes.update(connection=connection, metadata=Base.metadata)
        command.upgrade(config, "head")
        connection.commit()
        command.check(config)  # raises when it finds something to generate
        assert connection.scalar(text("select version_num from public.alembic_version")) == "host1"
        assert current_revision(connection, "relay") == ALL[0]
        connection.rollback()
        assert relay.migrate(connection) == ALL[1:]
        command.check(config)
        assert catalogue(connection) == wanted


HOST_SECOND = """
import sqlalchemy as sa
from alembic import op
from relay.revisions import downgrade as relay_downgrade, upgrade as relay_upgrade

revision = "host2"
down_revision = "host1"

def upgrade():
    relay_upgrade(op, to="0008")

def downgrade():
    relay_downgrade(op, to="0001")
"""


@pytest.fixture
def host(tmp_path: Path) -> Config:
    """A host application with two revisions of its own, which bring ours."""
    (tmp_path / "versions").mkdir()
    (tmp_path / "env.py").write_text(HOST_ENVIRONMENT)
    (tmp_path / "versions" / "host1.py").write_text(HOST_FIRST)
    (tmp_path / "versions" / "host2.py").write_text(HOST_SECOND)
    config = Config()
    config.set_main_option("script_location", str(tmp_path))
    config.set_main_option("path_separator", "os")
    return config


def test_a_host_takes_our_revisions_back(host: Config, empty: Engine, wanted: dict[str, set[str]]) -> None:
    with empty.connect() as connection:
        host.attributes.update(connection=connection, metadata=Base.metadata)
        command.upgrade(host, "host1")
        first = catalogue(connection)
        command.upgrade(host, "host2")
        assert catalogue(connection) == wanted
        command.downgrade(host, "host1")
        assert catalogue(connection) == first
        assert current_revision(connection, "relay") == ALL[0]
        operations = Operations(MigrationContext.configure(connection))
        assert relay.downgrade(operations, to="base") == ALL[:1]
        assert not any(catalogue(connection).values())
        assert relay.downgrade(operations, to="base") == []
        assert relay.migrate(connection) == ALL
        assert catalogue(connection) == wanted


def test_the_printed_way_back_is_the_same(empty_url: str) -> None:
    relay.migrate(empty_url, to="0006")
    before = catalogue_at(empty_url)
    relay.migrate(empty_url)
    script = io.StringIO()
    context = MigrationContext.configure(dialect_name="postgresql", opts={"as_sql": True, "output_buffer": script})
    assert relay.downgrade(Operations(context), to="0006", start=HEAD) == ALL[:5:-1]
    with psycopg.connect(empty_url.replace("+psycopg", "")) as connection:
        connection.execute(script.getvalue().encode())
    assert catalogue_at(empty_url) == before


@pytest.mark.parametrize("schema", ["relay", "出库"])
def test_a_host_that_looks_at_all_schemas_does_not_drop_ours(schema: str, host: Config, empty: Engine) -> None:
    mine = partial(relay.include_name, schema=schema)
    with empty.connect() as connection:
        Base.metadata.create_all(connection)
        relay.migrate(connection, schema=schema)
        seen = MigrationContext.configure(connection, opts={"include_schemas": True})
        with pytest.warns(SAWarning, match="xid8"):
            assert compare_metadata(seen, Base.metadata)  # it would drop our tables
        clean = MigrationContext.configure(connection, opts={"include_schemas": True, "include_name": mine})
        assert compare_metadata(clean, Base.metadata) == []


@pytest.mark.parametrize("driver", ["", "+asyncpg", "+psycopg2", "+psycopg_async"])
def test_any_driver_s_url_says_where_the_database_is(driver: str, empty_url: str) -> None:
    url = empty_url.replace("+psycopg", driver, 1)
    assert relay.migrate(url) == ALL
    assert relay.migrate(make_url(url)) == []


async def test_an_async_engine_says_where_the_database_is(empty_url: str, wanted: dict[str, set[str]]) -> None:
    engine = create_async_engine(empty_url.replace("+psycopg", "+asyncpg", 1), poolclass=NullPool)
    assert await asyncio.to_thread(relay.migrate, engine) == ALL
    assert catalogue_at(empty_url) == wanted


def test_without_psycopg_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ConfigurationError, match="needs psycopg 3") as refused:
        relay.migrate("postgresql://h/d")
    assert "outbox-relay[worker]" in str(refused.value.hint)


def test_a_host_that_never_heard_of_us_stays_clean(empty: Engine) -> None:
    with empty.connect() as connection:
        Base.metadata.create_all(connection)
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, Base.metadata) == []
        relay.migrate(connection)
        assert compare_metadata(context, Base.metadata) == []


def test_head_is_required_with_the_next_step(empty: Engine) -> None:
    with empty.connect() as connection:
        with pytest.raises(SchemaError, match='no relay tables in schema "relay"') as refused:
            require_head(connection, "relay")
        assert refused.value.hint == "Run: relay migrate"
        relay.migrate(connection)
        require_head(connection, "relay")


def test_an_older_revision_is_named(empty: Engine) -> None:
    with empty.connect() as connection:
        relay.migrate(connection, to=ALL[0])
        with pytest.raises(SchemaError, match=f"at revision {ALL[0]}, this relay needs {HEAD}") as refused:
            require_head(connection, "relay")
        assert refused.value.hint == "Run: relay migrate"


def test_a_newer_revision_is_left_alone(empty: Engine) -> None:
    with empty.connect() as connection:
        relay.migrate(connection)
        connection.execute(text("update relay.alembic_version set version_num = '9999'"))
        with pytest.raises(SchemaError, match="9999, which is newer") as refused:
            require_head(connection, "relay")
        assert "pip install -U" in refused.value.hint
        with pytest.raises(SchemaError, match="9999, which this relay does not know"):
            relay.migrate(connection)


def test_going_back_is_no_migration_and_the_command_says_what_is(
    empty_url: str, empty: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    relay.migrate(empty)
    assert relay.migrate(empty, to="0007") == []  # as a host's migration says it: at least this one
    monkeypatch.setenv("RELAY_DATABASE_URL", empty_url)
    assert CliRunner().invoke(verbs, ["migrate", "--to", ALL[-1]]).stderr == "nothing to do\n"
    refused = CliRunner().invoke(verbs, ["migrate", "--to", "0007"])
    assert (refused.exit_code, current_revision_of(empty)) == (78, ALL[-1])
    assert "does not go back to 0007: nothing was changed" in refused.stderr
    assert 'relay.downgrade(url, to="0007")' in refused.stderr


def current_revision_of(engine: Engine) -> str | None:
    with engine.connect() as connection:
        return current_revision(connection, "relay")


def test_an_unknown_target_names_the_known_ones(empty: Engine) -> None:
    with pytest.raises(ConfigurationError) as refused:
        relay.migrate(empty, to="7")
    assert HEAD in refused.value.hint


@pytest.mark.parametrize("schema", ["it's", "a:b", "100%", "back\\slash"])
def test_a_name_that_the_ddl_cannot_hold_is_refused_before_anything_runs(empty_url: str, schema: str) -> None:
    with pytest.raises(ConfigurationError, match="contains a character"):
        relay.migrate(empty_url, schema=schema)
    engine = create_engine(empty_url)
    with engine.connect() as connection:
        assert connection.scalar(text("select count(*) from pg_namespace where nspname = :name"), {"name": schema}) == 0
    engine.dispose()


def test_who_may_write_a_row_may_write_what_a_revision_adds_to_it(empty: Engine) -> None:
    """A worker goes on after a migration, before its rights are given anew. So does who reads a table."""
    role = f"relay_test_{uuid4().hex[:16]}"
    relay.migrate(empty, to="0007")
    asked = text("select has_column_privilege(:role, 'relay.call', 'nonce', 'insert')")
    reads = text(
        "select array_agg(relname order by relname) from pg_class where relnamespace = to_regnamespace('relay') "
        "and relname like 'read%' and has_table_privilege(:role, oid, 'select')"
    )
    with empty.begin() as connection:
        connection.execute(text(f'create role "{role}"'))
        connection.execute(text(f'grant insert (account, worker, message_ids, lease_until) on relay.call to "{role}"'))
        connection.execute(text(f'grant select on relay.outbox, relay.pause to "{role}"'))
        made = "insert into relay.call (account, worker, message_ids, lease_until) values ('a', 'w', '{1}', now())"
        connection.execute(text(made))
    try:
        relay.migrate(empty)
        with empty.begin() as connection:
            connection.execute(text(made))
            logins = connection.execute(text("select created_by from relay.audit_call order by id")).scalars().all()
            assert logins == [None, connection.scalar(text("select session_user"))], (
                "nobody is named for what was before"
            )
            assert connection.scalar(asked, {"role": role}) is True
            assert connection.scalar(reads, {"role": role}) == ["read_outbox", "read_pause"]
            assert connection.scalar(reads, {"role": "public"}) is None
            assert connection.scalar(text("select has_table_privilege('public', 'relay.call', 'insert')")) is False
    finally:
        with empty.begin() as connection:
            for things in ("tables", "routines"):
                connection.execute(text(f'revoke all on all {things} in schema relay from "{role}"'))
            connection.execute(text(f'drop role "{role}"'))
