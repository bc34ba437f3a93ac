"""Pause and resume: an account or an app key, as its pause was looked at, or none was."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from relay import reports
from relay.dashboard.actions.orders import Typed, fields_of, typed, untyped
from relay.dashboard.forms import require_fields
from relay.dashboard.visit import Acting, NotUnderstood, Page, PageVisit, command
from relay.errors import RelayError
from relay.operators import actions
from relay.reports import Search

NAMES = ("scope", "kind", "name")
KINDS = ("account", "app")
MOST_MINUTES = 366 * 24 * 60
MINUTES = (15, 60, 240, 720, 1_440, 10_080)  # to choose from
MOST_COUNTED = 5_000
SQL = "select * from {schema}.audit_pause where scope = <scope> and in_force;"


def look_at_pause(visit: PageVisit) -> Page:
    """The form; without a scope, one that asks for it."""
    scope = _scope(visit)
    return _form(visit, "pause", scope, untyped(visit)) if scope else Page("scope.html", {"kinds": KINDS})


def look_at_resume(visit: PageVisit) -> Page:
    """The pause as it is, and the form that ends it."""
    scope = _scope(visit)
    if scope is None:
        raise NotUnderstood("scope")
    return _form(visit, "resume", scope, untyped(visit))


def pause(visit: PageVisit, given: Mapping[str, str], acting: Acting) -> Page:
    """Pause it for that long, or until somebody resumes it."""
    scope, seen = _sent(visit, given, "minutes")
    minutes, wrong = _minutes(given)
    told = typed(visit, given, **wrong)
    if told.wrong:
        return _form(visit, "pause", scope, told, given.get("seen", ""))
    lasting = None if minutes is None else timedelta(minutes=minutes)
    order = told.order({"scope": scope})
    with acting() as connection:
        until, action = actions.pause(connection, scope, order, lasting=lasting, seen=seen or actions.SAW_NONE)
        row = action or reports.attempt_at(connection, "pause", scope, told.actor)
    return _done("pause", scope, row, until, done=action is not None)


def resume(visit: PageVisit, given: Mapping[str, str], acting: Acting) -> Page:
    """End the pause that was looked at, and no later one."""
    scope, seen = _sent(visit, given)
    if seen is None:
        raise NotUnderstood("seen")
    told = typed(visit, given)
    if told.wrong:
        return _form(visit, "resume", scope, told, given.get("seen", ""))
    with acting() as connection:
        action = actions.resume(connection, scope, told.order({"scope": scope}), seen=seen)
        row = action or reports.attempt_at(connection, "resume", scope, told.actor)
    return _done("resume", scope, row, None, done=action is not None)


def _done(verb: str, scope: str, row: int | None, until: datetime | None, *, done: bool) -> Page:
    """``row``: of the ledger, which has it also where nothing was changed."""
    values = {"verb": verb, "scope": scope, "until": until, "action": row, "done": done}
    return Page("paused.html", values)


def _form(visit: PageVisit, verb: str, scope: str, told: Typed, seen: str | None = None) -> Page:
    """``seen``: of the pause that was looked at before."""
    found = visit.ask(reports.pause_in_force, scope)
    kind, _, name = scope.partition(":")
    waiting: list[int] = []
    more = False
    if kind == "account":
        waiting, more = visit.ask(reports.changeable, Search("pending", account=name), most=MOST_COUNTED)
    since = "" if found is None else found.since.isoformat()
    values = {
        "verb": verb,
        "scope": scope,
        "account": name if kind == "account" else None,
        "found": found,
        "seen": since if seen is None else seen,
        "waiting": len(waiting),
        "more": more,
        "minutes": MINUTES,
        "told": told,
    }
    commands = [command(verb, **{kind: name}, reason="...")]
    sql = visit.sql(SQL, scope=scope)
    return Page("pause.html", values, commands, sql, status=400 if told.wrong else 200)


def _scope(visit: PageVisit) -> str | None:
    kind, name = visit.choice("kind", KINDS), visit.text("name")
    scope = f"{kind}:{name}" if kind and name else visit.text("scope")
    return None if scope is None else _possible(scope)


def _possible(scope: str) -> str:
    try:
        actions.require_possible(scope)
    except RelayError:
        raise NotUnderstood("scope", "trouble.no_scope", scope=scope[:200]) from None
    return scope


def _sent(visit: PageVisit, given: Mapping[str, str], *more: str) -> tuple[str, datetime | None]:
    require_fields(given, ("scope", "seen", *fields_of(visit), *more))
    written = given.get("seen", "")
    try:
        seen = datetime.fromisoformat(written) if written else None
    except ValueError:
        raise NotUnderstood("seen") from None
    if seen is not None and seen.tzinfo is None:
        raise NotUnderstood("seen")
    return _possible(given.get("scope", "")), seen


def _minutes(given: Mapping[str, str]) -> tuple[int | None, dict[str, str]]:
    written = given.get("minutes", "").strip()
    if not written:
        return None, {}
    if written.isascii() and written.isdigit() and len(written) < 8 and 0 < int(written) <= MOST_MINUTES:
        return int(written), {}
    return None, {"minutes": "act.minutes_wrong"}
