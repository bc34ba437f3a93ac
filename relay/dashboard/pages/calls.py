"""``/calls``: the newest calls, those that are open, or those of a request id of the platform's."""

from __future__ import annotations

from relay import reports
from relay.dashboard.documents import listed
from relay.dashboard.refreshing import LIST
from relay.dashboard.visit import Page, PageVisit
from relay.reports import Stretch

SQL = "select * from {schema}.read_call order by id desc limit 50;"
OPEN = "select * from {schema}.read_call where settled_at is null order by id desc limit 50;"
OF_REQUEST = "select * from {schema}.audit_call where request_id = <request>;"


def calls(visit: PageVisit) -> Page:
    """A stretch of them, the newest first."""
    state = visit.choice("state", ("open",))
    if request := visit.text("request"):
        visit.require_alone("request")
        found = Stretch(visit.ask(reports.calls_of_request, request), None, None)
        values = {"found": found, "chosen": {"request": request}}
        every = None if found.lines else LIST  # a request is answered once
        return Page("calls.html", values, (), visit.sql(OF_REQUEST, request=request), listed(found), every=every)
    found = visit.ask(reports.calls, visit.cursor(int), only_open=state == "open")
    chosen = {"state": state} if state else {}
    changes = not visit.turned or any(one.settled_at is None for one in found.lines)
    return Page(
        "calls.html",
        {"found": found, "chosen": chosen},
        ["relay status"],
        visit.sql(OPEN if state else SQL),
        listed(found),
        every=LIST if changes else None,
    )
