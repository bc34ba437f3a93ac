"""What a person does in the admin: the operators' functions, by Django's connection, in the name of Django's user.

Each function changes what it may, and leaves a row in the ledger, in one transaction: the name and the reason given
here, and the login of the database beside them. Who calls them needs to be a member of ``relay_operator`` and no right
on a table. A lock is waited for LOCK_SECONDS at the most. What was looked at is what is changed: what somebody else has
changed since then is left alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.db import DatabaseError, connections

from relay.errors import RelayError
from relay.integrations.django.listing import bounded
from relay.integrations.django.places import quoted, schema

LOCK_SECONDS = 5
_LOCKED = "Somebody keeps it locked. The same by manage.py relay tells who, and how to end that."
_WRONG = "manage.py relay check looks for what is wrong; relay roles tells who may what."
_THROUGH = json.dumps({"through": "Django's admin"})

CHANGED = "it has changed since you looked"  # in the words of the database
NO_PAUSE = "-infinity"

_WHY_NOT = "select id, why_not, version from {schema}.why_not(%s, cast(%s as bigint[]))"
_OF_VERB = {
    "retry": "{schema}.retry(cast(%s as bigint[]), %s, %s, cast(%s as json), null, cast(%s as bigint[]))",
    "discard": "{schema}.discard(cast(%s as bigint[]), %s, %s, cast(%s as json), cast(%s as bigint[]))",
}
_ACT = "select changed, left_alone, why_not, action from <function>"
# A moment goes through a page and comes back: in a form that every session reads alike.
_PAUSES = """
select scope, by, reason, to_char(since at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
from {schema}.audit_pause where in_force and scope = any (cast(%s as text[]))
"""
_PAUSE = """
select {schema}.pause_scope(%s, now() + make_interval(mins => cast(%s as integer)), %s, %s, cast(%s as json),
    cast(%s as timestamptz))
"""
_RESUME = "select {schema}.resume_scope(%s, %s, %s, cast(%s as json), cast(%s as timestamptz))"


@dataclass(frozen=True, slots=True)
class Wish:
    """Who wants it, and why: both are kept in the ledger."""

    actor: str
    reason: str


@dataclass(frozen=True, slots=True)
class WhatIsThere:
    """What is in the way of a verb, None: nothing is; and by what the row is known again."""

    why_not: str | None
    version: int | None


@dataclass(frozen=True, slots=True)
class Standing:
    """A pause in force, and by what it is known again."""

    by: str
    reason: str
    since: str


@dataclass(frozen=True, slots=True)
class WhatChanged:
    """``left_alone``: id → why not; ``action``: the row of the ledger, None where nothing was to be changed."""

    ids: tuple[int, ...]
    left_alone: dict[int, str]
    action: int | None


def look(using: str, verb: str, ids: Sequence[int]) -> dict[int, WhatIsThere]:
    """For each id what the verb would meet now."""
    with _acting(using) as cursor:
        cursor.execute(_written(_WHY_NOT), [verb, list(ids)])
        return {id_: WhatIsThere(why, version) for id_, why, version in cursor.fetchall()}


def act(using: str, verb: str, seen: Mapping[int, int], order: Wish) -> WhatChanged:
    """Retry or discard messages (id → its version), those that are still as they were seen."""
    with _acting(using) as cursor:
        function = _written(_ACT.replace("<function>", _OF_VERB[verb]))
        cursor.execute(function, [list(seen), order.reason, order.actor, _THROUGH, list(seen.values())])
        changed, left_alone, reasons, action = cursor.fetchone()
    return WhatChanged(tuple(changed), dict(zip(left_alone or (), reasons or (), strict=True)), action)


def pauses(using: str, scopes: Sequence[str]) -> dict[str, Standing]:
    """Those of these scopes that hold now."""
    with _acting(using) as cursor:
        cursor.execute(_written(_PAUSES), [list(scopes)])
        return {scope: Standing(*rest) for scope, *rest in cursor.fetchall()}


def pause(using: str, scope: str, order: Wish, *, minutes: int | None, seen: str) -> int | None:
    """Claim nothing of it for ``minutes``, or until it is resumed (None); the row of the ledger.

    ``seen``: the ``since`` of the pause to be replaced, or NO_PAUSE. None where it is no longer so.
    """
    with _acting(using) as cursor:
        cursor.execute(_written(_PAUSE), [scope, minutes, order.reason, order.actor, _THROUGH, seen])
        done: int | None = cursor.fetchone()[0]
    return done


def resume(using: str, scope: str, order: Wish, *, seen: str) -> int | None:
    """End the pause that was seen, a person's or a worker's; the row of the ledger, or None where it is no more."""
    with _acting(using) as cursor:
        cursor.execute(_written(_RESUME), [scope, order.reason, order.actor, _THROUGH, seen])
        found: int | None = cursor.fetchone()[0]
    return found


@contextmanager
def _acting(using: str) -> Iterator[Any]:
    """What PostgreSQL refuses becomes a sentence; nothing was changed then."""
    try:
        with bounded(using, "lock_timeout", LOCK_SECONDS), connections[using].cursor() as cursor:
            yield cursor
    except DatabaseError as error:
        told = getattr(error.__cause__, "diag", None)
        if told is None or not told.message_primary:
            raise
        locked = type(error.__cause__).__name__ == "LockNotAvailable"
        raise RelayError(
            f"PostgreSQL refused, and nothing was changed: {told.message_primary}",
            told.message_hint or (_LOCKED if locked else _WRONG),
        ) from error


def _written(statement: str) -> str:
    return statement.replace("{schema}", quoted(schema()))
