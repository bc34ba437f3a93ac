"""``relay show --reveal``: the content for whoever says why, and a row in the ledger in any case."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine, text

from relay.cli.verbs import relay
from tests.fixtures.rows import Rows

Relay = Callable[..., Result]
CONTENT = '{"buyer":  "张三",\n "\\u0001": "\x7f"}'
WHY = ("--reason", "dispute 4711", "--actor", "ann")


@pytest.fixture
def rows(engine: Engine) -> Rows:
    return Rows(engine)


@pytest.fixture
def show(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Relay:
    """Run ``relay show``; it must end with ``code``."""
    monkeypatch.setenv("RELAY_DATABASE_URL", database_url)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, code: int = 0) -> Result:
        result = CliRunner().invoke(relay, ("show", *arguments))
        assert result.exit_code == code, result.output
        return result

    return run


def ledger(rows: Rows) -> list[tuple[object, ...]]:
    return [tuple(row) for row in rows.read("select actor, action, reason, message_ids, count from relay.action")]


def test_as_json_the_content_is_exact(show: Relay, rows: Rows) -> None:
    (id_,) = rows.add(content=CONTENT)
    found = json.loads(show(str(id_), "--reveal", *WHY, "--json").stdout)
    assert (found["id"], found["content"]) == (str(id_), CONTENT)
    assert "headers" not in found
    assert ledger(rows) == [("ann", "reveal", "dispute 4711", [id_], 1)]


def test_for_people_what_could_steer_a_terminal_is_not_passed_on(show: Relay, rows: Rows) -> None:
    (id_,) = rows.add(content=CONTENT)
    assert show(str(id_), "--reveal", *WHY).stdout.endswith('\n\ncontent\n{"buyer":  "张三",\n "\\u0001": "\\u007f"}\n')


def test_without_reveal_nothing_is_shown_and_nothing_recorded(show: Relay, rows: Rows) -> None:
    (id_,) = rows.add(content=CONTENT)
    assert "张三" not in show(str(id_)).stdout
    assert ledger(rows) == []


@pytest.mark.parametrize(
    "arguments", [["--reveal"], ["--reveal", "--reason", " "], ["--reason", "x"], ["--actor", "x"]]
)
def test_a_reason_and_reveal_belong_together(show: Relay, rows: Rows, arguments: list[str]) -> None:
    (id_,) = rows.add(content=CONTENT)
    assert "张三" not in show(str(id_), *arguments, code=2).output
    assert ledger(rows) == []


def test_whoever_cannot_write_the_ledger_sees_nothing(show: Relay, rows: Rows, engine: Engine) -> None:
    (id_,) = rows.add(content=CONTENT)
    with engine.begin() as connection:
        connection.execute(
            text("create function refuse() returns trigger language plpgsql as $$ begin raise 'no'; end $$")
        )
        connection.execute(text("create trigger refuse before insert on relay.action execute function refuse()"))
    assert "张三" not in show(str(id_), "--reveal", *WHY, code=1).output


def test_there_is_no_such_message(show: Relay, rows: Rows) -> None:
    assert "There is no message 7" in show("7", "--reveal", *WHY, code=1).stderr
    assert ledger(rows) == []
