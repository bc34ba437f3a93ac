"""The Django application: its migrations and the relay's revisions agree, and ``manage.py relay`` is the command."""

from __future__ import annotations

import ast
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.core.management.base import SystemCheckError
from django.db import connection, connections
from django.db.backends.postgresql.base import DatabaseWrapper
from django.db.backends.sqlite3 import base as sqlite3
from django.db.migrations.loader import MigrationLoader
from django.test.utils import override_settings
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import create_engine, make_url, text

import relay
from relay.addresses import conninfo, normalized_url
from relay.errors import ConfigurationError
from relay.integrations.django.management.commands import relay as command
from relay.integrations.django.places import url_of
from relay.integrations.django.revisions import bring_to, take_back_to
from relay.revisions import HEAD, REVISIONS, current_revision
from tests.fixtures.database import Server
from tests.fixtures.django_project import SECOND, configure, databases_at, parameters
from tests.fixtures.hostility import only_where_nothing_is_set

ROOT = Path(__file__).parents[2]
OURS = ("relay", "0001")
quiet = {"verbosity": 0}


class OnlyTheSecond:
    """A router that keeps the relay out of the default database."""

    def allow_migrate(self, db: str, app_label: str, **_: Any) -> bool | None:
        return db == SECOND if app_label == "relay" else None


@pytest.fixture
def empty(empty_url: str) -> Iterator[str]:
    with databases_at(default=empty_url):
        yield empty_url


def revision(url: str, schema: str = "relay") -> str | None:
    engine = create_engine(url)
    try:
        with engine.connect() as asking:
            return current_revision(asking, schema)
    finally:
        engine.dispose()


