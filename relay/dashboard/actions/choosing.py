"""Which messages: rows that were ticked (``id=``), or all that fit what a list was asked.

What fits is what that list shows, but for what is final. Of more than MOST the oldest are taken, and it is said.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from relay import reports
from relay.dashboard.filters import FILTERS, asked, search
from relay.dashboard.visit import LARGEST_ID, NotUnderstood, PageVisit, id_of
from relay.operators.actions import Verb

MOST = 5_000
NAMES = ("id", *FILTERS)
SEVERAL = ("id",)
# What a verb may change, where the list was of messages in any state.
STATES = {"retry": ("failed", "held"), "discard": ("failed", "pending")}
_PIN = re.compile(r"(\d{1,19})\.(-?\d{1,20})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Chosen:
    """``query``: what was asked, as it goes on in the form; times with their offset. ``more``: these are not all."""

    ids: tuple[int, ...]
    query: Mapping[str, str]
    more: bool = False


def chosen(visit: PageVisit, verb: Verb) -> Chosen:
    """Raises NotUnderstood: rows and filters at once, or neither."""
    ticked, query = visit.asked.getlist("id"), asked(visit)
    if bool(ticked) == bool(query):
        raise NotUnderstood("id", "trouble.both" if ticked else "trouble.nothing_chosen")
    if ticked:
        ids = [id_of(one) for one in ticked]
        if None in ids or len(ids) > MOST:
            raise NotUnderstood("id")
        return Chosen(tuple(sorted({id_ for id_ in ids if id_ is not None})), {})
    wanted = search(visit)
    states = (wanted.state,) if wanted.state else STATES[verb]
    found, more = set[int](), False
    for state in states:
        some, others = visit.ask(reports.changeable, replace(wanted, state=state), most=MOST)
        found.update(some)
        more = more or others
    return Chosen(tuple(sorted(found)[:MOST]), query, more or len(found) > MOST)


def stated(seen: Chosen) -> dict[str, Any]:
    """By which words these were chosen, for the ledger: the filters that the form brought along, or the rows."""
    return dict(seen.query) or {"ids": list(seen.ids)}


def pinned(ids: Sequence[int], versions: Sequence[int]) -> str:
    """Messages with their versions, as a form carries them."""
    return " ".join(f"{id_}.{version}" for id_, version in zip(ids, versions, strict=True))


def pins(written: str) -> dict[int, int]:
    """Id → version. Raises NotUnderstood for whatever is not what ``pinned`` writes."""
    found: dict[int, int] = {}
    words = written.split(" ")
    if len(words) > MOST:
        raise NotUnderstood("pinned")
    for word in words:
        pin = _PIN.fullmatch(word)
        if pin is None or not 0 < int(pin[1]) <= LARGEST_ID or abs(int(pin[2])) > LARGEST_ID or int(pin[1]) in found:
            raise NotUnderstood("pinned")
        found[int(pin[1])] = int(pin[2])
    return found
