"""``/duplicates``: every outcome that proves nothing, and what came of its message."""

from __future__ import annotations

from relay import reports
from relay.dashboard.documents import listed
from relay.dashboard.visit import NotUnderstood, Page, PageVisit

SQL = "select * from {schema}.audit_possible_duplicate order by last_unknown_at desc limit 50;"


def duplicates(visit: PageVisit) -> Page:
    """A stretch of them, the newest first."""
    cursor = visit.cursor(str, int, int)
    _check_time(cursor, visit)
    found = visit.ask(reports.duplicates, cursor)
    return Page("duplicates.html", {"found": found}, (), visit.sql(SQL), listed(found))


def _check_time(cursor: reports.Cursor, visit: PageVisit) -> None:
    """Of a link that somebody changed by hand; the database would refuse it in other words."""
    try:
        if cursor.position:
            visit.viewer.moment(cursor.position[0])
    except ValueError:
        raise NotUnderstood("newer" if cursor.newer else "older") from None
