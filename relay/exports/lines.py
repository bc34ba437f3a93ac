"""How a row of a view is written: as JSON, one object a line, or as CSV. Pure functions of values.

PostgreSQL makes the values, so that numbers and nested JSON keep its exact text; here they only become lines. Both
formats are UTF-8. CSV is that of RFC 4180 with two rules of its own, both lossless: null is nothing at all, an empty
text is ``""``; and where a spreadsheet would find a formula stands one apostrophe. That is at the begin of a text, and
behind each sign inside of it at which a spreadsheet of another locale begins a cell (a German Excel splits at ``;`` and
knows no quotes in the middle of one). Apostrophes at such places get one too: a reader who drops one at each has the
text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

TIME = "timestamp with time zone"
_NUMBERS = ("bigint", "integer", "smallint", "numeric")
_SIGNS = r"=+@'\uff1d\uff0b\uff0d\uff20\-"  # the wide ones are formulas in East Asian locales
_AT_FIRST = re.compile(rf'"*[{_SIGNS}\t\r\n]')  # quotes may hide a formula
_SPLITTING = ";|\t\r\n"
_INSIDE = re.compile(rf'[{_SPLITTING}](?=[{_SIGNS}"])')  # a quote may hide a formula
_APOSTROPHE = re.compile(rf"([{_SPLITTING}])'")
_QUOTED = re.compile(r'[",\r\n]|^$')

Cells = Sequence[str | None]


class Column(NamedTuple):
    """``type`` is what PostgreSQL calls it."""

    name: str
    type: str


class Format(Protocol):
    """Made for the columns of one view."""

    def __init__(self, columns: Sequence[Column]) -> None: ...

    def select(self, quoted_names: Sequence[str]) -> str:
        """The SELECT list whose texts :meth:`line` takes; the row is called ``r`` there."""

    def head(self) -> bytes:
        """What stands before the first row."""

    def line(self, values: Cells) -> bytes:
        """One row as it is in the file, its line end included."""
        ...

    @staticmethod
    def count(lines: Iterable[bytes]) -> int:
        """The rows of a file that is read up to each line feed."""


class JsonLines:
    """The keys of each object are in the order of the view's columns; a time is ISO 8601 in UTC with microseconds."""

    def __init__(self, columns: Sequence[Column]) -> None:
        pass

    def select(self, quoted_names: Sequence[str]) -> str:
        return "cast(row_to_json(r) as text)"

    def head(self) -> bytes:
        return b""

    def line(self, values: Cells) -> bytes:
        # A column of the type json keeps the line feeds it was written with; in JSON they can only be white space.
        return str(values[0]).replace("\r", " ").replace("\n", " ").encode() + b"\n"

    @staticmethod
    def count(lines: Iterable[bytes]) -> int:
        return sum(1 for _ in lines)


class Csv:
    """A header, then the same values; an array is JSON here too."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._columns = columns

    def select(self, quoted_names: Sequence[str]) -> str:
        return ", ".join(
            f"cast(to_json(r.{name}) as text)" if column.type.endswith("[]") else f"cast(r.{name} as text)"
            for column, name in zip(self._columns, quoted_names, strict=True)
        )

    def head(self) -> bytes:
        return _record(column.name for column in self._columns)

    def line(self, values: Cells) -> bytes:
        return _record(
            value if value is None or column.type in _NUMBERS else guarded(value)
            for column, value in zip(self._columns, values, strict=True)
        )

    @staticmethod
    def count(lines: Iterable[bytes]) -> int:
        ends, quotes = 0, 0
        for line in lines:
            quotes += line.count(b'"')
            ends += quotes % 2 == 0
        return max(ends - 1, 0)


FORMATS: dict[str, type[Format]] = {"jsonl": JsonLines, "csv": Csv}


def guarded(text: str) -> str:
    """The text as no spreadsheet takes it, or a part of it, for a formula."""
    if any(sign in text for sign in _SPLITTING):  # most texts have none, and are done
        text = _INSIDE.sub(r"\g<0>'", text)
    return f"'{text}" if _AT_FIRST.match(text) else text


def unguarded(text: str) -> str:
    """The exact text of a cell."""
    return _APOSTROPHE.sub(r"\1", text.removeprefix("'"))


def _record(cells: Iterable[str | None]) -> bytes:
    return ",".join("" if cell is None else _cell(cell) for cell in cells).encode() + b"\r\n"


def _cell(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if _QUOTED.search(text) else text
