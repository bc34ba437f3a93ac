"""The rows of an exported file, one at a time and in the order they were written.

A row is first of all its bytes: two exports of a row that nobody touched have the same ones, and need not be understood
to be compared. Only what differs is taken apart, and each column is the text that stands there: two that differ in a
digit, however many there are, are never taken for one number, and how deeply something is nested does not matter.
Numbers, arrays and times come out alike from both formats; whatever else is text stays as the format has it, which is
enough to see that two of one format differ.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from relay.errors import RelayError
from relay.exports.lines import unguarded

_CELL = re.compile(r'(?:^|,)("(?:[^"]|"")*"|[^,"]*)', re.DOTALL)
_STRING = r'"[^"\\]*(?:\\.[^"\\]*)*"'
_NAME = re.compile(rf"\s*({_STRING})\s*:\s*", re.DOTALL)
_PLAIN = re.compile(rf"{_STRING}|[^\s,}}\]\[{{\"]+", re.DOTALL)
_BRACKET = re.compile(rf"{_STRING}|([\[{{])|([\]}}])", re.DOTALL)
_OPENING = re.compile(r"\s*{\s*(})?")
_FOLLOWING = re.compile(r"\s*([,}])")
_LAST = 1 << 63  # PostgreSQL sorts null behind everything
_DIGITS_OF_IDS = 19

Key = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ExportedRow:
    """``values`` is None for null, else the text of a cell, or that of a value in JSON (``json``)."""

    values: dict[str, str | None]
    json: bool = False

    def number(self, column: str) -> int | None:
        """The value as a whole number; None where it is null."""
        value = self.text(column)
        return None if value is None else int(value)

    def numbers(self, column: str) -> list[int]:
        """The value as a list of ids; empty where it is none."""
        value = _understood(self.values.get(column) or "null")
        return value if isinstance(value, list) else []

    def facts(self, column: str) -> dict[str, Any]:
        """What is too deep, or has more digits than Python takes for a number, stays the text it is."""
        value = self.values.get(column)
        if value is None or not value.lstrip().startswith("{"):
            return {}
        return {name: _understood(member) for name, member in _members(value)}

    def text(self, column: str) -> str | None:
        """The value as a text; None where it is null."""
        value = self.values.get(column)
        return str(json.loads(value)) if value is not None and self.json and value.startswith('"') else value

    def moment(self, column: str) -> datetime | None:
        """The value as a time, with its zone; None where it is null."""
        value = self.text(column)
        return None if value is None else datetime.fromisoformat(value)

    def key(self, order: Sequence[str]) -> Key:
        """Where the row stands among those of its view; nulls come last."""
        return tuple(_LAST if (number := self.number(column)) is None else number for column in order)


class ExportedFile:
    """``records`` gives the bytes of each row, ``row`` understands them. Raises RelayError where they make no sense."""

    def __init__(self, path: Path, form: str, columns: Sequence[str]) -> None:
        self._path = path
        self._csv = form == "csv"
        self._columns = tuple(columns)

    def records(self) -> Iterator[bytes]:
        """The rows as bytes, one after another, without the heading of a CSV file."""
        with open(self._path, "rb") as file:
            if not self._csv:
                yield from file
                return
            records = _whole(file)
            next(records, None)
            yield from records

    def row(self, record: bytes) -> ExportedRow:
        """This record, understood. Raises RelayError where it is no row of an export."""
        try:
            if not self._csv:
                return ExportedRow(
                    {name: None if text == "null" else text for name, text in _members(record.decode())}, True
                )
            cells = [_cell(cell) for cell in _CELL.findall(record.decode().removesuffix("\r\n"))]
            return ExportedRow(dict(zip(self._columns, cells, strict=True)))
        except (ValueError, TypeError, IndexError) as error:
            raise RelayError(
                f"{self._path} has a line that is no row of an export.",
                "Find a copy that is whole: relay export --verify FOLDER",
            ) from error


def _members(text: str) -> Iterator[tuple[str, str]]:
    """Of an object in JSON, each with the text of its value; not one level deeper, so any depth will do."""
    opening = _found(_OPENING, text, 0)
    place, more = opening.end(), opening[1] is None
    while more:
        name = _found(_NAME, text, place)
        end = _end(text, name.end())
        yield json.loads(name[1]), text[name.end() : end]
        following = _found(_FOLLOWING, text, end)
        place, more = following.end(), following[1] == ","
    if text[place:].strip():
        raise ValueError("more than one value")


def _end(text: str, begin: int) -> int:
    """Where the value ends that begins there."""
    if text[begin] not in "[{":
        return _found(_PLAIN, text, begin).end()
    depth = 0
    for found in _BRACKET.finditer(text, begin):
        depth += bool(found[1]) - bool(found[2])
        if depth == 0:
            return found.end()
    raise ValueError("no end")


def _found(form: re.Pattern[str], text: str, place: int) -> re.Match[str]:
    found = form.match(text, place)
    if found is None:
        raise ValueError(f"no {form.pattern} at {place}")
    return found


def _understood(text: str) -> Any:
    try:
        return json.loads(text, parse_int=_integer, parse_float=str)
    except (ValueError, RecursionError):
        return text


def _integer(digits: str) -> int | str:
    return int(digits) if len(digits) <= _DIGITS_OF_IDS else digits


def _whole(lines: IO[bytes]) -> Iterator[bytes]:
    """A line of CSV goes on while a quote is open."""
    record, quotes = b"", 0
    for line in lines:
        record += line
        quotes += line.count(b'"')
        if quotes % 2 == 0:
            yield record
            record = b""


def _cell(raw: str) -> str | None:
    """The value that :mod:`relay.exports.lines` wrote."""
    return unguarded(raw[1:-1].replace('""', '"') if raw.startswith('"') else raw) if raw else None
