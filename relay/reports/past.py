"""What people and workers did: pauses in force, pauses that have ended, and the ledger."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from relay.reports.backlog import PauseListed
from relay.reports.stretches import NEWEST, Cursor, Stretch, cut
from relay.sql import run

MOST_LOOKED_IN_LEDGER = 2_000
MOST_LOOKED_FOR_AN_ATTEMPT = 100  # rows that others wrote since this one

_IN_FORCE = """
select scope, until, reason, error_code, since, by, db_user from {schema}.read_pause
where (until is null or until > now()) <beyond> order by scope <way> limit :most
"""
_ENDED = """
select scope, until, reason, error_code, since, by, db_user, ended_at, ended_by, ended from {schema}.read_pause_past
where true <beyond> order by ended_at <way>, scope <way> limit :most
"""
_LEDGER = """
select id, at, actor, db_user, action, reason, cast(selection as text) as selection, message_ids[1:20] as first_ids,
    count
from {schema}.read_action where true <beyond> order by id <way> limit :most
"""
_OF_MESSAGE = """
select id, at, actor, db_user, action, reason, cast(selection as text) as selection, message_ids[1:20] as first_ids,
    count
from (select * from {schema}.read_action order by id desc limit :looked) as newest
where message_ids @> array[cast(:id as bigint)] order by id limit 50
"""
_ATTEMPT = """
select max(id) from (select * from {schema}.read_action order by id desc limit :looked) as newest
where action = :action and actor = :actor and selection ->> 'scope' = :scope
    and selection ->> 'left_alone_why' is not null
"""


@dataclass(frozen=True, slots=True)
class PauseLine(PauseListed):
    """``db_user``: the login; ``by`` is what it calls itself."""

    db_user: str | None


@dataclass(frozen=True, slots=True)
class PastPause(PauseLine):
    """``ended``: ``by itself``, ``lifted`` or ``replaced``, by the login ``ended_by``."""

    ended_at: datetime
    ended_by: str
    ended: str


@dataclass(frozen=True, slots=True)
class LedgerLine:
    """``selection``: JSON, by which words the messages were chosen. ``first_ids``: at most twenty of ``count``."""

    id: int
    at: datetime
    actor: str
    db_user: str
    action: str
    reason: str
    selection: str | None
    first_ids: tuple[int, ...]
    count: int


def pauses_in_force(connection: Connection, cursor: Cursor = NEWEST, *, limit: int = 50) -> Stretch[PauseLine]:
    """By scope, in its order; ``older`` leads on. The position of a line is its scope."""
    beyond = f"and scope {'<' if cursor.newer else '>'} :scope" if cursor.position else ""
    sql = _IN_FORCE.replace("<beyond>", beyond).replace("<way>", "desc" if cursor.newer else "asc")
    rows = run(connection, sql, most=limit + 1, **_given(cursor, "scope"))
    return cut([PauseLine(*row) for row in rows], limit, cursor, lambda line: (line.scope,))


def pause_in_force(connection: Connection, scope: str) -> PauseLine | None:
    """The one of this scope; None: it is not paused."""
    sql = _IN_FORCE.replace("<beyond>", "and scope = :scope").replace("<way>", "asc")
    row = run(connection, sql, most=1, scope=scope).one_or_none()
    return None if row is None else PauseLine(*row)


def past_pauses(connection: Connection, cursor: Cursor = NEWEST, *, limit: int = 50) -> Stretch[PastPause]:
    """The latest that ended first. The position of a line is (ended_at, scope), the time as ISO 8601 writes it."""
    comparison = ">" if cursor.newer else "<"
    beyond = f"and (ended_at, scope) {comparison} (cast(:ended_at as timestamptz), :scope)" if cursor.position else ""
    sql = _ENDED.replace("<beyond>", beyond).replace("<way>", "asc" if cursor.newer else "desc")
    rows = run(connection, sql, most=limit + 1, **_given(cursor, "ended_at", "scope"))
    return cut([PastPause(*row) for row in rows], limit, cursor, lambda line: (line.ended_at.isoformat(), line.scope))


def ledger(connection: Connection, cursor: Cursor = NEWEST, *, limit: int = 50) -> Stretch[LedgerLine]:
    """What people did, and each start of a worker, the latest first. The position of a line is its id."""
    beyond = f"and id {'>' if cursor.newer else '<'} :id" if cursor.position else ""
    sql = _LEDGER.replace("<beyond>", beyond).replace("<way>", "asc" if cursor.newer else "desc")
    rows = run(connection, sql, most=limit + 1, **_given(cursor, "id"))
    return cut([_line(row) for row in rows], limit, cursor, lambda line: (line.id,))


def ledger_of_message(connection: Connection, message_id: int) -> tuple[LedgerLine, ...]:
    """What people did with this message, of the latest MOST_LOOKED_IN_LEDGER rows of the ledger; in their order."""
    rows = run(connection, _OF_MESSAGE, id=message_id, looked=MOST_LOOKED_IN_LEDGER)
    return tuple(_line(row) for row in rows)


def attempt_at(connection: Connection, action: str, scope: str, actor: str) -> int | None:
    """The latest row of the ledger in which this person came too late to pause or resume this; asked where it was."""
    given = {"action": action, "scope": scope, "actor": actor, "looked": MOST_LOOKED_FOR_AN_ATTEMPT}
    found: int | None = run(connection, _ATTEMPT, **given).scalar()
    return found


def _given(cursor: Cursor, *names: str) -> dict[str, Any]:
    return dict(zip(names, cursor.position, strict=True)) if cursor.position else {}


def _line(row: Any) -> LedgerLine:
    facts = row._mapping
    return LedgerLine(**{**facts, "first_ids": tuple(facts["first_ids"] or ())})
