"""What waits, read once: how many messages in which state, for how long, and how many keys are blocked by their first.

Both halves of what is pending are read along their index. For a person who waits (``relay status``) that is all of it;
for a page that many look at it is the first MOST_COUNTED messages of each half, and the numbers of more than that are
lower bounds, and say so. Nothing that is finished is read.

What is due may wait for a pause: of its account, which the tables tell, or of an app key, which they may not
(``app_keys.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from relay.reports.app_keys import app_keys
from relay.sql import run

MOST_COUNTED = 25_000  # of each half: some 25 ms each
AGES = ("10 s", "1 min", "5 min", "1 h", "1 d", "")  # the upper bounds of ``ages``; the last has none

# A pending message that is not held and has no time was due since ever. A moment in a select of its own is worked out
# once, not for each message: to go back a day takes as long as all else that is asked of one.
_MESSAGE = """account, held, available_at, created_at, error_code, greatest(available_at, created_at) as since,
        not held and (available_at is null or available_at <= (select now())) as due, <first> as first"""
_PLAIN = """
        select <message> from {schema}.read_outbox where status = 'pending' and ordering_key is null <order> <limit>
"""
_KEYED = """
        select <message> from {schema}.read_outbox
        where status = 'pending' and ordering_key is not null <order> <limit>
"""
_BY_KEY = "order by account, ordering_key, id"
_BY_NAME, _PERHAPS = 1, 2  # what ``paused`` says of what is due
_FIRST = "row_number() over (partition by account, ordering_key order by id) = 1"
_COUNTS = """
select due, held, paused, age, blocked, count(*) as messages, min(since) as since,
    extract(epoch from now() - min(since)) as seconds,
    count(*) filter (where available_at > (select now() + interval '366 days')) as far,
    max(available_at) filter (where available_at > (select now() + interval '366 days')) as farthest,
    min(created_at) as inserted
from (
    select due, held, since, available_at, created_at,
        case when not due then 0 when account in (select substr(scope, 9) from {schema}.read_pause
            where starts_with(scope, 'account:') and (until is null or until > now())) then 1
            when cast(:app_paused as boolean) and account <> all (cast(:served as text[])) then 2 else 0 end as paused,
        case when not due then null when since > (select now() - interval '10 s') then 0
            when since > (select now() - interval '1 min') then 1
            when since > (select now() - interval '5 min') then 2
            when since > (select now() - interval '1 h') then 3
            when since > (select now() - interval '1 d') then 4 else 5 end as age,
        case when due or not first then null when error_code is null then 'untried'
            when created_at < (select now() - make_interval(secs => :old_seconds)) then 'long'
            else 'tried' end as blocked
    from (<half>) as message offset 0
) as message
group by due, held, paused, age, blocked
"""
# A part is read in the order of an index, by one process, for a bitmap would be made of all that waits; and grouped
# without a sort, which would go through a file: the planner expects thousands of groups, and there are some ten.
_PLANNING = """
select set_config('enable_sort', :switch, true), set_config('enable_bitmapscan', :part, true),
    set_config('max_parallel_workers_per_gather', :processes, true)
"""
_PROCESSES = "select current_setting('max_parallel_workers_per_gather')"


@dataclass(frozen=True, slots=True)
class BlockedKeys:
    """``long``: those whose head was tried and has not gone through for ``old_seconds``; ``since``: its insert."""

    blocked: int
    long: int
    since: datetime | None


@dataclass(frozen=True, slots=True)
class Pending:
    """As in ``Status``. ``ages``: how many have been due for less than each of AGES, and not less than the one before.

    ``exact`` False: more wait than were counted, and each number is at least that.
    """

    pending: int
    due: int
    waiting: int
    held: int
    oldest_due_seconds: float | None
    due_paused: int
    due_perhaps_paused: int
    oldest_free_seconds: float | None
    far: int
    farthest_due: datetime | None
    ages: tuple[int, ...]
    blocked: BlockedKeys
    exact: bool


def waiting(connection: Connection, *, most: int | None = MOST_COUNTED, old_seconds: float | None = None) -> Pending:
    """What waits now. ``most`` messages of each half are counted; None: all of them.

    ``old_seconds``: see ``BlockedKeys``; None: how many keys are blocked is not asked, and stays 0.
    """
    processes, apps = run(connection, _PROCESSES).scalar_one(), app_keys(connection)
    pauses = {"app_paused": apps.paused, "served": sorted(apps.served)}
    some = most is not None
    run(connection, _PLANNING, switch="off", part="off" if some else "on", processes="0" if some else processes)
    plain = _half(connection, _PLAIN, most, pauses)
    keyed = _half(connection, _KEYED, most, pauses, old_seconds)
    run(connection, _PLANNING, switch="on", part="on", processes=processes)
    rows = [*plain, *keyed]
    tried = [row for row in keyed if row.blocked in ("tried", "long")]
    return Pending(
        pending=_sum(rows, lambda row: True),
        due=_sum(rows, lambda row: row.due),
        waiting=_sum(rows, lambda row: not row.due and not row.held),
        held=_sum(rows, lambda row: row.held),
        oldest_due_seconds=_oldest(row for row in rows if row.due),
        due_paused=_sum(rows, lambda row: row.paused == _BY_NAME),
        due_perhaps_paused=_sum(rows, lambda row: row.paused == _PERHAPS),
        oldest_free_seconds=_oldest(row for row in rows if row.due and not row.paused),
        far=sum(row.far for row in rows),
        farthest_due=max((row.farthest for row in rows if row.far), default=None),
        ages=tuple(_sum(rows, lambda row, age=age: row.age == age) for age in range(len(AGES))),
        blocked=BlockedKeys(
            _sum(keyed, lambda row: row.blocked),
            _sum(keyed, lambda row: row.blocked == "long"),
            min((row.inserted for row in tried), default=None),
        ),
        exact=most is None or max(sum(row.messages for row in half) for half in (plain, keyed)) < most,
    )


def _half(
    connection: Connection, half: str, most: int | None, pauses: Mapping[str, Any], old_seconds: float | None = None
) -> list[Any]:
    """The numbers of one half; ``old_seconds``: also of which keys the first message waits."""
    first, order, limit = ("false", "", "") if old_seconds is None else (_FIRST, _BY_KEY, "")
    if most is not None:
        order, limit = order or "order by account", "limit cast(:most as bigint)"
    sql = _COUNTS.replace("<half>", half.replace("<message>", _MESSAGE.replace("<first>", first)))
    given = {"old_seconds": old_seconds or 0, **pauses} | ({} if most is None else {"most": most})
    return list(run(connection, sql.replace("<order>", order).replace("<limit>", limit), **given))


def _sum(rows: Iterable[Any], fits: Callable[..., Any]) -> int:
    return sum(row.messages for row in rows if fits(row))


def _oldest(rows: Iterable[Any]) -> float | None:
    return max((float(row.seconds) for row in rows), default=None)
