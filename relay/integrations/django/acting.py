"""What a person does in the admin: the operators' functions, by Django's connection, in the name of Django's user.

Each function changes what it may, and leaves a row in the ledger, in one transaction: the name and the reason given
here, and the login of the database beside them. Who calls them needs to be a member of ``relay_operator`` and no right
on a table. A lock is waited for LOCK_SECONDS at the most.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
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

_WHY_NOT = "select id, why_not from {schema}.why_not(%s, cast(%s as bigint[]))"
_OF_VERB = {
    "retry": "{schema}.retry(cast(%s as bigint[]), %s, %s, cast(%s as json), null)",
    "discard": "{schema}.discard(cast(%s as bigint[]), %s, %s, cast(%s as json))",
}
_ACT = "select changed, left_alone, why_not, action from <function>"
_PAUSE = """
select {schema}.pause_scope(%s, now() + make_interval(mins => cast(%s as integer)), %s, %s, cast(%s as json))
"""
_RESUME = "select {schema}.resume_scope(%s, %s, %s, cast(%s as json))"


@dataclass(frozen=True, slots=True)
class Wish:
    """Who wants it, and why: both are kept in the ledger."""

    actor: str
    reason: str


@dataclass(frozen=True, slots=True)
class WhatChanged:
    """``left_alone``: id → why not; ``action``: the row of the ledger, None where nothing was changed."""

    ids: tuple[int, ...]
    left_alone: dict[int, str]
    action: int | None


def why_not(using: str, verb: str, ids: Sequence[int]) -> dict[int, str | None]:
    """For each id what is in the way of the verb now; None: nothing is."""
    with _acting(using) as cursor:
        cursor.execute(_written(_WHY_NOT), [verb, list(ids)])
        return dict(cursor.fetchall())


def act(using: str, verb: str, ids: Sequence[int], order: Wish) -> WhatChanged:
    """Retry or discard these messages."""
    with _acting(using) as cursor:
        function = _written(_ACT.replace("<function>", _OF_VERB[verb]))
        cursor.execute(function, [list(ids), order.reason, order.actor, _THROUGH])
        changed, left_alone, reasons, action = cursor.fetchone()
    return WhatChanged(tuple(changed), dict(zip(left_alone or (), reasons or (), strict=True)), action)


def pause(using: str, account: str, order: Wish, *, minutes: int | None) -> int:
    """Claim nothing of the account for ``minutes``, or until it is resumed (None); the row of the ledger."""
    with _acting(using) as cursor:
        cursor.execute(_written(_PAUSE), [f"account:{account}", minutes, order.reason, order.actor, _THROUGH])
        return int(cursor.fetchone()[0])


def resume(using: str, scope: str, order: Wish) -> int | None:
    """End a pause, a person's or a worker's; the row of the ledger, or None where nothing was paused."""
    with _acting(using) as cursor:
        cursor.execute(_written(_RESUME), [scope, order.reason, order.actor, _THROUGH])
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
