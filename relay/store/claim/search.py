"""What claims need that are told where to look: what is new, what was retried, and where open calls begin."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import Connection

from relay.store.claim import statements as sql
from relay.store.claim.floors import Floors
from relay.store.running import fetch

_MOST = 5000  # new messages that are looked at before a claim
_OVERLAP = 1000  # ids are committed in any order; what is committed later still waits for the next full round


def look_for_new(connection: Connection, schema: str, floors: Floors) -> set[str]:
    """Make the accounts and keys of new messages known; those accounts."""
    after = None if floors.newest_id is None else floors.newest_id - _OVERLAP
    new = fetch(connection, sql.LOOK_FOR_NEW, schema, {"after": after, "most": _MOST})
    for row in new:
        if row.pending:
            floors.meet(row.account, row.ordering_key)
    floors.newest_id = max((row.newest_id for row in new), default=floors.newest_id)
    return {row.account for row in new if row.pending}


def not_paused(connection: Connection, schema: str, accounts: Collection[str]) -> set[str]:
    """Those of these accounts."""
    rows = fetch(connection, sql.NOT_PAUSED, schema, {"accounts": list(accounts)}) if accounts else []
    return {row.account for row in rows}


def look_for_retries(connection: Connection, schema: str, floors: Floors) -> None:
    """Make the floors forget where they were if somebody has retried a message since the last look.

    And make them forget everything if the database may have gone back in time: a place behind which nothing was
    pending, or a call before which all were settled, says nothing about ids that are given out again.
    """
    (found,) = fetch(connection, sql.RECENT_RETRIES, schema, {"after": floors.newest_action_id})
    floors.live_in(found.history)
    floors.meet_retries(found.newest_id, frozenset(found.retries or ()))


def find_first_open_call(connection: Connection, schema: str, floors: Floors) -> None:
    """Find where open calls begin; leave it as it was while somebody is just naming one."""
    newest = _value(connection, sql.NEWEST_CALL, schema)
    if _value(connection, sql.NOBODY_NAMES_CALLS, schema):
        floors.open_from = _value(connection, sql.FIRST_OPEN_CALL, schema, newest=newest, open_from=floors.open_from)
        floors.open_from_is_old = False


def _value(connection: Connection, text: str, schema: str, **parameters: Any) -> Any:
    return fetch(connection, text, schema, parameters)[0][0]
