"""One structured log line per event, so one per call; ``event`` is its stable key. Written to stderr.

Only what an event carries can be logged, and events carry no contents and no secrets; what others say in words may
name a person, so it is masked like in the audit views. The libraries below us stay silent: an HTTP client or a driver
that logs its requests would log sessions and contents.
"""

from __future__ import annotations

import dataclasses
import io
import logging
import sys
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict

from relay import events
from relay.observers.outlet import Outlet
from relay.observers.sentences import sentence
from relay.showing import escaped, folded, json_text, masked

# Sentences of the platform, of a person or of a library: the rest are names, codes and numbers.
_SENTENCES = ("error", "error_message", "reason")

_COLUMNS = 120
_COLORS = {"info": "\x1b[32m", "warning": "\x1b[33m", "error": "\x1b[31m"}
_PLAIN = "\x1b[0m"

_LEVELS: dict[type[Any], str] = {
    events.Claimed: "debug",
    events.ProducerRaised: "debug",
    events.Warned: "warning",
    events.PollingOnly: "warning",
    events.CallLost: "warning",
    events.LeasesRecovered: "warning",
    events.DatabaseLost: "warning",
    events.LocksTaken: "warning",
    events.Paused: "warning",
    events.AccountsTroubled: "error",
    events.DatabaseRefused: "error",
    events.CallRefused: "error",
    events.MessageUnreadable: "error",
    events.ProducerFailed: "error",
    events.ArchivingFailed: "error",
}


class LogLines:
    """An observer. ``style`` is ``json``, ``console`` or ``auto``: console on a terminal, JSON elsewhere."""

    def __init__(
        self,
        *,
        worker: str,
        level: str = "info",
        style: str = "auto",
        colors: bool = True,
        stream: TextIO | None = None,
    ) -> None:
        stream = stream or sys.stderr or io.StringIO()  # closed before the start
        on_terminal = stream.isatty()
        plain = style == "console" or (style == "auto" and on_terminal)
        renderer: Any = (
            _Sentences(colors=colors and on_terminal, columns=_COLUMNS if on_terminal else None)
            if plain
            else structlog.processors.JSONRenderer(serializer=json_text)
        )
        processors = [
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _what_and_when_first,
            *([_printable] if plain else []),  # JSON has escapes of its own
            renderer,
        ]
        self._log = structlog.wrap_logger(
            structlog.WriteLogger(stream),
            processors=processors,
            wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        ).bind(worker=worker)
        if isinstance(stream, Outlet):  # whatever the level: who reads has to know that lines are missing
            render = structlog.wrap_logger(structlog.ReturnLogger(), processors=processors).bind(worker=worker)
            stream.lost_line = lambda lines, reason: f"{render.warning('log.lost', lines=lines, reason=reason)}\n"

    def __call__(self, event: events.Event) -> None:
        getattr(self._log, level_of(event))(event.name, **fields_of(event))


class _Sentences:
    """The last processor of what people read. ``columns``: a line that is longer goes on below, indented."""

    def __init__(self, *, colors: bool, columns: int | None) -> None:
        self._colors = colors
        self._columns = columns

    def __call__(self, _: Any, __: str, fields: EventDict) -> str:
        moment, level, event = (fields.pop(name) for name in ("timestamp", "level", "event"))
        head = f"{moment[:10]} {moment[11:19]} {level:7} "
        line = head + sentence(event, fields)
        if self._columns:
            line = folded(line, self._columns, indent=len(head))
        if self._colors and level in _COLORS:
            line = line.replace(f" {level} ", f" {_COLORS[level]}{level}{_PLAIN} ", 1)
        return line


def _printable(_: Any, __: str, fields: EventDict) -> EventDict:
    """Accounts and errors are what others wrote: what steers a terminal or turns texts round is escaped."""
    for name, value in fields.items():
        if isinstance(value, str):
            fields[name] = escaped(value)
    return fields


def _what_and_when_first(_: Any, __: str, fields: EventDict) -> EventDict:
    """Lines are read by people too."""
    first = {name: fields.pop(name) for name in ("timestamp", "level", "event")}
    return {**first, **fields}


def fields_of(event: events.Event) -> dict[str, Any]:
    """What is told of an event beside its name: all that it knows, without what may name a person."""
    fields = {name: value for name, value in dataclasses.asdict(event).items() if value is not None}
    fields.pop("worker", None)
    for name in _SENTENCES:
        if isinstance(value := fields.get(name), str):
            fields[name] = masked(value)
    return fields


def level_of(event: events.Event) -> str:
    """``debug``, ``info``, ``warning`` or ``error``."""
    if isinstance(event, events.CallSettled):
        return "info" if event.outcome in ("ok", "released") else "warning"
    if isinstance(event, events.Paused) and event.seconds is None:
        return "error"  # nothing moves until a person acts
    return _LEVELS.get(type(event), "info")


def silence_libraries() -> None:
    """Let no library below us write what it sends or runs."""
    for name in ("aiohttp", "httpx", "sqlalchemy", "psycopg", "alembic"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
