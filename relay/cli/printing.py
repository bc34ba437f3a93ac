"""How answers look: aligned plain text for people, one JSON document for programs.

JSON keys are an interface: they are only added to. Ids are strings there, for JavaScript rounds large numbers; times
are RFC 3339 with their offset. Text is aligned by what it takes on a terminal, where a Chinese character takes two
columns, and characters that could steer a terminal are not passed on. Every verb prints through here.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import IO, Any

import click

from relay.showing import escaped, json_text, width

_AT_AN_END = re.compile(r"^[ \u3000]+|[ \u3000]+\Z")


def say(text: object = "", *, err: bool = False, nl: bool = True, file: IO[Any] | None = None) -> None:
    """Text for people, of one line or several. What strangers wrote goes through ``shown``, or they make lines, too."""
    click.echo(escaped(str(text), keep="\n"), file=file, nl=nl, err=err)


def say_exactly(text: str, *, err: bool = False) -> None:
    """What would mean something else if it were escaped: a script, our own line that is drawn again. Never a row."""
    click.echo(text, nl=False, err=err)


def print_json(document: Mapping[str, Any]) -> None:
    """One JSON document on standard output, indented; texts of others are made harmless."""
    click.echo(json_text(_plain(document), indent=2, default=_written))


def print_table(heads: Sequence[str], rows: Iterable[Iterable[object]]) -> None:
    """Columns two spaces apart; without rows nothing is printed."""
    lines = [[shown(cell) for cell in row] for row in rows]
    if not lines:
        return
    lines.insert(0, list(heads))
    widths = [max(map(width, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = (cell + " " * (wide - width(cell)) for cell, wide in zip(line, widths, strict=True))
        say("  ".join(cells).rstrip())


def print_facts(facts: Mapping[str, object]) -> None:
    """One fact a line, the names aligned; what is unknown is left out."""
    longest = max(map(len, facts))
    for name, value in facts.items():
        if value is not None:
            say(f"{name:{longest}}  {shown(value)}")


def print_traceback(error: BaseException) -> None:
    """On stderr, for ``--debug``."""
    say("".join(traceback.format_exception(error)), err=True, nl=False)


def shown(value: object) -> str:
    """A value for people: times to the second, ``-`` for none; a blank at an end of a text is seen."""
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return value.isoformat(" ", "seconds")
    if isinstance(value, timedelta):
        return str(timedelta(seconds=int(value.total_seconds())))
    return _AT_AN_END.sub(lambda blanks: "".join(f"\\u{ord(each):04x}" for each in blanks[0]), escaped(str(value)))


def _plain(value: Any, name: str = "") -> Any:
    if hasattr(value, "__dataclass_fields__"):
        return _plain(asdict(value))
    if isinstance(value, Mapping):
        return {key: _plain(item, key) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, int) and (name in ("id", "next") or name.endswith("_id")) else value


def _written(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no form in JSON")
