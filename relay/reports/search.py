"""Messages found by what they are: a state, a topic, an account, a key, a code, the time of their insert.

What waits and what failed is found by its partial index, whatever else there is, as long as that is no more than a few
ten thousand. Of more than that, and of what is done, no index leads to a topic or a key in the order of ids: then a
stretch looks at the next MOST_LOOKED messages by their ids and no more, and says how far it came.
A time of the insert is first turned into ids, for ids follow it: within SLACK, for a transaction has one time and draws
its ids while it lasts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from relay.reports.sources import (
    ARCHIVED_KEY,
    FAILED_ANY,
    FAILED_ARCHIVED,
    LOOKED,
    LOOKED_TO,
    MANY,
    MANY_CODES,
    Search,
    filled,
    replaced,
    sources_of,
    words_of,
)
from relay.reports.stretches import NEWEST, Cursor, Stretch, cut
from relay.sql import run

MOST_LOOKED = 20_000
DISCARDED = "relay.discarded"  # by a person, who knows of it
FEW = 50_000  # that wait in each half, or failed: no more than these are read to be sorted
SLACK = timedelta(minutes=5)
_OLDEST = Cursor((0,), newer=True)
STATES = ("pending", "due", "waiting", "held", "done", "failed")


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


def find(connection: Connection, wanted: Search, cursor: Cursor = NEWEST, *, limit: int = 50) -> Stretch[FoundMessage]:
    """The newest messages first; the position of a line is its id."""
    sources = sources_of(wanted, lambda condition: _are_many(connection, condition, wanted))
    if sources is None:
        sources = [LOOKED if run(connection, MANY_CODES).scalar_one() else FAILED_ANY]
    found, looked_to = _ids(connection, wanted, sources, cursor, limit, ())
    lines = {row.id: FoundMessage(*row) for row in run(connection, _LINES, ids=found)}
    rows = [lines[one] for one in found if one in lines]
    return cut(rows, limit, cursor, lambda line: (line.id,), None if looked_to is None else (looked_to,))


def changeable(connection: Connection, wanted: Search, *, most: int) -> tuple[list[int], bool]:
    """Ids of the oldest ``most`` that fit and may still change, in their order; and whether there are more.

    What is archived is final. What a person discarded is found by that code only. Along the indexes, however many fit.
    """
    indexed = sources_of(wanted, lambda _: False) or []
    sources = [one for one in indexed if one not in (FAILED_ARCHIVED, ARCHIVED_KEY)]
    also = () if wanted.error_code is not None else (f"error_code is distinct from '{DISCARDED}'",)
    found, looked_to = _ids(connection, wanted, sources, _OLDEST, most, also)
    return found[:most], len(found) > most or looked_to is not None


def _ids(
    connection: Connection, wanted: Search, sources: Sequence[str], cursor: Cursor, limit: int, also: Sequence[str]
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
    conditions = [*_conditions(wanted, given), *also]
    given["most_looked"] = MOST_LOOKED if conditions or wanted.state else limit + 1
    words = words_of(wanted, ids, conditions, newer=cursor.newer)
    found = list(run(connection, filled(sources, words), **given).scalars())
    to_the_end = len(sources) == 1 and len(found) > limit  # of others than those looked at some may lie further on
    if LOOKED not in sources or to_the_end or not (conditions or wanted.state):
        return found, None
    seen = run(connection, replaced(LOOKED_TO, words), **given).one()
    if seen.looked < MOST_LOOKED:
        return found, None
    return [one for one in found if (one <= seen.looked_to if cursor.newer else one >= seen.looked_to)], seen.looked_to


def _are_many(connection: Connection, condition: str, wanted: Search) -> bool:
    """Whether more than FEW are along an index; which one, says the condition."""
    given = {name: getattr(wanted, name) for name in ("account", "error_code") if f":{name}" in condition}
    return bool(run(connection, MANY.replace("<condition>", condition), few=FEW, **given).scalar_one())


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


_OF_DEDUPE = """
select id from {schema}.read_outbox where account = :account and dedupe_key is not null and dedupe_key = :dedupe_key
union
select message_id from {schema}.read_dedupe where account = :account and dedupe_key = :dedupe_key
limit 10
"""


def of_dedupe_key(connection: Connection, account: str, dedupe_key: str) -> tuple[int, ...]:
    """The ids of the messages of this account that were inserted with this key, also archived and pruned ones."""
    return tuple(run(connection, _OF_DEDUPE, account=account, dedupe_key=dedupe_key).scalars())
