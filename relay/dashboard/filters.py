"""By what messages are looked for, on their list and by whoever acts on all that fit: the same words mean the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from starlette.datastructures import ImmutableMultiDict

from relay import reports
from relay.dashboard.visit import PageVisit
from relay.reports import Search

FILTERS = ("state", "topic", "account", "key", "code", "since", "until")


def search(visit: PageVisit) -> Search:
    """What a list was asked."""
    return Search(
        visit.choice("state", reports.STATES),
        visit.text("topic"),
        visit.text("account"),
        visit.text("key"),
        visit.text("code"),
        visit.moment("since"),
        visit.moment("until"),
    )


def brought(visit: PageVisit, given: Mapping[str, str]) -> dict[str, str]:
    """The filters that a form brought along, read as those of a list are: it may have been made by hand."""
    carried = ImmutableMultiDict({name: given[name] for name in FILTERS if name in given})
    return asked(replace(visit, asked=carried))


def asked(visit: PageVisit) -> dict[str, str]:
    """What was asked, in words that mean the same in every zone. NotUnderstood where a list would not understand it."""
    search(visit)
    found = {name: value for name in FILTERS if (value := visit.text(name)) is not None}
    for name in ("since", "until"):
        if (moment := visit.moment(name)) is not None:
            found[name] = moment.isoformat()
    return found
