"""``/failures``: what failed, by code, within an hour, a day and a week."""

from __future__ import annotations

from typing import Any

from relay import reports
from relay.dashboard.refreshing import LIST
from relay.dashboard.visit import Page, PageVisit, command

KEPT_SECONDS = 1.0
SQL = """
select error_code, count(*) filter (where finished_at > now() - interval '1 hour') as hour,
    count(*) filter (where finished_at > now() - interval '1 day') as day, count(*) as week
from {schema}.read_outbox where status = 'failed' and finished_at > now() - interval '7 days'
group by 1 order by 3 desc;
"""


def failures(visit: PageVisit) -> Page:
    """Codes, those of the last day first; of how many no more is told than how many they are."""
    known, found = visit.ask_once("failures", KEPT_SECONDS, _counted)
    others = {"codes": known.other_codes, "messages": known.other_messages}
    values = {"found": found, "known": known, "others": others}
    document = {"items": found, "others": others, "exact": known.exact}
    sql = visit.sql(SQL)
    return Page("failures.html", values, [command("list", status="failed")], sql, document, every=LIST)


def _counted(connection: Any) -> tuple[reports.FailedCodes, tuple[reports.FailureCount, ...]]:
    known = reports.failed_codes(connection, lately=reports.MOST_LISTED_CODES)
    return known, reports.failures(connection, known)
