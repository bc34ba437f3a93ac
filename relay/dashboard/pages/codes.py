"""``/codes/CODE``: what ``relay explain`` says of a code, in the viewer's language."""

from __future__ import annotations

from relay.dashboard.visit import NotUnderstood, Page, PageVisit, command
from relay.explanations import explain

MOST_CHARACTERS = 200


def code(visit: PageVisit) -> Page:
    """Any text is explained; where nobody knows it, it says so."""
    if len(visit.part) > MOST_CHARACTERS or not visit.part.strip():
        raise NotUnderstood("code")
    found = explain(visit.part, *visit.explainers)
    return Page("code.html", {"found": found}, [command("explain", found.code)], document={"code": found})
