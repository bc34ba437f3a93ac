"""``/keys``: ordering keys whose earliest message waits or is held; all behind it waits too."""

from __future__ import annotations

from relay import reports
from relay.dashboard.documents import listed
from relay.dashboard.refreshing import LIST
from relay.dashboard.visit import Page, PageVisit

SQL = "select * from {schema}.blocked_keys order by age desc limit 50;"


def keys(visit: PageVisit) -> Page:
    """A stretch of them, by account and key."""
    found = visit.ask(reports.blocked_keys, visit.cursor(str, str))
    values = {"found": found, "most": reports.MOST_BEHIND}
    return Page("keys.html", values, ["relay check"], visit.sql(SQL), listed(found), every=LIST)
