"""The printed script without BEGIN and COMMIT: whole in the transaction of a tool, and nothing outside of one."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from click.testing import CliRunner, Result
from sqlalchemy import create_engine, make_url

from relay.cli.verbs import relay as command
from relay.revisions import HEAD, current_revision


def run(*options: str) -> Result:
    return CliRunner().invoke(command, ["migrate", *options])


def revision_at(url: str) -> str | None:
    engine = create_engine(url)
    with engine.connect() as connection:
        found = current_revision(connection, "relay")
    engine.dispose()
    return found


def connect(url: str) -> psycopg.Connection:
    conninfo = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    return psycopg.connect(conninfo, autocommit=True)


def assert_silent(cursor: psycopg.Cursor[Any]) -> None:
    """No statement gives a row back: psql would print it."""
    more: bool | None = True
    while more:
        assert cursor.description is None
        more = cursor.nextset()


def test_a_tool_runs_it_in_its_own_transaction(empty_url: str) -> None:
    first = run("--sql", "--to", "0007", "--no-transaction").stdout
    second = run("--sql", "--from", "0007", "--no-transaction").stdout
    with connect(empty_url) as connection:
        with connection.transaction(force_rollback=True):
            connection.execute(first.encode())
        assert revision_at(empty_url) is None
        with connection.transaction():
            assert_silent(connection.execute(first.encode()))
            connection.execute("create table mine (id integer)")
            for statement in second.split("\n\n\n"):
                assert_silent(connection.execute(statement.encode()))
        assert revision_at(empty_url) == HEAD
        assert connection.execute("select count(*) from mine").fetchone() == (0,)


def test_outside_of_a_transaction_it_changes_nothing(empty_url: str) -> None:
    with (
        connect(empty_url) as connection,
        pytest.raises(psycopg.errors.NoActiveSqlTransaction, match="transaction block"),
    ):
        connection.execute(run("--sql", "--no-transaction").stdout.encode())
    assert revision_at(empty_url) is None


def test_a_script_for_a_database_that_is_there_already_is_empty() -> None:
    ended = run("--sql", "--from", HEAD)
    assert (ended.exit_code, ended.stdout, ended.stderr) == (0, "", "nothing to do\n")
    assert run("--no-transaction").exit_code == 2
