"""What may have arrived twice: every outcome that proves nothing, the newest first, and what came of its message."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from relay.reports.stretches import NEWEST, Cursor, Stretch, cut
from relay.sql import numbers, run

_SOURCE = """
    (select at, message_id, call_id, error_code from {schema}.<attempts>
     where outcome = 'unknown' <beyond> order by at <way>, message_id <way>, call_id <way> limit :most)"""
_QUERY = """
select tried.at, tried.message_id, tried.call_id, tried.error_code, message.topic, message.account,
    message.ordering_key, case
        when message.status is null then 'gone'
        when message.status = 'done' then 'accepted later'
        when message.held then 'held'
        when message.status = 'pending' then 'sent again'
        when message.error_code = 'relay.discarded' then 'discarded'
        else 'failed' end as came
from (<sources>
    order by at <way>, message_id <way>, call_id <way> limit :most) as tried
left join lateral (
    select topic, account, ordering_key, status, held, error_code, call_id from {schema}.read_outbox
    where id = tried.message_id
    union all
    select topic, account, ordering_key, status, held, error_code, call_id from {schema}.read_outbox_archive
    where id = tried.message_id
    limit 1) as message on true
order by tried.at <way>, tried.message_id <way>, tried.call_id <way>
"""

_AMONG = """
select distinct message_id from {schema}.read_attempt
where message_id = any (cast(:ids as bigint[])) and outcome = 'unknown' order by message_id
"""


@dataclass(frozen=True, slots=True)
class UnclearOutcome:
    """``came``: ``accepted later``, ``held``, ``sent again`` (or will be), ``discarded``, ``failed``, ``gone``."""

    at: datetime
    message_id: int
    call_id: int
    error_code: str | None
    topic: str | None
    account: str | None
    ordering_key: str | None
    came: str


def duplicates(connection: Connection, cursor: Cursor = NEWEST, *, limit: int = 50) -> Stretch[UnclearOutcome]:
    """Archived ones too. The position of a line is (at, message_id, call_id), the time as ISO 8601 writes it."""
    beyond, given, way = "", dict[str, Any](most=limit + 1), "asc" if cursor.newer else "desc"
    if cursor.position:
        comparison = ">" if cursor.newer else "<"
        beyond = f"and (at, message_id, call_id) {comparison} (cast(:at as timestamptz), :message, :call)"
        given |= dict(zip(("at", "message", "call"), cursor.position, strict=True))
    sources = (_SOURCE.replace("<attempts>", name) for name in ("read_attempt", "read_attempt_archive"))
    sql = _QUERY.replace("<sources>", "\n    union all".join(sources)).replace("<beyond>", beyond).replace("<way>", way)
    rows = [UnclearOutcome(*row) for row in run(connection, sql, **given)]
    return cut(rows, limit, cursor, lambda line: (line.at.isoformat(), line.message_id, line.call_id))


def unclear_among(connection: Connection, ids: Sequence[int]) -> tuple[int, ...]:
    """Those of these messages that a call may have brought to the platform: sent again they may arrive twice."""
    return tuple(run(connection, _AMONG, ids=numbers(ids)).scalars())
