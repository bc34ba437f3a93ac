"""``/days``: each day of the viewer's zone, from the calls of that day; the books of a day are asked in SQL."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from relay import reports
from relay.dashboard.refreshing import DAYS as EVERY
from relay.dashboard.visit import Page, PageVisit

DAYS, KEPT_SECONDS = 14, 20.0
MOST_CALLS_A_DAY = 5_000
SQL = """
set relay.zone = <zone>;
select * from {schema}.audit_daily where day >= current_date - 1 order by day;
"""


def days(visit: PageVisit) -> Page:
    """The last DAYS of them, the newest first."""
    zone = visit.viewer.zone
    edges = midnights(visit.ask(reports.now), zone, DAYS)
    found = visit.ask_seldom(f"days {zone.key}", KEPT_SECONDS, reports.series, edges, most=MOST_CALLS_A_DAY)
    values = {"found": found[::-1], "series": found, "outcomes": reports.OUTCOMES, "most": MOST_CALLS_A_DAY}
    return Page(
        "days.html", values, ["relay status"], visit.sql(SQL, zone=zone.key), {"days": found[::-1]}, every=EVERY
    )


def midnights(moment: datetime, zone: ZoneInfo, count: int) -> list[datetime]:
    """The beginnings of the last ``count`` days in this zone, and the end of the last one."""
    today = moment.astimezone(zone).date()
    first = [today - timedelta(days=back) for back in range(count - 1, -2, -1)]
    return [datetime(day.year, day.month, day.day, tzinfo=zone) for day in first]
