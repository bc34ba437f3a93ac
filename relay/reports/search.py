"""Messages found by what they are: a state, a topic, an account, a key, a code, the time of their insert.

What waits and what failed is found by its partial index, whatever else there is. Of what is done no index leads to a
topic or a key, so a stretch looks at the next MOST_LOOKED messages by their ids and no more, and says how far it came.
A time of the insert is first turned into ids, for ids follow it: within SLACK, for a transaction has one time and draws
its ids while it lasts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from relay.reports.stretches import NEWEST, Cursor, Stretch, cut
from relay.sql import run

MOST_LOOKED = 50_000
DISCARDED = "relay.discarded"  # by a person, who knows of it
SLACK = timedelta(minutes=5)
_OLDEST = Cursor((0,), newer=True)
STATES = ("pending", "due", "waiting", "held", "done", "failed")


@dataclass(frozen=True, slots=True)
class Search:
    """What is looked for; None: all. ``since`` and ``until`` are times of the insert, the latter exclusive."""

    state: str | None = None
    topic: str | None = None
    account: str | None = None
    ordering_key: str | None = None
    error_code: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class FoundMessage:
    """``available_at`` None: held, or due since ever. ``archived``: moved out of the outbox."""

    id: int
    status: str
    topic: str
    account: str
    ordering_key: str | None
    attempts: int
    error_code: str | None
    created_at: datetime
    available_at: datetime | None
    finished_at: datetime | None
    held: bool = False
    archived: bool = False


_COLUMNS = ", ".join(field.name for field in fields(FoundMessage) if field.name != "archived")
_LINES = """
select <columns>, false as archived from {schema}.read_outbox where id = any (cast(:ids as bigint[]))
union all
select <columns>, true from {schema}.read_outbox_archive where id = any (cast(:ids as bigint[]))
""".replace("<columns>", _COLUMNS)
# Where the first message of a time is: twenty look-ups by halving, for ids follow the time. Null: there is none.
_EDGE = """
with recursive edge (low, high) as (
    select min(id), max(id) + 1 from {schema}.read_outbox
    union all
    select case when middle.before then middle.id + 1 else low end,
        case when middle.before then high else low + (high - low) / 2 end
    from edge cross join lateral (
        select id, created_at < cast(:moment as timestamptz) as before from {schema}.read_outbox
        where id >= low + (high - low) / 2 order by id limit 1) as middle
    where low < high
)
select max(low) from edge
"""
# Each half has the condition of one partial index. Worked out before it is sorted (offset 0), or the planner might
# walk down the primary key past all that is done.
_HALF = """
    (select id from (
        select id from {schema}.read_outbox where status = 'pending' and ordering_key is <which> <conditions> offset 0
    ) as one order by id <way> limit :most)"""
_FAILED_OF = """
    (select id from {schema}.read_outbox
     where status = 'failed' and error_code = :error_code <conditions> order by id <way> limit :most)"""
_FAILED_ARCHIVED = """
    (select id from {schema}.read_outbox_archive
     where status = 'failed' and error_code = :error_code <conditions> order by id <way> limit :most)"""
_FAILED_KEY = """
    (select id from (
        select id from {schema}.read_outbox
        where status = 'failed' and ordering_key is not null and ordering_key = :ordering_key <conditions> offset 0
    ) as one order by id <way> limit :most)"""
# From code to code along the index; nulls come last.
FAILED_CODES = """
    code (error_code) as (
        (select error_code from {schema}.read_outbox where status = 'failed' order by error_code limit 1)
        union all
        select (select o.error_code from {schema}.read_outbox o
                where o.status = 'failed' and o.error_code > code.error_code order by o.error_code limit 1)
        from code where code.error_code is not null
    ),
    codes as (select error_code from code where error_code is not null limit 500)"""
_FAILED_ANY = """
    (select newest.id from codes cross join lateral (
        select o.id from {schema}.read_outbox o
        where o.status = 'failed' and o.error_code = codes.error_code <conditions> order by o.id <way> limit :most
     ) as newest order by newest.id <way> limit :most)
    union all
    (select id from (
        select id from {schema}.read_outbox where status = 'failed' and error_code is null <conditions> offset 0
    ) as one order by id <way> limit :most)"""
_ARCHIVED_KEY = """
    (select id from (
        select id from {schema}.read_outbox_archive
        where ordering_key is not null and ordering_key = :ordering_key <status> <conditions> offset 0
    ) as one order by id <way> limit :most)"""
_LOOKED = """
    (select id from looked where true <status> <conditions> order by id <way> limit :most)"""
_QUERY = """
with recursive <codes> looked as materialized (
    select id, status, topic, account, ordering_key, error_code, created_at
    from {schema}.read_outbox where <range> order by id <way> limit :most_looked
)
select array(select distinct id from (<sources>) as found order by id <way> limit :most) as ids,
    (select <last>(id) from looked) as looked_to, (select count(*) from looked) as looked
