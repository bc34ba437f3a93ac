"""The hot statements as the server receives them. Whoever changes one sees here what the plan guards have to bear."""

from __future__ import annotations

import pytest
from sqlalchemy import URL

from relay import sql, statements
from relay.store.claim import statements as claim_statements
from tests.fixtures.golden import GOLDEN, Golden

PSYCOPG = URL.create("postgresql+psycopg").get_dialect()()
HOT = (
    "LOCK_READY",
    "LOCK_KNOWN",
    "LOCK_AMONG",
    "ACCOUNTS_AHEAD",
    "ACCOUNTS_OF_NEW",
    "KEYS_BEING_WRITTEN",
    "NAME_CALLS",
    "NAME_CALLS_WITHOUT_KEYS",
    "CLOSE_CALLS",
    "MARK_DONE",
    "MARK_NOT_DONE",
)


def text_of(name: str) -> str:
    room = claim_statements if hasattr(claim_statements, name) else statements
    return str(getattr(room, name))


@pytest.mark.parametrize("name", HOT)
def test_a_hot_statement_is_the_reviewed_one(name: str, golden: Golden) -> None:
    golden(f"{name.lower()}.sql", sql.query(text_of(name), "relay").text)


@pytest.mark.parametrize("name", HOT)
def test_sqlalchemy_would_send_the_same(name: str) -> None:
    compiled = sql.statement(text_of(name), "relay").compile(dialect=PSYCOPG)
    query = sql.query(text_of(name), "relay")
    assert str(compiled) % {name: f"${number}" for number, name in enumerate(query.names, start=1)} == query.text


def test_no_golden_file_is_left_over() -> None:
    assert {path.stem for path in GOLDEN.glob("*.sql")} == {name.lower() for name in HOT}


@pytest.mark.parametrize("name", HOT)
def test_another_schema_is_quoted_wherever_it_stands(name: str) -> None:
    text = str(sql.statement(text_of(name), 'odd "one'))
    assert "relay." not in text.replace("'relay.discarded'", "")  # that one is a code
    assert '"odd ""one".' in text
