"""Lines of an export, moments of its period, and how its progress is told."""

from __future__ import annotations

import csv
import io
import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.cli.export import Progress, moment
from relay.exports.lines import Column, Csv, JsonLines, guarded, unguarded
from relay.exports.manifest import Manifest, NoManifest, Preceding, preceding, sha256_of
from relay.exports.reading import ExportedFile

TEXT = Column("a", "text")
DANGEROUS = st.sampled_from(["=", "+", "-", "@", "'", '"', ";", "|", ",", "\t", "\r", "\n", "\uff1d", "a", "1", " "])
CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\0") | DANGEROUS, max_size=8)


def test_a_line_of_json_is_one_line_whatever_white_space_its_json_has() -> None:
    line = JsonLines([TEXT]).line(['{"id":1,"selection":{\r\n"ids": [1]}}'])
    assert line == b'{"id":1,"selection":{  "ids": [1]}}\n'


def test_nothing_is_null_and_two_quotes_are_an_empty_text() -> None:
    assert Csv([TEXT, TEXT, TEXT]).line([None, "", "x"]) == b',"",x\r\n'


def test_the_header_names_the_columns() -> None:
    assert Csv([Column("id", "bigint"), Column("at", "text")]).head() == b"id,at\r\n"
    assert JsonLines([TEXT]).head() == b""


@given(st.lists(st.tuples(CELLS, CELLS), min_size=1))
def test_csv_reads_back_as_it_was_and_its_rows_are_counted(rows: list[tuple[str, str]]) -> None:
    form = Csv([TEXT, TEXT])
    data = b"".join([form.head(), *map(form.line, rows)])
    read = list(csv.reader(io.StringIO(data.decode(), newline=""), strict=True))[1:]
    assert [tuple(map(unguarded, row)) for row in read] == rows
    assert Csv.count(io.BytesIO(data)) == len(rows)
    file = ExportedFile(Path("rows.csv"), "csv", ["a", "b"])
    assert [tuple(file.row(form.line(row)).values.values()) for row in rows] == rows


@given(st.lists(CELLS, min_size=1, max_size=3))
def test_no_spreadsheet_finds_a_formula_wherever_it_splits(cells: list[str]) -> None:
    """At commas, with the quotes of CSV; or at another sign, where the quotes of this file mean little."""
    line = Csv([TEXT] * len(cells)).line(cells).decode()
    (read,) = list(csv.reader(io.StringIO(line, newline=""), strict=True))
    parts = read + [part for sign in (";", "|", "\t", "\r\n") for part in re.split(f"[{sign}]", line.rstrip())]
    assert [part for part in parts if re.match(r'"*[=+@\uff1d\uff0b\uff0d\uff20-]', part)] == []


@pytest.mark.parametrize(
    "text", ["=1+1", "+1", "-1", "@x", "\tx", "\rx", "\nx", "＝1", "＋1", "－1", "＠x", "'", "'=1", '"=1', '""=1']
)
def test_what_a_spreadsheet_would_run_gets_an_apostrophe(text: str) -> None:
    assert guarded(text) == f"'{text}"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (";=1+1", ";'=1+1"),
        ("a;@x|+1\t-1", "a;'@x|'+1\t'-1"),
        ('{"a": "x;=1", "b": ";"}', '{"a": "x;\'=1", "b": ";\'"}'),
        ("a\n=1", "a\n'=1"),
        (";'=1", ";''=1"),
    ],
)
def test_a_formula_behind_a_sign_that_others_split_at_gets_one_too(text: str, told: str) -> None:
    assert guarded(text) == told
    assert unguarded(told) == text


@pytest.mark.parametrize("text", ["", "a=1", "1-1", '{"a": 1}', "向阳", " =1", "a\r\n\r\nb; c|d"])
def test_other_texts_stay(text: str) -> None:
    assert guarded(text) == text


def test_a_number_is_no_formula() -> None:
    assert Csv([Column("n", "numeric"), TEXT]).line(["-0.5", "-0.5"]) == b"-0.5,'-0.5\r\n"


def test_rows_are_counted_without_the_header() -> None:
    assert Csv.count([]) == 0
    assert Csv.count(io.BytesIO(b"id\r\n")) == 0
    assert Csv.count(io.BytesIO(b'id\r\n"a\r\nb"\r\n')) == 1
    assert JsonLines.count(io.BytesIO(b"{}\n{}\n")) == 2


def test_moments() -> None:
    assert moment("2026-11-11") == date(2026, 11, 11)
    assert moment("2026-11-11T00:00:00Z") == datetime(2026, 11, 11, tzinfo=UTC)
    assert moment("24h") == timedelta(hours=24)
    for wrong in ("2026-11-11T00:00:00", "yesterday", ""):
        with pytest.raises(click.BadParameter, match="is no moment"):
            moment(wrong)


def a_manifest(previous: str | None = None) -> Manifest:
    return Manifest(
        relay_version="1",
        schema_revision=None,
        database="shop",
        schema="relay",
        db_user="ann",
        since=None,
        until=datetime(2026, 11, 11, 8, tzinfo=UTC),
        snapshot_at=datetime(2026, 11, 12, 0, 0, 0, 5, tzinfo=UTC),
        snapshot="7:9:8",
        format="csv",
        files=(),
        previous=previous,
    )


def test_a_manifest_is_what_the_next_export_reads() -> None:
    data = a_manifest().dumped()
    assert b'"snapshot_at": "2026-11-12T00:00:00.000005Z"' in data
    until = datetime(2026, 11, 11, 8, tzinfo=UTC)
    assert preceding(data, "m") == Preceding(sha256_of(data), "shop", "relay", None, until, "7:9:8")


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"format_version": 1}', b"\xff"])
def test_what_is_no_manifest(data: bytes) -> None:
    with pytest.raises(NoManifest, match="x is no manifest"):
        preceding(data, "x")


class Telling:
    """A progress with a clock that the test sets, and what it said."""

    def __init__(self, *, terminal: bool) -> None:
        self.now = 0.0
        self.said: list[str] = []
        self.progress = Progress(self.said.append, terminal=terminal, clock=lambda: self.now)

    def at(self, *seconds: float) -> list[str]:
        for self.now in seconds:
            self.progress("audit_call", 1000)
        return self.said


def test_progress_in_a_log_is_a_line_every_ten_seconds() -> None:
    telling = Telling(terminal=False)
    assert telling.at(0, 5, 9.9) == []
    assert telling.at(10, 11, 19, 20.5) == ["audit_call: 1,000 rows\n"] * 2
    telling.progress.end()
    assert len(telling.said) == 2


def test_progress_on_a_terminal_begins_after_two_seconds_and_leaves_nothing() -> None:
    telling = Telling(terminal=True)
    assert telling.at(0, 1.9) == []
    assert telling.at(2, 2.1, 2.3) == ["\raudit_call: 1,000 rows"] * 2
    telling.progress.end()
    assert telling.said[-1] == "\r" + " " * len("audit_call: 1,000 rows") + "\r"
    quiet = Telling(terminal=True)
    quiet.progress.end()
    assert quiet.said == []
