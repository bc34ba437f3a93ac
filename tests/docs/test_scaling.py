"""docs/scaling.md and docs/performance.md: the query for the autoscaler works, and no place for figures is empty."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.pool import NullPool

from tests.docs.markdown import ROOT, blocks
from tests.fixtures.roles import Roles

SCALING = ROOT / "docs" / "scaling.md"
PERFORMANCE = ROOT / "docs" / "performance.md"
PLACE = re.compile(r"<!-- figures: (.+?) -->\n(.*?)<!-- end of figures -->", re.DOTALL)
ADD = "insert into relay.outbox (topic, content, account, available_at) values ('t', '{}', :account, :due)"


def query() -> str:
    (block,) = (block for block in blocks(SCALING) if block.language == "sql")
    return block.text.strip().removesuffix(";")


def test_the_autoscaler_asks_the_query_that_is_explained() -> None:
    (scaled, _) = (block.text for block in blocks(SCALING) if block.language == "yaml")
    assert re.findall(r"^ +query: (.+)$", scaled, re.MULTILINE) == [query()]


def test_its_role_gets_an_integer_whether_messages_are_due_or_not(engine: Engine, roles: Roles) -> None:
    def asked() -> object:
        with create_engine(roles.url("metrics"), poolclass=NullPool).connect() as connection:
            return connection.exec_driver_sql(query()).scalar_one()

    assert (asked(), type(asked())) == (0, int)
    with engine.begin() as connection:
        for account, due in (("a", "now"), ("b", "now"), ("b", "tomorrow")):
            connection.execute(text(ADD), {"account": account, "due": due})
    assert (asked(), type(asked())) == (2, int)


@pytest.mark.parametrize("document", [PERFORMANCE, SCALING], ids=lambda path: path.name)
def test_figures_are_measured_and_each_has_one_place(document: Path) -> None:
    places = PLACE.findall(document.read_text(encoding="utf-8"))
    assert len({title for title, _ in places}) == len(places) > 0
    assert [
        title for title, figures in places if not figures.startswith("| |") and not figures.startswith("|  |")
    ] == []
