"""Calls over time: how many messages each stretch of time sent and what came of the calls, and how long calls took.

Counted from the calls alone. Where a stretch begins is found by halving, and of each one the first MOST_OF_A_STRETCH
calls are read, by their primary key; where there are more, the numbers are worked out from those, and say so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from relay.sql import run

MOST_OF_A_STRETCH = 1_000
OUTCOMES = ("ok", "partial", "rejected", "unknown", "released")

SERIES = """
with begins as materialized (
    select stretch.n, stretch.since, edge.id
    from unnest(cast(:edges as timestamptz[])) with ordinality as stretch (since, n)
    cross join lateral (
        with recursive edge (low, high) as (
            select min(id), max(id) + 1 from {schema}.read_call
            union all
            select case when middle.before then middle.id + 1 else low end,
                case when middle.before then high else low + (high - low) / 2 end
            from edge cross join lateral (
                select id, claimed_at < stretch.since as before from {schema}.read_call
                where id >= low + (high - low) / 2 order by id limit 1) as middle
            where low < high
        )
        select coalesce(max(low), 0) as id from edge
    ) as edge
),
stretch as (
    select n, since, lead(since) over (order by n) as until, id, lead(id) over (order by n) as next_id from begins
)
select stretch.since, stretch.until, counted.*
from stretch cross join lateral (
    select count(*) as calls, max(claimed_at) as last,
        coalesce(sum(messages) filter (where outcome = 'ok'), 0) as ok,
        coalesce(sum(messages) filter (where outcome = 'partial'), 0) as partial,
        coalesce(sum(messages) filter (where outcome = 'rejected'), 0) as rejected,
        coalesce(sum(messages) filter (where outcome = 'unknown'), 0) as unknown,
        coalesce(sum(messages) filter (where outcome = 'released'), 0) as released,
        percentile_disc(array[0.5, 0.95]) within group (order by duration_ms) as call_ms
    from (
        select claimed_at, outcome, duration_ms, cardinality(message_ids) as messages
        from {schema}.read_call where id >= stretch.id and id < stretch.next_id order by id limit :most) as first
) as counted
where stretch.until is not null
order by stretch.n
"""
_NOW = "select now()"


@dataclass(frozen=True, slots=True)
class CallStretch:
    """From ``since`` to ``until``: calls, and the messages that they named, by the outcome of the call.

    ``estimated``: there were more calls than were read, so the numbers are those of the first ones, at their rate.
    ``half_ms``, ``most_ms``: half of the calls, and 95 of 100, took at most this long; None: none was answered.
    """

    since: datetime
    until: datetime
    calls: int
    messages: dict[str, int]
    half_ms: int | None
    most_ms: int | None
    estimated: bool

    @property
    def all_messages(self) -> int:
        """Of all calls, whatever came of them."""
        return sum(self.messages.values())


def series(
    connection: Connection, edges: Sequence[datetime], *, most: int = MOST_OF_A_STRETCH
) -> tuple[CallStretch, ...]:
    """One stretch less than there are edges, which ascend."""
    found = []
    for row in run(connection, SERIES, edges=list(edges), most=most):
        full = row.calls >= most and row.last > row.since
        times = (row.until - row.since) / (row.last - row.since) if full else 1.0
        named = {outcome: round(int(getattr(row, outcome)) * times) for outcome in OUTCOMES}
        half, highest = row.call_ms or (None, None)
        found.append(CallStretch(row.since, row.until, round(row.calls * times), named, half, highest, full))
    return tuple(found)


def now(connection: Connection) -> datetime:
    """The time of the database's transaction."""
    moment: datetime = run(connection, _NOW).scalar_one()
    return moment


def last(moment: datetime, span: timedelta, pieces: int) -> list[datetime]:
    """The edges of the last ``pieces`` stretches up to this moment, together as long as ``span``."""
    return [moment - span + span / pieces * n for n in range(pieces + 1)]
