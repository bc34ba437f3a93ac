"""Ordering keys whose earliest message waits or is held, so that all behind it wait too.

They are looked for along the index of all that wait with a key, by account and key, for none leads to those alone.
Where few keys are blocked and a hundred thousand messages wait, a stretch looks at the next MOST_COUNTED, as page one
does, and says how far it came; where many are, the first few of them fill it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from relay.reports.stretches import NEWEST, Cursor, Position, Stretch, cut
from relay.reports.waiting import MOST_COUNTED
from relay.sql import run

MOST_BEHIND = 1_000
FEW = 1_000

# The condition and the order of the index, which is read no further than that.
_NEXT = """
    select account, ordering_key, id, held or available_at > now() as waits from {schema}.read_outbox
    where status = 'pending' and ordering_key is not null <beyond>
    order by account <way>, ordering_key <way>, id <way> limit cast(:most_looked as bigint)"""
# Of a key that waits, the message before which no other is pending. Read backwards, a key is met by its last message,
# and the bound may come before its first: of the key that was met last, the first one is looked up.
_HEADS = """
    select id, account, ordering_key from (
        select id, account, ordering_key from next where waits
        union
        select first.id, edge.account, edge.ordering_key from edge cross join lateral (
            select id, held or available_at > now() as waits from {schema}.read_outbox
            where status = 'pending' and ordering_key is not null and account = edge.account
              and ordering_key = edge.ordering_key order by id limit 1) as first
        where first.waits
    ) as one
    where not exists (
        select from {schema}.read_outbox earlier
        where earlier.status = 'pending' and earlier.ordering_key is not null and earlier.account = one.account
          and earlier.ordering_key = one.ordering_key and earlier.id < one.id)"""
_BLOCKED = """
with next as materialized (<next>),
edge as materialized (select account, ordering_key from next offset cast(:most_looked as bigint) - 1 limit 1),
head as materialized (<heads> order by account <way>, ordering_key <way> limit :most)
select * from (
    select head.account, head.ordering_key, head.id as head_id, message.available_at, message.held, message.attempts,
        message.error_code, message.error_message, message.created_at, behind.messages
    from head
    cross join lateral (
        select available_at, held, attempts, error_code, error_message, created_at
        from {schema}.read_outbox where id = head.id offset 0) as message
    cross join lateral (select count(*) as messages from (
        select from {schema}.read_outbox o
        where o.status = 'pending' and o.ordering_key is not null and o.account = head.account
          and o.ordering_key = head.ordering_key limit :most_behind) as one) as behind
    union all
    select account, ordering_key, null, null, null, null, null, null, null, null from edge
) as line
order by account <way>, ordering_key <way>
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


def blocked_keys(
    connection: Connection, cursor: Cursor = NEWEST, *, limit: int = 50, most_looked: int = MOST_COUNTED
) -> Stretch[BlockedKeyLine]:
    """By account and key, in their order; ``older`` leads on. The position of a line is (account, ordering_key)."""
    beyond, given = "", dict[str, Any](most=limit + 1, most_behind=MOST_BEHIND)
    if cursor.position:
        beyond = f"and (account, ordering_key) {'<' if cursor.newer else '>'} (:account, :ordering_key)"
        given |= dict(zip(("account", "ordering_key"), cursor.position, strict=True))
    sql = _BLOCKED.replace("<next>", _NEXT).replace("<heads>", _HEADS).replace("<beyond>", beyond)
    sql = sql.replace("<way>", "desc" if cursor.newer else "asc")
    lines, edge = _looked(connection, sql, given | {"most_looked": min(FEW, most_looked)})
    if edge is not None and len(lines) <= limit and most_looked > FEW:
        lines, edge = _looked(connection, sql, given | {"most_looked": most_looked})
    return cut(lines, limit, cursor, lambda line: (line.account, line.ordering_key), edge)


def _looked(connection: Connection, sql: str, given: dict[str, Any]) -> tuple[list[BlockedKeyLine], Position | None]:
    """The lines, and the key at which was stopped to look, if there was more."""
    rows = run(connection, sql, **given).all()
    lines = [BlockedKeyLine(*row) for row in rows if row.head_id is not None]
    edges = [(row.account, row.ordering_key) for row in rows if row.head_id is None]
    return lines, edges[0] if edges else None
