"""Ordering keys whose earliest message waits or is held, so that all behind it wait too."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from relay.reports.stretches import NEWEST, Cursor, Stretch, cut
from relay.sql import run

MOST_BEHIND = 1_000

# Of a key that waits, the message before which no other is pending. Sorted are those alone, not all that is pending.
_HEADS = """
    select head.account, head.ordering_key, head.id, head.available_at, head.held, head.error_code, head.created_at
    from {schema}.read_outbox head
    where head.status = 'pending' and head.ordering_key is not null and (head.held or head.available_at > now())
      and not exists (
          select from {schema}.read_outbox earlier
          where earlier.status = 'pending' and earlier.ordering_key is not null and earlier.account = head.account
            and earlier.ordering_key = head.ordering_key and earlier.id < head.id)"""
_BLOCKED = """
select head.account, head.ordering_key, head.id as head_id, head.available_at, head.held, message.attempts,
    head.error_code, message.error_message, head.created_at, behind.messages
from (<heads> <beyond> order by head.account <way>, head.ordering_key <way> limit :most) as head
cross join lateral (
    select attempts, error_message from {schema}.read_outbox where id = head.id offset 0) as message
cross join lateral (select count(*) as messages from (
    select from {schema}.read_outbox o
    where o.status = 'pending' and o.ordering_key is not null and o.account = head.account
      and o.ordering_key = head.ordering_key limit :most_behind) as one) as behind
order by head.account <way>, head.ordering_key <way>
"""


@dataclass(frozen=True, slots=True)
class BlockedKeyLine:
    """``available_at`` None: held. ``messages``: how many wait, the head among them, up to MOST_BEHIND."""

    account: str
    ordering_key: str
    head_id: int
    available_at: datetime | None
    held: bool
    attempts: int
    error_code: str | None
    error_message: str | None
    created_at: datetime
    messages: int


def blocked_keys(connection: Connection, cursor: Cursor = NEWEST, *, limit: int = 50) -> Stretch[BlockedKeyLine]:
    """By account and key, in their order; ``older`` leads on. The position of a line is (account, ordering_key)."""
    beyond, given = "", dict[str, Any](most=limit + 1, most_behind=MOST_BEHIND)
    if cursor.position:
        beyond = f"and (head.account, head.ordering_key) {'<' if cursor.newer else '>'} (:account, :ordering_key)"
        given |= dict(zip(("account", "ordering_key"), cursor.position, strict=True))
    sql = _BLOCKED.replace("<heads>", _HEADS).replace("<beyond>", beyond)
    rows = run(connection, sql.replace("<way>", "desc" if cursor.newer else "asc"), **given)
    return cut([BlockedKeyLine(*row) for row in rows], limit, cursor, lambda line: (line.account, line.ordering_key))