def test_the_newest_revision_has_a_migration() -> None:
    folder = ROOT / "relay" / "integrations" / "django" / "migrations"
    told = [
        node.args[0].value
        for path in sorted(folder.glob("0*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "ToRevision"
        if isinstance(node.args[0], ast.Constant)
    ]
    assert told == sorted(told)
    assert told[-1] == HEAD, "add a migration of Django's that brings the tables to it"


@only_where_nothing_is_set("Django's own sessions cannot work there")
def test_migrate_makes_what_relay_migrate_makes_and_zero_takes_it_back(empty: str) -> None:
    call_command("migrate", "relay", **quiet)
    assert revision(empty) == HEAD
    assert relay.migrate(empty) == []
    call_command("makemigrations", "relay", check=True, dry_run=True, **quiet)
    assert call_command("sqlmigrate", "relay", "0001", **quiet).count("manage.py relay migrate --sql --to 0008") == 1
    call_command("migrate", "relay", "zero", **quiet)
    assert revision(empty) is None
    assert relay.migrate(empty, to=REVISIONS[2].REVISION)[-1] == "0003"
    call_command("migrate", "relay", **quiet)  # goes on from there
    assert revision(empty) == HEAD
    assert OURS[0] in {app for app, _ in MigrationLoader(connection).applied_migrations}


@only_where_nothing_is_set("Django's own sessions cannot work there")
def test_routers_say_which_databases_have_the_tables_and_the_schema_has_its_name(empty: str, postgres: Server) -> None:
    routers = [f"{__name__}.{OnlyTheSecond.__name__}"]
    with postgres.fresh_database() as name, databases_at(second=postgres.url(name)):
        with override_settings(DATABASE_ROUTERS=routers, RELAY_SCHEMA="shop outbox"):
            call_command("migrate", "relay", **quiet)
            call_command("migrate", "relay", database=SECOND, **quiet)
            assert (revision(empty, "shop outbox"), revision(postgres.url(name), "shop outbox")) == (None, HEAD)
            call_command("migrate", "relay", "zero", database=SECOND, **quiet)
        assert revision(postgres.url(name), "shop outbox") is None


@only_where_nothing_is_set("Django's own sessions cannot work there")
def test_where_migrations_are_switched_off_the_tables_come_even_so(empty: str) -> None:
    with override_settings(MIGRATION_MODULES=dict.fromkeys(("relay", "contenttypes", "auth", "admin", "sessions"))):
        call_command("migrate", run_syncdb=True, **quiet)
    assert revision(empty) == HEAD


def test_a_migration_bears_what_somebody_set_on_the_role(empty: str) -> None:
    """In the hostile mode Django's own sessions could not; the revisions do not go by them."""
    bring_to(HEAD, connection)
    assert revision(empty) == HEAD
    take_back_to("base", connection)
    assert revision(empty) is None


def test_who_may_not_migrate_is_told_in_a_sentence(empty: str, postgres: Server) -> None:
    engine = create_engine(postgres.admin_url(make_url(empty).database or ""))
    with engine.begin() as admin:
        admin.execute(text("create schema relay"))
    engine.dispose()
    with pytest.raises(CommandError, match="may create nothing in the schema relay"):
        bring_to(HEAD, connection)


def test_a_project_without_postgresql_is_told_before_it_starts(empty: str, monkeypatch: pytest.MonkeyPatch) -> None:
    call_command("check", tags=["relay"])
    routers = [f"{__name__}.Nowhere"]
    with override_settings(DATABASE_ROUTERS=routers), pytest.raises(SystemCheckError, match="can hold the outbox"):
        call_command("check", tags=["relay"])


class Nowhere:
    def allow_migrate(self, db: str, app_label: str, **_: Any) -> bool:
        return False


PLACES: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "socket": ({"NAME": "shop"}, {"dbname": "shop"}),
    "signs": (
        {"NAME": "a/b ü%", "USER": "me@x", "PASSWORD": "p:/@?#% ://", "HOST": "db.example.com", "PORT": 6432},
        {"dbname": "a/b ü%", "user": "me@x", "password": "p:/@?#% ://", "host": "db.example.com", "port": "6432"},
    ),
    "several hosts": (
        {"NAME": "shop", "HOST": "a,b", "PORT": "1,2", "OPTIONS": {"sslmode": "require", "pool": True}},
        {"dbname": "shop", "host": "a,b", "port": "1,2", "sslmode": "require"},
    ),
    "service": (
        {"NAME": "", "PASSWORD": "p", "OPTIONS": {"service": "shop", "isolation_level": 4}},
        {"service": "shop", "password": "p"},
    ),
    "a role that is assumed": (
        {"NAME": "shop", "OPTIONS": {"assume_role": "the owner", "options": "-c jit=off"}},
        {"dbname": "shop", "options": "-c jit=off -c role=the\\ owner"},
    ),
}


@pytest.mark.parametrize(("given", "told"), PLACES.values(), ids=PLACES)
def test_the_driver_is_told_what_django_says(given: dict[str, Any], told: dict[str, str]) -> None:
    configure()
    nothing = {"OPTIONS": {}, "USER": "", "PASSWORD": "", "HOST": "", "PORT": ""}
    wrapper = DatabaseWrapper({**connections["default"].settings_dict, **nothing, **given}, "default")
    assert conninfo_to_dict(conninfo(normalized_url(url_of(wrapper)))) == told


def test_another_database_than_postgresql_is_refused() -> None:
    with pytest.raises(ConfigurationError, match='DATABASES\\["lite"\\] is sqlite: the relay is for PostgreSQL only'):
        url_of(sqlite3.DatabaseWrapper({"NAME": ":memory:", "OPTIONS": {}}, "lite"))


def test_words_before_the_verb_are_manages_and_the_rest_is_the_relays() -> None:
    assert command.split(["--settings", "x", "--database=second", "list", "--database", "y"]) == (
        "second",
        ["list", "--database", "y"],
    )
    assert command.split(["--help"]) == ("default", ["--help"])


@only_where_nothing_is_set("Django's own sessions cannot work there")
def test_the_command_works_on_djangos_database(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELAY_DATABASE_URL_FILE", "/nowhere")
    said = io.StringIO()
    with databases_at(default=database_url):
        call_command("relay", "add", "t", '{"n": 1}', stdout=said)
        with pytest.raises(CommandError, match="99") as refused:
            call_command("relay", "show", "99")
        with pytest.raises(CommandError, match='no "other"; it has default, second'):
            call_command("relay", "--database", "other", "status")
    assert refused.value.returncode == 1
    assert said.getvalue() == "1\n"


PROJECT = """
import sys
from django.conf import settings
settings.configure(INSTALLED_APPS=["relay.integrations.django"], DATABASES={{"default": {database!r}}})
from django.core.management import execute_from_command_line
execute_from_command_line(sys.argv)
"""


def test_this_process_becomes_the_relay(database_url: str, tmp_path: Path) -> None:
    program = tmp_path / "manage.py"
    program.write_text(PROJECT.format(database=parameters(database_url)))
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    options: dict[str, Any] = {"env": env, "capture_output": True, "text": True, "cwd": tmp_path}
    asked = subprocess.run([sys.executable, program, "relay", "migrate", "--check"], **options)
    assert (asked.returncode, asked.stdout, asked.stderr) == (0, "", f"the tables are at revision {HEAD}\n")


def test_what_it_advises_can_be_typed(empty_url: str, tmp_path: Path) -> None:
    program = tmp_path / "manage.py"
    program.write_text(PROJECT.format(database=parameters(empty_url)))
    options: dict[str, Any] = {"env": {**os.environ, "PYTHONPATH": str(ROOT)}, "capture_output": True, "text": True}
    checked = subprocess.run([sys.executable, program, "relay", "check", "--no-platform"], cwd=tmp_path, **options)
    assert "-> Run: manage.py relay migrate\n" in checked.stdout, checked
    listed = subprocess.run([sys.executable, program, "relay", "list"], cwd=tmp_path, **options)
    assert listed.stderr.splitlines()[-1] == "hint: Run: manage.py relay migrate"
    usage = subprocess.run([sys.executable, program, "relay", "run", "--no-such"], cwd=tmp_path, **options)
    assert usage.stderr.startswith("Usage: manage.py relay run [OPTIONS]\n")
