"""What a person should look at, as far as that is cheap to know: one look-up each, along an index of what is open."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from relay.sql import SOUND, run

_OPEN = """
select count(*) filter (where lease_until >= now()) as flying,
    count(*) filter (where lease_until < now() - make_interval(secs => :lapsed_seconds)) as lapsed,
    min(lease_until) as since, min(id) filter (where not {sound}) as unsound
from {schema}.read_call c where settled_at is null
""".replace("{sound}", SOUND)
_FLOOD = """
select created_by as login, count(*) as calls, cast(sum(cardinality(message_ids)) as bigint) as messages
from {schema}.read_call where settled_at is null
group by created_by having sum(cardinality(message_ids)) > :most order by messages desc limit 1
"""
MOST_IN_FLIGHT = 100_000  # messages in the open calls of one login; more than any fleet has
_PACES = """
select right(app_key, 4) as tail, next_at, db_user
from {schema}.read_pace where next_at > clock_timestamp() + make_interval(secs => :far_seconds)
order by next_at desc limit 3
"""
_CONTENT = """
select cast(content as text) as content, traceparent from {schema}.audit_message where id = :id
"""


@dataclass(frozen=True, slots=True)
class CallFlood:
    """Open calls of one login that name more messages than any fleet has in flight: each claim reads all of them.

    ``login`` None: they are of a version that did not write it down.
    """

    login: str | None
    calls: int
    messages: int


@dataclass(frozen=True, slots=True)
class OpenCalls:
    """``lapsed``: whose lease ran out, the first at ``since``. ``unsound``: the first that no relay can have made."""

    flying: int
    lapsed: int
    since: datetime | None
    unsound: int | None
    flood: CallFlood | None


@dataclass(frozen=True, slots=True)
class PutOffPace:
    """``tail``: the end of the app key, whose next call is not before ``next_at``; the login moved it furthest."""

    tail: str
    next_at: datetime
    db_user: str | None


@dataclass(frozen=True, slots=True)
class MaskedContent:
    """``content``: JSON, masked as the audit views do. ``traceparent``: of the program that inserted it."""

    content: str
    traceparent: str | None


def open_calls(connection: Connection, lapsed_seconds: float) -> OpenCalls:
    """Calls that are not settled: a worker that runs settles lapsed ones within moments."""
    found = run(connection, _OPEN, lapsed_seconds=lapsed_seconds).one()
    flood = run(connection, _FLOOD, most=MOST_IN_FLIGHT).one_or_none()
    return OpenCalls(
        found.flying, found.lapsed, found.since, found.unsound, None if flood is None else CallFlood(*flood)
    )


def put_off(connection: Connection, far_seconds: float) -> tuple[PutOffPace, ...]:
    """App keys whose next call is further away than that; at most three."""
    return tuple(PutOffPace(*row) for row in run(connection, _PACES, far_seconds=far_seconds))


def masked_content(connection: Connection, message_id: int) -> MaskedContent | None:
    """What the audit views show of the content; None: there is no such message."""
    row = run(connection, _CONTENT, id=message_id).one_or_none()
    return None if row is None else MaskedContent(*row)
