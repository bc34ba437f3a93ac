"""What a claim has to read before it can say where to look; nothing of it locks a row.

A claim that goes everywhere reads nothing. One that keeps to known places: what is new, what was retried, and where
open calls begin. One that keeps to the roster: what is new, and the next of all other accounts.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import Connection

from relay.store.claim import statements as sql
from relay.store.claim.floors import Floors
from relay.store.claim.memory import Memory
from relay.store.claim.moods import Look
from relay.store.claim.rows import Locked
from relay.store.running import fetch
from relay.store.values import ClaimLimits

_MOST = 5000  # new messages that are looked at before a claim
_OVERLAP = 1000  # ids are committed in any order; what is committed later still waits for the next full round


def search(connection: Connection, memory: Memory, limits: ClaimLimits) -> set[str]:
    """Tell the memory what the next look has to know; the accounts that have to be met before they can be claimed."""
    floors = memory.floors
    if floors.resting or floors.remembering:
        look_for_retries(connection, floors)
    if floors.resting:
        if floors.open_from_is_old:
            find_first_open_call(connection, floors)
        new, acquainted = look_for_new(connection, floors), limits.acquainted
        return set() if acquainted is None else not_paused(connection, new.difference(acquainted))
    if memory.roster.crowded:
        return memory.roster.look_around(connection, limits)
    return set()


def unmet_among(connection: Connection, memory: Memory, limits: ClaimLimits, look: Look, locked: Locked) -> set[str]:
    """Leave out what nobody here may produce yet; the accounts that have to be met for it.

    Where every account has its turn those that come next are told as well: all together, so that none has a start.
    """
    if limits.acquainted is None:
        return set()
    unmet = locked.leave_out_all_but(limits.acquainted)
    if unmet and look.goes_everywhere:
        unmet |= memory.roster.look_ahead(connection, limits, locked.accounts_seen[-1].account)
    return unmet


def look_for_new(connection: Connection, floors: Floors) -> set[str]:
    """Make the accounts and keys of new messages known; those accounts."""
    after = None if floors.newest_id is None else floors.newest_id - _OVERLAP
    new = fetch(connection, sql.LOOK_FOR_NEW, {"after": after, "most": _MOST})
    for row in new:
        if row.pending:
            floors.meet(row.account, row.ordering_key)
    floors.newest_id = max((row.newest_id for row in new), default=floors.newest_id)
    return {row.account for row in new if row.pending}


def not_paused(connection: Connection, accounts: Collection[str]) -> set[str]:
    """Those of these accounts."""
    rows = fetch(connection, sql.NOT_PAUSED, {"accounts": list(accounts)}) if accounts else []
    return {row.account for row in rows}


def look_for_retries(connection: Connection, floors: Floors) -> None:
    """Make the floors forget where they were if a person has retried a message since the last look.

    And make them forget everything if the database may have gone back in time: a place behind which nothing was
    pending, or a call before which all were settled, says nothing about ids that are given out again.
    """
    (found,) = fetch(connection, sql.RECENT_RETRIES, {"after": floors.newest_action_id})
    floors.live_in(found.history)
    floors.meet_retries(found.newest_id, frozenset(found.retries or ()))


def find_first_open_call(connection: Connection, floors: Floors) -> None:
    """Find where open calls begin; leave it as it was while a worker is just naming one."""
    newest = _value(connection, sql.NEWEST_CALL)
    if _value(connection, sql.NOBODY_NAMES_CALLS):
        floors.open_from = _value(connection, sql.FIRST_OPEN_CALL, newest=newest, open_from=floors.open_from)
        floors.open_from_is_old = False


def _value(connection: Connection, text: str, **parameters: Any) -> Any:
    return fetch(connection, text, parameters)[0][0]
