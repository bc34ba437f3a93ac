"""``/failures``: what failed, by code, within an hour, a day and a week."""

from __future__ import annotations

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
    """Codes, those of the last day first."""
    found = visit.ask_once("failures", KEPT_SECONDS, reports.failures)
    values = {"found": found, "most": reports.MOST_OF_A_CODE}
    return Page(
        "failures.html", values, [command("list", status="failed")], visit.sql(SQL), {"items": found}, every=LIST
    )
