"""Rows of exports are taken apart whatever legal JSON is in them, and two that differ are never taken for the same."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from relay.errors import RelayError
from relay.exports.explaining import GRACE
from relay.exports.ledger import read
from relay.exports.lines import Column, Csv, JsonLines
from relay.exports.reading import ExportedFile, ExportedRow

SPACE = st.sampled_from(["", " ", "\t", "\n "])
NUMBERS = st.sampled_from(["1e400", "1e401", "-0", "0.10", "0.1", "7" * 5000, "7" * 4999 + "8", "1E-999", "12"])
TEXTS = st.sampled_from([r'"\ud800"', r'"\u0000"', r'"a\"b}"', r'"\\"', '"{[,]}"', '"买"', '""', r'"\u2028"'])
DEEP = st.sampled_from(["[" * 1500 + "]" * 1500, '{"a":' * 1500 + "1" + "}" * 1500])
JSON = st.recursive(
    st.sampled_from(["null", "true", "false"]) | NUMBERS | TEXTS | DEEP,
    lambda inner: (
        st.tuples(SPACE, st.lists(inner, max_size=3)).map(lambda made: f"[{made[0]}{','.join(made[1])}{made[0]}]")
        | st.tuples(SPACE, st.lists(st.tuples(TEXTS, inner), max_size=3)).map(  # keys may be there twice
            lambda made: f"{{{made[0]}{','.join(f'{key}{made[0]}:{value}' for key, value in made[1])}}}"
        )
    ),
    max_leaves=6,
)
COLUMNS = [Column("id", "bigint"), Column("content", "json"), Column("topic", "text"), Column("at", "text")]


def rows_of(content: str) -> list[ExportedRow]:
    """As both formats have it, between other columns."""
    line = '{"id":17,"content":' + content + ',"topic":"t\\"}","at":null}'
    names = [column.name for column in COLUMNS]
    return [
        ExportedFile(Path("f"), "jsonl", names).row(JsonLines(COLUMNS).line([line])),
        ExportedFile(Path("f"), "csv", names).row(Csv(COLUMNS).line(["17", content, 't"}', None])),
    ]


@settings(deadline=None)  # a machine that is busy makes no reader wrong
@given(JSON, JSON)
@example("1e400", "1e401")
@example('{"n":' + "7" * 5000 + "}", '{"n":' + "7" * 4999 + "8}")
@example("[" * 30_000 + "]" * 30_000, "[" * 30_000 + "1" + "]" * 30_000)
@example('{"a":1,"a":2}', '{"a":3,"a":2}')
def test_any_json_is_read_and_compared_to_the_letter(content: str, other: str) -> None:
    for row, another in zip(rows_of(content), rows_of(other), strict=True):
        assert (row.number("id"), row.text("topic"), row.moment("at")) == (17, 't"}', None)
        flat = str.maketrans("\r\n", "  ")
        same = content.translate(flat) == other.translate(flat)
        assert (row.values["content"] == another.values["content"]) == (same or content == other)
        facts = row.facts("content")
        assert set(facts) == (set(json.loads(content)) if is_shallow_object(content) else set(facts))


def is_shallow_object(content: str) -> bool:
    return content.startswith("{") and len(content) < 1000


@pytest.mark.parametrize(
    "selection", ['{"stated":{"n":' + "7" * 5000 + "}}", '{"stated":' + "[" * 1500 + "]" * 1500 + "}"]
)
def test_what_an_operator_states_stops_no_comparison(selection: str) -> None:
    act = '{"id":3,"action":"discard","at":"2026-11-11T00:00:00Z","message_ids":[7,8],"selection":' + selection + "}"
    names = ["id", "action", "at", "message_ids", "selection"]
    row = ExportedFile(Path("f"), "jsonl", names).row(act.encode())
    with read([row], datetime(2026, 11, 11, tzinfo=UTC), GRACE) as ledger:
        assert str(ledger.named(8, "discard")) == "discard, act 3 of the ledger"


@pytest.mark.parametrize(
    "line",
    ["", "17", "[]", "{", '{"id":17', '{"id":17}}', '{"id":}', '{"id" 17}', '{"id":17,}', '{"content":[}', "{id:1}"],
)
def test_what_is_no_row_is_said_to_be_none(line: str) -> None:
    with pytest.raises(RelayError, match="has a line that is no row of an export"):
        ExportedFile(Path("f"), "jsonl", ["id"]).row(line.encode())
