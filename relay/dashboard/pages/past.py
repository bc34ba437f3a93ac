"""``/pauses``: those in force, and those that have ended; ``/ledger``: what people did, and why."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from relay import reports
from relay.dashboard.documents import listed
from relay.dashboard.refreshing import LIST
from relay.dashboard.visit import Page, PageVisit

PAUSES = "select * from {schema}.audit_pause order by in_force desc, since desc limit 50;"
LEDGER = "select * from {schema}.audit_action order by id desc limit 50;"
KINDS = ("force", "ended")


def pauses(visit: PageVisit) -> Page:
    """A stretch of those in force, by scope; or of those that have ended, the latest first."""
    ended = visit.choice("kind", KINDS) == "ended"
    if ended:
        found: reports.Stretch[Any] = visit.ask(reports.past_pauses, visit.cursor(datetime, str))
    else:
        found = visit.ask(reports.pauses_in_force, visit.cursor(str))
    every = None if ended and visit.turned else LIST
    values = {"found": found, "ended": ended, "chosen": {"kind": "ended"} if ended else {}}
    return Page("pauses.html", values, ["relay status"], visit.sql(PAUSES), listed(found), every=every)


def ledger(visit: PageVisit) -> Page:
    """A stretch of it, the latest first."""
    found = visit.ask(reports.ledger, visit.cursor(int))
    every = None if visit.turned else LIST
    return Page("ledger.html", {"found": found}, (), visit.sql(LEDGER), listed(found), every=every)
