"""How much gets through, and how fast: counted from the calls of the last hour or day, never from the messages.

A call names up to hundreds of messages, and the ids of calls follow the time at which they were claimed. So where the
hour begins is found by halving, in some twenty look-ups, and from there on the calls are read by their primary key: the
newest, at most MOST_CALLS of them. How long messages took is measured on those of SAMPLED_CALLS calls, spread evenly.
What is older is not read, and what has been archived is not counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection

from relay.sql import run

MOST_CALLS = 10_000
SAMPLED_CALLS = 100

HOUR, DAY = timedelta(hours=1), timedelta(days=1)

# Of the two ends ``low`` only goes up: at last it is the first id of the span, or beyond the last one.
CALLS = """
with recursive edge (low, high) as (
    select min(id), max(id) from {schema}.read_call
    union all
    select case when middle.before then middle.id + 1 else low end,
        case when middle.before then high else low + (high - low) / 2 end
    from edge cross join lateral (
        select id, claimed_at < now() - cast(:span as interval) as before from {schema}.read_call
        where id >= low + (high - low) / 2 order by id limit 1) as middle
    where low < high
),
newest as (
    select id, claimed_at, message_ids, outcome, duration_ms from {schema}.read_call
    where id >= (select max(low) from edge) and claimed_at >= now() - cast(:span as interval)
    order by id desc limit :most
)
select count(*) filter (where outcome <> 'released') as calls,
    coalesce(sum(case outcome when 'ok' then cardinality(message_ids)
        when 'partial' then cardinality(message_ids) - (
            select count(*) from {schema}.read_attempt as a
            where a.message_id = any (newest.message_ids) and a.call_id = newest.id) end), 0) as done,
    percentile_disc(array[0.5, 0.95]) within group (order by duration_ms) as call_ms,
    case when count(*) = :most then extract(epoch from now() - min(claimed_at)) end as seconds,
    array_agg(id order by id) filter (where outcome in ('ok', 'partial')) as brought
from newest
"""

# One look-up a message (offset 0): joined plainly, the planner might rather read the whole table.
MESSAGES = """
select percentile_cont(array[0.5, 0.95]) within group (
    order by extract(epoch from message.finished_at - message.created_at))
from {schema}.read_call as call cross join unnest(call.message_ids) as named (id)
cross join lateral (
    select status, call_id, created_at, finished_at from {schema}.read_outbox where id = named.id offset 0) as message
where call.id = any (cast(:calls as bigint[])) and message.status = 'done' and message.call_id = call.id
"""


@dataclass(frozen=True, slots=True)
class Spread:
    """Half of the values are at most ``half``, 95 of 100 at most ``most``."""

    half: float
    most: float


@dataclass(frozen=True, slots=True)
class Throughput:
    """Of the calls claimed within the last ``seconds``: the span asked for, or less where it has too many calls.

    ``calls``: those that are settled. ``done``: messages that the platform accepted. ``call_ms``: from sending to the
    answer. ``message_seconds``: from the insert to ``done``, whatever a message waited for; of a sample. The last two
    are None where there was nothing to measure.
    """

    seconds: float
    calls: int
    done: int
    done_per_second: float
    call_ms: Spread | None
    message_seconds: Spread | None


def throughput(connection: Connection, span: timedelta = HOUR, *, most_calls: int = MOST_CALLS) -> Throughput:
    """What the calls of this span brought; the cost grows with them, up to a bound, and not with what is older."""
    found = run(connection, CALLS, span=span, most=most_calls).one()
    seconds = float(found.seconds or span.total_seconds())
    return Throughput(
        seconds=seconds,
        calls=found.calls,
        done=int(found.done),
        done_per_second=int(found.done) / seconds,
        call_ms=_spread(found.call_ms),
        message_seconds=_spread(_waits(connection, found.brought or ())),
    )


def _waits(connection: Connection, calls: Any) -> Any:
    """Of the messages of some of these calls, in seconds."""
    if not calls:
        return None
    step = -(-len(calls) // SAMPLED_CALLS)
    return run(connection, MESSAGES, calls=list(calls[::step])).scalar_one()


def _spread(values: Any) -> Spread | None:
    return None if values is None or values[0] is None else Spread(float(values[0]), float(values[1]))
