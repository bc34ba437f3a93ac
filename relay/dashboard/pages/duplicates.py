"""``/duplicates``: every outcome that proves nothing, and what came of its message."""

from __future__ import annotations

from datetime import datetime

from relay import reports
from relay.dashboard.documents import listed
from relay.dashboard.refreshing import LIST
from relay.dashboard.visit import Page, PageVisit

SQL = "select * from {schema}.audit_possible_duplicate order by last_unknown_at desc limit 50;"


def duplicates(visit: PageVisit) -> Page:
    """A stretch of them, the newest first."""
    found = visit.ask(reports.duplicates, visit.cursor(datetime, int, int))
    return Page("duplicates.html", {"found": found}, (), visit.sql(SQL), listed(found), every=LIST)
