"""The rows of an exported file, one at a time and in the order they were written.

A row is first of all its bytes: two exports of a row that nobody touched have the same ones, and need not be understood
to be compared. Only what differs is taken apart. Numbers, arrays and times come out alike from both formats; whatever
else is text stays as the format has it, which is enough to see that two of one format differ.
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
_LAST = 1 << 63  # PostgreSQL sorts null behind everything

Key = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """``values`` is None for null, else what JSON has or the text of a cell."""

    values: dict[str, Any]

    def number(self, column: str) -> int | None:
        value = self.values.get(column)
        return None if value is None else int(value)

    def numbers(self, column: str) -> list[int]:
        value = self._structure(column)
        return value if isinstance(value, list) else []

    def facts(self, column: str) -> dict[str, Any]:
        value = self._structure(column)
        return value if isinstance(value, dict) else {}

    def text(self, column: str) -> str | None:
        value = self.values.get(column)
        return None if value is None else str(value)

    def moment(self, column: str) -> datetime | None:
        value = self.text(column)
        return None if value is None else datetime.fromisoformat(value)

    def key(self, order: Sequence[str]) -> Key:
        return tuple(_LAST if (number := self.number(column)) is None else number for column in order)

    def _structure(self, column: str) -> Any:
        value = self.values.get(column)
        return json.loads(value) if isinstance(value, str) else value


class ExportedFile:
    """``records`` gives the bytes of each row, ``row`` understands them. Raises RelayError where they make no sense."""

    def __init__(self, path: Path, form: str, columns: Sequence[str]) -> None:
        self._path = path
        self._csv = form == "csv"
        self._columns = tuple(columns)

    def records(self) -> Iterator[bytes]:
        with open(self._path, "rb") as file:
            if not self._csv:
                yield from file
                return
            records = _whole(file)
            next(records, None)
            yield from records

    def row(self, record: bytes) -> Row:
        try:
            if not self._csv:
                return Row(dict(json.loads(record)))
            cells = [_cell(cell) for cell in _CELL.findall(record.decode().removesuffix("\r\n"))]
            return Row(dict(zip(self._columns, cells, strict=True)))
        except (ValueError, TypeError) as error:
            raise RelayError(f"{self._path} has a line that is no row of an export.") from error


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