"""


def find(connection: Connection, wanted: Search, cursor: Cursor = NEWEST, *, limit: int = 50) -> Stretch[FoundMessage]:
    """The newest messages first; the position of a line is its id."""
    found, looked_to = _ids(connection, wanted, _sources(wanted), cursor, limit, ())
    lines = {row.id: FoundMessage(*row) for row in run(connection, _LINES, ids=found)}
    rows = [lines[one] for one in found if one in lines]
    return cut(rows, limit, cursor, lambda line: (line.id,), None if looked_to is None else (looked_to,))


def changeable(connection: Connection, wanted: Search, *, most: int) -> tuple[list[int], bool]:
    """Ids of the oldest ``most`` that fit and may still change, in their order; and whether there are more.

    What is archived is final. What a person discarded is found by that code only.
    """
    sources = [one for one in _sources(wanted) if one not in (_FAILED_ARCHIVED, _ARCHIVED_KEY)]
    also = () if wanted.error_code is not None else (f"error_code is distinct from '{DISCARDED}'",)
    found, looked_to = _ids(connection, wanted, sources, _OLDEST, most, also)
    return found[:most], len(found) > most or looked_to is not None


def _ids(
    connection: Connection, wanted: Search, sources: list[str], cursor: Cursor, limit: int, also: Sequence[str]
) -> tuple[list[int], int | None]:
    """One more than ``limit`` if there are more, and how far was looked, where that was not to the end."""
    given: dict[str, Any] = {"most": limit + 1, "position": cursor.position[0] if cursor.position else None}
    ids = ["true"]
    if cursor.position:
        ids.append("id > :position" if cursor.newer else "id < :position")
    for name, moment, comparison in (("low", wanted.since, ">="), ("high", wanted.until, "<")):
        if moment is not None:
            edge = moment - SLACK if name == "low" else moment + SLACK
            given[name] = run(connection, _EDGE, moment=edge).scalar_one() or 0
            ids.append(f"id {comparison} :{name}")
    looks = _LOOKED in sources
    conditions = [*_conditions(wanted, given), *also]
    given["most_looked"] = (MOST_LOOKED if conditions else limit + 1) if looks else 0
    found = run(connection, _filled(sources, ids, conditions, wanted, newer=cursor.newer), **given).one()
    full = looks and found.looked == given["most_looked"] and len(found.ids) <= limit
    floor = found.looked_to if full and conditions else None
    return [one for one in found.ids if floor is None or (one <= floor if cursor.newer else one >= floor)], floor


def _sources(wanted: Search) -> list[str]:
    key = wanted.ordering_key is not None
    waits = [_HALF.replace("<which>", "not null")] + ([] if key else [_HALF.replace("<which>", "null")])
    if wanted.state == "failed":
        if key:
            return [_FAILED_KEY, _ARCHIVED_KEY]
        return [_FAILED_OF, _FAILED_ARCHIVED] if wanted.error_code is not None else [_FAILED_ANY]
    if wanted.state in (None, "done"):
        also = [] if wanted.state else [*waits, _FAILED_KEY]
        return [_LOOKED, _ARCHIVED_KEY, *also] if key else [_LOOKED]
    return waits


def _conditions(wanted: Search, given: dict[str, Any]) -> list[str]:
    said = []
    for name in ("topic", "account", "ordering_key", "error_code"):
        if (value := getattr(wanted, name)) is not None:
            given[name] = value
            said.append(f"{name} = :{name}")
    for name, moment, comparison in (("since", wanted.since, ">="), ("until", wanted.until, "<")):
        if moment is not None:
            given[name] = moment
            said.append(f"created_at {comparison} cast(:{name} as timestamptz)")
    if wanted.state == "done":
        said.append("status = 'done'")
    return said


_OF_STATE = {
    "due": "and not held and (available_at is null or available_at <= now())",
    "waiting": "and available_at > now()",
    "held": "and held",
}


def _filled(sources: list[str], ids: list[str], conditions: list[str], wanted: Search, *, newer: bool) -> str:
    """The statement; what stands in angle brackets are texts of this module, values are parameters."""
    plain = "".join(f" and {one}" for one in (*ids[1:], *conditions))
    waiting = plain + " " + _OF_STATE.get(wanted.state or "", "")
    status = f"and status = '{wanted.state}'" if wanted.state in ("done", "failed") else ""
    filled = [
        source.replace("<conditions>", waiting if "'pending'" in source else plain).replace("<status>", status)
        for source in sources
    ]
    return (
        _QUERY.replace("<codes>", FAILED_CODES + "," if _FAILED_ANY in sources else "")
        .replace("<range>", " and ".join(ids))
        .replace("<sources>", "\n    union all".join(filled))
        .replace("<last>", "max" if newer else "min")
        .replace("<way>", "asc" if newer else "desc")
    )


_OF_DEDUPE = """
select id from {schema}.read_outbox where account = :account and dedupe_key is not null and dedupe_key = :dedupe_key
union
select message_id from {schema}.read_dedupe where account = :account and dedupe_key = :dedupe_key
limit 10
"""


def of_dedupe_key(connection: Connection, account: str, dedupe_key: str) -> tuple[int, ...]:
    """The ids of the messages of this account that were inserted with this key, also archived and pruned ones."""
    return tuple(run(connection, _OF_DEDUPE, account=account, dedupe_key=dedupe_key).scalars())
