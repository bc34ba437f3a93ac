"""JSON nested so deep that Python's own reader gives up: every verb that reads goes on, and so does evidence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import Engine, text

from relay.cli.verbs import relay
from tests.fixtures.roles import Roles

DEEP = '{"a": ' * 3000 + "1" + "}" * 3000


@pytest.fixture
def deep(engine: Engine) -> str:
    """Its id, as an argument. What an application inserted, and what an operator stated in the ledger."""
    with engine.begin() as connection:
        add = text("insert into relay.outbox (topic, content) values ('t', :deep) returning id")
        id_ = connection.execute(add, {"deep": DEEP}).scalar_one()
        stated = text("select relay.discard(array[cast(:id as bigint)], 'r', 'ann', cast(:deep as json))")
        connection.execute(stated, {"id": id_, "deep": DEEP})
    return str(id_)


def test_python_itself_would_not_read_it() -> None:
    with pytest.raises(RecursionError):
        json.loads(DEEP)


def test_each_verb_that_reads_survives_what_is_nested_thousands_deep(
    deep: str, roles: Roles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(part: str, *arguments: str) -> Any:
        monkeypatch.setenv("RELAY_DATABASE_URL", roles.url(part))
        found = CliRunner().invoke(relay, arguments)
        assert found.exit_code == 0, (part, arguments, found.stderr, found.exception)
        return found.stdout

    older, newer, csv = (str(tmp_path / name) for name in ("older", "newer", "csv"))
    assert json.loads(run("auditor", "list", "--json"))["items"][0]["id"] == deep
    assert json.loads(run("auditor", "show", deep, "--json"))["id"] == deep
    assert DEEP in run("owner", "show", deep, "--reveal", "--reason", "r")
    assert json.loads(run("owner", "show", deep, "--reveal", "--reason", "r", "--json"))["content"] == DEEP
    for folder, form in ((older, "jsonl"), (csv, "csv"), (newer, "jsonl")):
        run("auditor", "export", folder, "--format", form)
        run("auditor", "export", folder, "--verify")
    run("auditor", "export", newer, "--compare", older)
