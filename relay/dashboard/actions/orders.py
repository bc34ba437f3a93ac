"""Who wants it and why, as a person typed it: what is missing is told beside its field, and what was typed is kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from relay.dashboard.people import is_name
from relay.dashboard.visit import PageVisit
from relay.operators.ledger import Order

FIELDS = ("reason", "actor")
MOST_REASON = 2_000  # characters; the ledger takes 10,000 bytes


@dataclass(frozen=True, slots=True)
class Typed:
    """``wrong``: name of a field → key of the sentence that stands beside it. ``rest``: other fields, as typed."""

    reason: str = ""
    actor: str = ""
    rest: Mapping[str, str] | None = None
    wrong: Mapping[str, str] | None = None

    def order(self, selection: Mapping[str, Any]) -> Order:
        """For the ledger, which is told that it came from a page."""
        return Order(self.actor, self.reason, {"via": "dashboard", **selection})


def fields_of(visit: PageVisit) -> tuple[str, ...]:
    """Whoever had to say a name acts under that name and no other."""
    return FIELDS if visit.viewer.name is None else ("reason",)


def untyped(visit: PageVisit) -> Typed:
    """The fields before anybody typed anything."""
    return Typed(actor=visit.viewer.name or visit.actor)


def typed(visit: PageVisit, given: Mapping[str, str], **wrong: str) -> Typed:
    """What was typed; ``wrong``: what the caller found in fields of its own."""
    reason = given.get("reason", "").replace("\r\n", "\n").strip()  # browsers send lines so, whatever was typed
    actor = visit.viewer.name or given.get("actor", "").strip()
    found = dict(wrong)
    if not reason:
        found["reason"] = "act.reason_missing"
    elif len(reason) > MOST_REASON:
        found["reason"] = "act.reason_long"
    if visit.viewer.name is None and not is_name(actor):
        found["actor"] = "act.actor_missing"
    return Typed(reason, actor, {name: value for name, value in given.items() if name not in FIELDS}, found)
