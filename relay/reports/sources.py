"""What messages are looked for by, and which index leads to them: the statements of ``search``, and which serve.

Each source gives ids in their order, at most one more than are shown. What waits and what failed has partial indexes;
where few are in them all are sorted. LOOKED has none: it goes along the primary key, no further than until enough fit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime


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


# Each half has the condition of one partial index. Worked out before it is sorted (offset 0), or the planner might
# walk down the primary key past all that is done.
_HALF = """
    (select id from (
        select id from {schema}.read_outbox
        where status = 'pending' and ordering_key is <which> <conditions> <waiting> offset 0
    ) as one order by id <way> limit :most)"""
_FAILED_OF = """
    (select id from {schema}.read_outbox
     where status = 'failed' and error_code = :error_code <conditions> order by id <way> limit :most)"""
FAILED_ARCHIVED = """
    (select id from {schema}.read_outbox_archive
     where status = 'failed' and error_code = :error_code <conditions> order by id <way> limit :most)"""
_FAILED_KEY = """
    (select id from (
        select id from {schema}.read_outbox
        where status = 'failed' and ordering_key is not null and ordering_key = :ordering_key <conditions> offset 0
    ) as one order by id <way> limit :most)"""
# From code to code along the index; nulls come last.
_CODES = """
    code (error_code) as (
        (select error_code from {schema}.read_outbox where status = 'failed' order by error_code limit 1)
        union all
        select (select o.error_code from {schema}.read_outbox o
                where o.status = 'failed' and o.error_code > code.error_code order by o.error_code limit 1)
        from code where code.error_code is not null
    ),
    codes as (select error_code from code where error_code is not null limit 500)"""
FAILED_ANY = """
    (select newest.id from codes cross join lateral (
        select o.id from {schema}.read_outbox o
        where o.status = 'failed' and o.error_code = codes.error_code <conditions> order by o.id <way> limit :most
     ) as newest order by newest.id <way> limit :most)
    union all
    (select id from (
        select id from {schema}.read_outbox where status = 'failed' and error_code is null <conditions> offset 0
    ) as one order by id <way> limit :most)"""
_FAILED_FEW = """
    (select id from (
        select id from {schema}.read_outbox where status = 'failed' <conditions> offset 0
    ) as one order by id <way> limit :most)"""
ARCHIVED_KEY = """
    (select id from (
        select id from {schema}.read_outbox_archive
        where ordering_key is not null and ordering_key = :ordering_key <status> <conditions> offset 0
    ) as one order by id <way> limit :most)"""
# Worked out no further than until enough fit.
_NEXT = "from {schema}.read_outbox where <range> order by id <way> limit cast(:most_looked as bigint)"
LOOKED = """
    (select id from (
        select id, status, topic, account, ordering_key, error_code, created_at, held, available_at <next>
    ) as looked where true <status> <conditions> order by id <way> limit :most)""".replace("<next>", _NEXT)
LOOKED_TO = """
select <last>(id) as looked_to, count(*) as looked from (select id <next>) as looked
""".replace("<next>", _NEXT)
_QUERY = """
<with>select distinct id from (<sources>) as found order by id <way> limit :most
"""
# Whether there is more than that along an index; which index, says the condition.
MANY = """
select count(*) > :few from (
    select from {schema}.read_outbox where <condition> limit cast(:few as bigint) + 1) as first
"""
MANY_CODES = "with recursive <codes> select count(*) = 500 from codes".replace("<codes>", _CODES)


def sources_of(wanted: Search, are_many: Callable[[str], bool]) -> list[str] | None:
    """The sources; ``are_many`` says whether more than a few fulfil the condition of an index.

    None: FAILED_ANY, unless there are too many codes for it.
    """
    key = wanted.ordering_key is not None
    waits = [_HALF.replace("<which>", "not null")] + ([] if key else [_HALF.replace("<which>", "null")])
    if wanted.state in (None, "done"):
        also = [] if wanted.state else [*waits, _FAILED_KEY]
        return [LOOKED, ARCHIVED_KEY, *also] if key else [LOOKED]
    if wanted.state == "failed":
        return [_FAILED_KEY, ARCHIVED_KEY] if key else _failed(wanted, are_many)
    account = "true" if wanted.account is None else "account = :account"
    halves = (f"status = 'pending' and ordering_key is {which} and {account}" for which in ("null", "not null"))
    return [LOOKED] if not key and any(map(are_many, halves)) else waits


def _failed(wanted: Search, are_many: Callable[[str], bool]) -> list[str] | None:
    """Of one code the newest are found at once; unless few failed, what else is asked of them is not."""
    code = wanted.error_code is not None
    more = [wanted.topic, wanted.account, wanted.since, wanted.until] != [None] * 4
    if code and not more:
        return [_FAILED_OF, FAILED_ARCHIVED]
    many = are_many("status = 'failed'" + (" and error_code = :error_code" if code else ""))
    if code:
        return [LOOKED if many else _FAILED_OF, FAILED_ARCHIVED]
    if not many:
        return [_FAILED_FEW]
    return [LOOKED] if more else None


_OF_STATE = {
    "due": "and not held and (available_at is null or available_at <= now())",
    "waiting": "and available_at > now()",
    "held": "and held",
}


def words_of(wanted: Search, ids: Sequence[str], conditions: Sequence[str], *, newer: bool) -> dict[str, str]:
    """What stands in angle brackets; these are texts of this module, values are parameters."""
    status = f"and status = '{wanted.state}'" if wanted.state in ("done", "failed") else ""
    if wanted.state is not None and not status:
        status = "and status = 'pending' " + _OF_STATE.get(wanted.state, "")
    return {
        "range": " and ".join(ids),
        "conditions": "".join(f" and {one}" for one in (*ids[1:], *conditions)),
        "status": status,
        "last": "max" if newer else "min",
        "way": "asc" if newer else "desc",
        "waiting": _OF_STATE.get(wanted.state or "", ""),
    }


def filled(sources: Sequence[str], words: dict[str, str]) -> str:
    """The statement that asks these sources."""
    codes = "with recursive " + _CODES + "\n" if FAILED_ANY in sources else ""
    joined = "\n    union all".join(sources)
    return replaced(_QUERY.replace("<with>", codes).replace("<sources>", joined), words)


def replaced(sql: str, words: dict[str, str]) -> str:
    """The text with these words in the place of their names."""
    for name, text in words.items():
        sql = sql.replace(f"<{name}>", text)
    return sql
