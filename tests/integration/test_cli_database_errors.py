"""Everything that can be wrong with the database is a sentence and an exit code, and never a password."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine, make_url, text

from relay.assembly.database import open_engine
from relay.cli.verbs import relay
from relay.embedded import EmbeddedPostgres
from relay.errors import UnreachableError
from relay.settings import load
from tests.fixtures.pooler import needs_pgbouncer, pgbouncer

PASSWORD = "s3cret-do-not-show"
READING = [["status"], ["list"], ["show", "1"]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.chdir(tmp_path)
    return lambda url, *arguments: CliRunner().invoke(relay, arguments, env={"RELAY_DATABASE_URL": url})


@pytest.mark.parametrize("verb", [["migrate"], ["add", "t", "{}"], *READING])
def test_a_server_that_is_not_there(run: Callable[..., Result], verb: list[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: nobody answers
        port = taken.getsockname()[1]
        result = run(f"postgresql+asyncpg://me:{PASSWORD}@127.0.0.1:{port}/shop", *verb)
    assert result.exit_code == 69
    assert result.stderr.splitlines() == [
        f"error: Cannot reach PostgreSQL at 127.0.0.1:{port}/shop: Connection refused",
        "hint: Check RELAY_DATABASE_URL and that the server runs.",
    ]


def test_a_host_that_does_not_exist(run: Callable[..., Result]) -> None:
    result = run(f"postgresql://me:{PASSWORD}@no-such-host.invalid/shop", "status")
    assert result.exit_code == 69
    assert result.stderr.startswith("error: Cannot reach PostgreSQL at no-such-host.invalid/shop: ")
    assert PASSWORD not in result.output


def test_a_database_that_does_not_exist(run: Callable[..., Result], empty_url: str) -> None:
    url = make_url(empty_url).set(database="nowhere").render_as_string(hide_password=False)
    result = run(url, "status")
    assert result.exit_code == 69
    assert 'database "nowhere" does not exist' in result.stderr.splitlines()[0]


@pytest.mark.parametrize("verb", READING)
def test_a_database_without_the_tables(run: Callable[..., Result], empty_url: str, verb: list[str]) -> None:
    result = run(empty_url, *verb)
    assert result.exit_code == 78
    assert result.stderr.splitlines() == [
        'error: The database has no relay tables in schema "relay".',
        "hint: Run: relay migrate",
    ]


def test_adding_to_a_database_without_the_tables(run: Callable[..., Result], empty_url: str) -> None:
    result = run(empty_url, "add", "t", "{}")
    assert result.exit_code == 78
    assert result.stderr.splitlines()[-1] == "hint: Run: relay migrate"


@pytest.mark.parametrize("verb", [["add", "t", "{}"], *READING])
def test_a_role_without_rights(
    run: Callable[..., Result], superuser: Engine, database_url: str, verb: list[str]
) -> None:
    role = f"relay_test_{uuid4().hex[:8]}"
    with superuser.begin() as connection:
        connection.execute(text(f"create role {role} login password '{PASSWORD}'"))
    try:
        url = make_url(database_url).set(username=role, password=PASSWORD).render_as_string(hide_password=False)
        result = run(url, *verb)
    finally:
        with superuser.begin() as connection:
            connection.execute(text(f"drop role {role}"))
    assert result.exit_code == 1
    first, hint = result.stderr.splitlines()
    assert first.startswith("error: permission denied for ")
    assert hint.startswith(f"hint: relay roles tells who may: make {role} a member of that role.")


def test_what_the_database_refuses_is_told_without_the_row(engine: Engine, database_url: str) -> None:
    mine = open_engine(load(database_url=database_url))
    with engine.begin() as connection:
        connection.execute(text("alter table relay.outbox add constraint no_secrets check (headers is null)"))
    with pytest.raises(Exception, match=r'PostgreSQL refused: .*"no_secrets"') as caught, mine.begin() as connection:
        connection.execute(
            text("insert into relay.outbox (topic, content, headers) values ('t', '{}', :headers)"),
            {"headers": f'"{PASSWORD}"'},
        )
    assert PASSWORD not in str(caught.value)
    mine.dispose()


def test_a_connection_that_is_cut_is_told_as_unreachable(engine: Engine, database_url: str) -> None:
    mine = open_engine(load(database_url=database_url))
    with mine.connect() as connection:
        pid = connection.scalar(text("select pg_backend_pid()"))
        with engine.begin() as other:
            other.execute(text("select pg_terminate_backend(:pid, 5000)"), {"pid": pid})
        with pytest.raises(UnreachableError, match=r"Cannot reach PostgreSQL (at|on) "):
            connection.execute(text("select 1"))
    mine.dispose()


def test_the_engine_names_itself_and_reads_what_is_committed(database_url: str) -> None:
    mine = open_engine(load(database_url=database_url))
    with mine.connect() as connection:
        assert connection.scalar(text("show application_name")) == "outbox-relay"
        assert connection.scalar(text("show transaction_isolation")) == "read committed"
    mine.dispose()


@pytest.mark.parametrize("query", ["", "?client_encoding=latin1"])
def test_the_engine_speaks_utf_8_whatever_it_is_told(
    database_url: str, monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", "latin1")
    url = make_url(database_url).update_query_string(query.removeprefix("?")).render_as_string(hide_password=False)
    mine = open_engine(load(database_url=url))
    with mine.connect() as connection:
        assert connection.scalar(text("select cast(:word as text)"), {"word": "向阳"}) == "向阳"
        assert connection.scalar(text("show client_encoding")) == "UTF8"
    mine.dispose()


def test_a_wrong_password_is_refused_without_showing_it() -> None:
    """Needs a server that asks for passwords: over TCP the embedded one does."""
    folder = Path(tempfile.gettempdir()) / f"relay-test-{uuid4().hex[:12]}"
    server = EmbeddedPostgres(folder, port=0, fast=True)
    try:
        server.start()
        url = make_url(server.url()).set(password=PASSWORD).render_as_string(hide_password=False)
        result = CliRunner().invoke(relay, ["status"], env={"RELAY_DATABASE_URL": url})
    finally:
        server.remove()
    assert result.exit_code == 69
    assert 'password authentication failed for user "postgres"' in result.stderr
    assert PASSWORD not in result.output


@pytest.mark.parametrize(
    "verb",
    [
        ["add", "t", "{}"],
        ["pause", "--account", "a", "--reason", "r"],
        ["prune", "--older-than", "1d"],
        ["archive", "--older-than", "1d"],
    ],
    ids=lambda verb: verb[0],
)
def test_a_server_that_takes_no_writes_is_told_with_the_way_out(
    run: Callable[..., Result], database_url: str, verb: list[str]
) -> None:
    read_only = make_url(database_url).update_query_dict({"options": "-c default_transaction_read_only=on"})
    result = run(read_only.render_as_string(hide_password=False), *verb)
    assert result.exit_code == 1
    assert "hint: A standby, or default_transaction_read_only is on: name the primary" in result.stderr


@needs_pgbouncer
def test_a_pooler_that_refuses_transactions_is_told_by_its_setting(
    run: Callable[..., Result], own_postgres: EmbeddedPostgres
) -> None:
    folder = Path(tempfile.gettempdir()) / f"relay-test-{uuid4().hex[:12]}"
    with pgbouncer(own_postgres.url(), folder, mode="statement") as pooled:
        result = run(pooled, "status")
    assert result.exit_code == 78
    assert result.stderr.splitlines()[-1] == "hint: Set pool_mode=transaction in the pooler."


def test_a_mark_before_the_content_is_no_part_of_it(engine: Engine, database_url: str) -> None:
    env = {"RELAY_DATABASE_URL": database_url}
    added = CliRunner().invoke(relay, ["add", "t"], env=env, input='\ufeff{"a": 1}\r\n'.encode())
    assert added.exit_code == 0, added.output
    with engine.connect() as connection:
        assert connection.scalar(text("select content ->> 'a' from relay.outbox")) == "1"
    refused = CliRunner().invoke(relay, ["add", "t"], env=env, input='{"a": 1}'.encode("utf-16"))
    assert refused.stderr.splitlines()[0] == "error: content is UTF-16 text: save it as UTF-8"
