"""Calls, the newest first; and one of them with all of its positions, and what came back for each."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from relay.reports.stretches import NEWEST, Cursor, Stretch, cut
from relay.sql import run

MOST_POSITIONS = 500
# Halves are called right after what they were split off from, so they are looked for among the next ids.
MOST_AFTER = 5_000

_LINE = """id, account, worker, cardinality(message_ids) as messages, parent_id, claimed_at, lease_until, sent_at,
    settled_at, outcome, http_status, request_id, error_code, sub_code, error_message, request_bytes, duration_ms,
    created_by"""
_LIST = """
select <line>, false as archived from {schema}.read_call where <conditions> order by id <way> limit :most
""".replace("<line>", _LINE)
_OF_REQUEST = """
select <line>, false as archived from {schema}.read_call where request_id is not null and request_id = :request_id
union all
select <line>, true from {schema}.read_call_archive where request_id is not null and request_id = :request_id
order by id desc limit 100
""".replace("<line>", _LINE)
_ONE = """
select <line>, false as archived, message_ids[1:<most>] as ids from {schema}.read_call where id = :id
union all
select <line>, true, message_ids[1:<most>] from {schema}.read_call_archive where id = :id
limit 1
""".replace("<line>", _LINE).replace("<most>", str(MOST_POSITIONS))
_POSITIONS = """
select cast(named.index - 1 as integer) as result_index, named.id as message_id, tried.outcome, tried.error_code,
    tried.error_message, tried.retry_at, message.status, message.topic, message.ordering_key, message.call_id
from unnest(cast(:ids as bigint[])) with ordinality as named (id, index)
left join lateral (
    select outcome, error_code, error_message, retry_at from {schema}.read_attempt
    where message_id = named.id and call_id = :call
    union all
    select outcome, error_code, error_message, retry_at from {schema}.read_attempt_archive
    where message_id = named.id and call_id = :call
    limit 1) as tried on true
left join lateral (
    select status, topic, ordering_key, call_id from {schema}.read_outbox where id = named.id
    union all
    select status, topic, ordering_key, call_id from {schema}.read_outbox_archive where id = named.id
    limit 1) as message on true
order by named.index
"""
_HALVES = """
select id from (select id, parent_id from {schema}.<calls> where id > :id and id <= :id + :most) as after
where parent_id = :id order by id limit 10
"""


@dataclass(frozen=True, slots=True)
class CallLine:
    """``outcome`` None: it is open. ``messages``: how many it names. ``created_by``: the login."""

    id: int
    account: str
    worker: str
    messages: int
    parent_id: int | None
    claimed_at: datetime
    lease_until: datetime
    sent_at: datetime | None
    settled_at: datetime | None
    outcome: str | None
    http_status: int | None
    request_id: str | None
    error_code: str | None
    sub_code: str | None
    error_message: str | None
    request_bytes: int | None
    duration_ms: int | None
    created_by: str | None
    archived: bool


@dataclass(frozen=True, slots=True)
class CallPosition:
    """``came``: what the call meant for the message that stood there.

    ``done``, ``retry``, ``failed`` and ``unknown`` are outcomes; ``split``: the batch was refused and sent again in
    halves; ``released``: given back unsent; ``open``: in flight; ``gone``: there is no such message any more.
    """

    result_index: int
    message_id: int
    came: str
    error_code: str | None
    error_message: str | None
    retry_at: datetime | None
    topic: str | None
    ordering_key: str | None


@dataclass(frozen=True, slots=True)
class CallReport:
    """``positions``: at most MOST_POSITIONS. ``halves``: the calls that it was split into."""

    line: CallLine
    positions: tuple[CallPosition, ...]
    halves: tuple[int, ...]


def calls(
    connection: Connection, cursor: Cursor = NEWEST, *, only_open: bool = False, limit: int = 50
) -> Stretch[CallLine]:
    """The newest calls that are not archived; the position of a line is its id."""
    conditions = ["settled_at is null"] if only_open else ["true"]
    if cursor.position:
        conditions.append("id > :position" if cursor.newer else "id < :position")
    sql = _LIST.replace("<conditions>", " and ".join(conditions)).replace("<way>", "asc" if cursor.newer else "desc")
    given: dict[str, Any] = {"position": cursor.position[0]} if cursor.position else {}
    rows = [CallLine(*row) for row in run(connection, sql, most=limit + 1, **given)]
    return cut(rows, limit, cursor, lambda line: (line.id,))


def calls_of_request(connection: Connection, request_id: str) -> tuple[CallLine, ...]:
    """The calls that the platform answered with this request id, archived ones too; at most 100."""
    return tuple(CallLine(*row) for row in run(connection, _OF_REQUEST, request_id=request_id))


def one_call(connection: Connection, call_id: int) -> CallReport | None:
    """One call, archived or not; None: there is none of this id."""
    row = run(connection, _ONE, id=call_id).one_or_none()
    if row is None:
        return None
    line = CallLine(*row[:-1])
    halves = _HALVES.replace("<calls>", "read_call_archive" if line.archived else "read_call")
    return CallReport(
        line,
        tuple(_position(line, one) for one in run(connection, _POSITIONS, ids=row.ids, call=call_id)),
        tuple(run(connection, halves, id=call_id, most=MOST_AFTER).scalars()),
    )


def _position(line: CallLine, row: Any) -> CallPosition:
    return CallPosition(
        row.result_index,
        row.message_id,
        _came(line, row),
        row.error_code,
        row.error_message,
        row.retry_at,
        row.topic,
        row.ordering_key,
    )


def _came(line: CallLine, row: Any) -> str:
    """An attempt says what was not done; what has none was done, or its whole call says what became of it."""
    if row.outcome is not None:
        return str(row.outcome)
    if line.outcome is None:
        return "open"
    if row.status == "done" and row.call_id == line.id:
        return "done"
    if line.outcome in ("released", "unknown"):
        return str(line.outcome)
    if line.outcome == "rejected":
        return "split"
    return "gone" if row.status is None else "done"
