"""What is wrong, as a page: what there is not, what was not understood, who may not, and what PostgreSQL said."""

from __future__ import annotations

from collections.abc import Mapping

from relay.dashboard.refreshing import AWAY, AWAY_AT_MOST, REFUSED, REFUSED_AT_MOST
from relay.dashboard.visit import NotAllowed, NotFound, NotUnderstood, Page
from relay.errors import UnreachableError


def page_of(error: Exception, *, slow: bool, posted: bool, refreshes: bool) -> Page:
    """The page for what a visit ended with; ``slow``: by the time-out of a statement.

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
    key = "trouble.away" if away else "trouble.slow" if slow else "trouble.refused"
    detail, hint = "" if slow else str(error), getattr(error, "hint", "")
    if posted:
        return trouble(f"{key}_acting", {}, 503, detail=detail, hint=hint)
    again = (AWAY, AWAY_AT_MOST) if away else (REFUSED, REFUSED_AT_MOST) if refreshes else None
    return trouble(key, {}, 503, detail=detail, hint=hint, again=again)


def trouble(
    key: str, given: Mapping[str, object], status: int, *, detail: str = "", hint: str = "", command: str = "",
    again: tuple[float, float] | None = None,
) -> Page:  # fmt: skip
    """The page that says what is wrong: the sentence of ours, what PostgreSQL said, what to do, what to run."""
    values = {"key": key, "given": given, "detail": detail, "hint": hint, "command": command}
    every, at_most = again or (None, None)
    return Page("trouble.html", values, status=status, every=every, at_most=at_most)
