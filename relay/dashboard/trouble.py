"""What is wrong, as a page: what there is not, what was not understood, who may not, and what PostgreSQL said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from relay.dashboard.refreshing import AWAY, AWAY_AT_MOST, REFUSED, REFUSED_AT_MOST
from relay.dashboard.visit import NotAllowed, NotFound, NotUnderstood, Page, literal
from relay.database_errors import Kind
from relay.errors import ConfigurationError, SchemaError, UnreachableError
from relay.holders import Holder, InTheWay

# Where no error of PostgreSQL is behind it.
_OF_CLASS: dict[type, Kind] = {
    UnreachableError: Kind.LOST,
    SchemaError: Kind.MISSING,
    ConfigurationError: Kind.SETTING,
}


def page_of(error: Exception, *, slow: bool, narrows: bool, posted: bool, refreshes: bool) -> Page:
    """The page for what a visit ended with; ``slow``: by the time-out of a statement. ``narrows``: it can ask for less.

    It asks again by itself while PostgreSQL is away; where it refuses, if it was refreshing before.
    """
    match error:
        case NotFound():
            return trouble(error.key, error.values, 404)
        case NotUnderstood():
            return trouble(error.key, error.values, error.status)
        case NotAllowed():
            return trouble(error.key, error.values, 403, command=error.command)
    away = isinstance(error, UnreachableError)
    detail, hint = "" if slow else str(error), getattr(error, "hint", "")
    command = _ending(error.first) if isinstance(error, InTheWay) and error.first else ""
    key = _key(error, slow=slow, narrows=narrows) + ("_acting" if posted else "")
    again = (AWAY, AWAY_AT_MOST) if away else (REFUSED, REFUSED_AT_MOST) if refreshes else None
    page = trouble(key, {}, 503, detail=detail, hint=hint, command=command, again=None if posted else again)
    return page if slow else replace(page, values={**page.values, "cause": cause(error), "holder": _holder(error)})


def cause(error: Exception) -> str:
    """Its stable key, of ``database_errors.Kind``, by which Chinese pages say what it means."""
    said = str(getattr(error, "cause", ""))
    return said or next((_OF_CLASS[one] for one in type(error).__mro__ if one in _OF_CLASS), Kind.OTHER)


def _holder(error: Exception) -> dict[str, object]:
    found = error.first if isinstance(error, InTheWay) else None
    if found is None:
        return {}
    return {"pid": found.pid, "role": found.role, "application": found.application or "-", "gid": found.gid}


def _key(error: Exception, *, slow: bool, narrows: bool) -> str:
    if isinstance(error, UnreachableError):
        return "trouble.away"
    if slow:
        return "trouble.slow" if narrows else "trouble.slow_whole"
    return "trouble.locked" if getattr(error, "cause", "") == Kind.LOCKED else "trouble.refused"


def _ending(holder: Holder) -> str:
    """The statement that ends it, for a person to copy, whatever is in the name of a prepared transaction."""
    if holder.pid is None:
        return f"rollback prepared {literal(holder.gid or '')};"
    return f"select pg_terminate_backend({holder.pid});"


def trouble(
    key: str, given: Mapping[str, object], status: int, *, detail: str = "", hint: str = "", command: str = "",
    again: tuple[float, float] | None = None,
) -> Page:  # fmt: skip
    """The page that says what is wrong: the sentence of ours, what PostgreSQL said, what to do, what to run."""
    values = {"key": key, "given": given, "detail": detail, "hint": hint, "command": command, "cause": "", "holder": {}}
    every, at_most = again or (None, None)
    return Page("trouble.html", values, status=status, every=every, at_most=at_most)
