"""What failed, by code: how many there are of each, and within an hour, a day and a week.

Codes are what the platform says, so nobody bounds how many there are. The largest are listed, beside those that failed
last, and of the others it is told how many they are. For a page, no more than MOST_FAILED failed messages are counted
(along their index), and of the listed codes the newest are read, MOST_READ messages together.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from relay.reports.search import DISCARDED
from relay.sql import run

MOST_LISTED_CODES = 50  # codes with the most messages; and for a page as many of those that failed last
MOST_FAILED = 50_000
MOST_READ = 5_000  # each may be a page of the table that is nowhere but on the disk: 20,000 took three seconds then

# Along one index, which has both columns; codes that are null come last.
_CODES = """
select error_code, messages, all_messages, all_codes from (
    select error_code, messages, sum(messages) over () as all_messages, count(*) over () as all_codes,
        row_number() over (order by messages desc, error_code) as by_size,
        row_number() over (order by newest desc) as by_time
    from (
        select error_code, count(*) as messages, max(id) as newest
        from (
            select error_code, id from {schema}.read_outbox where status = 'failed' order by error_code <limit>
        ) as message group by error_code
    ) as code
) as ranked
where by_size <= :listed or by_time <= :lately or error_code = :discarded
order by messages desc, error_code
"""
_COUNTS = """
select code.error_code, counted.* from unnest(cast(:codes as text[])) as code (error_code) cross join lateral (
    select count(*) filter (where finished_at > now() - interval '1 hour') as hour,
        count(*) filter (where finished_at > now() - interval '1 day') as day,
        count(*) filter (where finished_at > now() - interval '7 days') as week,
        count(*) as counted, max(finished_at) as latest
    from (
        (select o.finished_at from {schema}.read_outbox o
         where o.status = 'failed' and o.error_code = code.error_code order by o.id desc limit :most)
        union all
        (select o.finished_at from {schema}.read_outbox o
         where o.status = 'failed' and o.error_code is null and code.error_code is null order by o.id desc limit :most)
    ) as newest
) as counted
where counted.counted > 0
order by 3 desc, 5 desc, 1
"""


@dataclass(frozen=True, slots=True)
class FailedCode:
    """How many messages failed with this code."""

    error_code: str | None
    messages: int


@dataclass(frozen=True, slots=True)
class FailedCodes:
    """``codes``: the largest first. ``messages`` and ``all_codes``: of all, also those that are not listed.

    ``exact`` False: there are more than were counted.
    """

    codes: tuple[FailedCode, ...]
    messages: int
    all_codes: int
    exact: bool

    @property
    def other_codes(self) -> int:
        """How many are not listed."""
        return self.all_codes - len(self.codes)

    @property
    def other_messages(self) -> int:
        """How many messages failed with those."""
        return self.messages - sum(code.messages for code in self.codes)


@dataclass(frozen=True, slots=True)
class FailureCount:
    """Of the newest ``counted`` of all ``messages`` that failed with this code.

    ``bounded``: there are more, and one of them may have failed of late: each number is at least that.
    """

    error_code: str | None
    hour: int
    day: int
    week: int
    counted: int
    latest: datetime
    bounded: bool
    messages: int


def failed_codes(
    connection: Connection, *, most: int | None = MOST_FAILED, listed: int = MOST_LISTED_CODES, lately: int = 0
) -> FailedCodes:
    """By how many messages they have that are not archived; beside those, DISCARDED and some that failed ``lately``.

    ``most``: messages are counted, and no more; None: all.
    """
    limit = "" if most is None else "limit cast(:most as bigint)"
    given: dict[str, Any] = {"listed": listed, "lately": lately, "discarded": DISCARDED} | (
        {} if most is None else {"most": most}
    )
    rows = run(connection, _CODES.replace("<limit>", limit), **given).all()
    messages, codes = (int(rows[0].all_messages), rows[0].all_codes) if rows else (0, 0)
    found = tuple(FailedCode(row.error_code, row.messages) for row in rows)
    return FailedCodes(found, messages, codes, most is None or messages < most)


def failures(
    connection: Connection, known: FailedCodes | None = None, *, most: int = MOST_READ
) -> tuple[FailureCount, ...]:
    """The codes of what failed and is not archived, those of the last day first; ``known``: which they are."""
    known = known or failed_codes(connection, lately=MOST_LISTED_CODES)
    sizes = {code.error_code: code.messages for code in known.codes}
    each = max(1, most // max(1, len(sizes)))
    return tuple(
        FailureCount(**row, bounded=row["counted"] >= each, messages=max(row["counted"], sizes[row["error_code"]]))
        for row in run(connection, _COUNTS, codes=list(sizes), most=each).mappings()
    )
