"""Databases that are not in UTF-8: every verb says what that costs, and what is there can be looked at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import create_engine

from relay.cli.verbs import relay as command
from tests.fixtures.database import Server
from tests.fixtures.rows import Rows

COSTS = {
    "SQL_ASCII": "the database is in SQL_ASCII, where nobody checks texts",
    "EUC_CN": "the database is in EUC_CN: what has no character there (an emoji) cannot be inserted",
}


@pytest.fixture(params=COSTS)
def encoding(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def url(postgres: Server, encoding: str) -> Iterator[str]:
    with postgres.fresh_database(encoding=encoding) as name:
        yield postgres.url(name)


@pytest.fixture
def run(url: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("RELAY_DATABASE_URL", url)
    monkeypatch.setenv("RELAY_PRODUCER", "stdout")
    monkeypatch.setenv("RELAY_METRICS_PORT", "0")
    return lambda *arguments: CliRunner().invoke(command, list(arguments))


def test_migrate_run_and_check_say_what_another_encoding_costs(run: Any, url: str, encoding: str) -> None:
    for verb in (("migrate",), ("run", "--drain")):
        found = run(*verb)
        assert found.exit_code == 0, found.output
        assert COSTS[encoding] in found.stderr
    checked = run("check", "--no-platform")
    assert [line.split()[0] for line in checked.stdout.splitlines() if COSTS[encoding] in line] == ["warn"]
    if encoding == "SQL_ASCII":
        engine = create_engine(url, connect_args={"client_encoding": "utf8"})
        Rows(engine).run(
            "insert into relay.outbox (topic, content) values (convert_from(decode('d6d0', 'hex'), 'sql_ascii'), '{}')"
        )
        engine.dispose()
        for verb in (("list",), ("list", "--json"), ("show", "1"), ("status",)):
            assert run(*verb).exit_code == 0, run(*verb).output
        assert r"\xd6\xd0" in run("list").stdout


def test_an_encoding_that_cannot_hold_the_schema_is_a_sentence(postgres: Server, monkeypatch: Any) -> None:
    with postgres.fresh_database(encoding="LATIN1") as name:
        monkeypatch.setenv("RELAY_DATABASE_URL", postgres.url(name))
        found = CliRunner().invoke(command, ["migrate"])
    assert found.exit_code == 1
    assert "the database is in an encoding that lacks a character" in found.stderr
    assert "UTF8" in found.stderr
