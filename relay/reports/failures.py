"""What failed, by code, within an hour, a day and a week: of each code the newest, up to a bound."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from relay.reports.search import FAILED_CODES
from relay.sql import run

MOST_OF_A_CODE = 10_000

_COUNTS = """
    count(*) filter (where finished_at > now() - interval '1 hour') as hour,
    count(*) filter (where finished_at > now() - interval '1 day') as day,
    count(*) filter (where finished_at > now() - interval '7 days') as week,
    count(*) as counted, max(finished_at) as latest"""
FAILURES = """
with recursive <codes>
select codes.error_code, counted.* from codes cross join lateral (
    select <counts> from (
        select o.finished_at from {schema}.read_outbox o
        where o.status = 'failed' and o.error_code = codes.error_code order by o.id desc limit :most) as newest
) as counted
union all
select null, counted.* from (
    select <counts> from (
        select finished_at from (
            select id, finished_at from {schema}.read_outbox where status = 'failed' and error_code is null offset 0
        ) as one order by id desc limit :most) as newest
) as counted where counted.counted > 0
order by 3 desc, 5 desc, 1
""".replace("<codes>", FAILED_CODES).replace("<counts>", _COUNTS)


@dataclass(frozen=True, slots=True)
class FailureCount:
    """Of the newest ``counted`` messages that failed with this code; ``bounded``: there may be more of them."""

    error_code: str | None
    hour: int
    day: int
    week: int
    counted: int
    latest: datetime
    bounded: bool


def failures(connection: Connection, *, most: int = MOST_OF_A_CODE) -> tuple[FailureCount, ...]:
    """The codes of what failed and is not archived, those of the last day first."""
    rows = run(connection, FAILURES, most=most).mappings()
    return tuple(FailureCount(**row, bounded=row["counted"] >= most) for row in rows)
