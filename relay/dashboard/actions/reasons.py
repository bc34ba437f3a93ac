"""Why messages are left alone, by reason: the database says it in English, a sentence each.

A sentence that nobody wrote down here is shown as it came.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from relay.message import CHANGED_SINCE

MOST_NAMED = 10

# How a sentence of the database begins, and the key of what a page says instead.
KNOWN = {
    "there is no such message": "why.gone",
    "it is done": "why.done",
    "it is archived": "why.archived",
    "it is in flight": "why.in_flight",
    "it is pending already": "why.pending",
    "its content was removed": "why.redacted",
    "its deliver_before has passed": "why.expired",
    "it is discarded already": "why.discarded",
    "it is just changing": "why.changing",
    CHANGED_SINCE: "why.changed",
}


@dataclass(frozen=True, slots=True)
class LeftAlone:
    """``key`` None: nobody wrote it down, and ``said`` is shown. ``first``: at most MOST_NAMED of ``count`` ids."""

    key: str | None
    said: str
    count: int
    first: tuple[int, ...]


def by_reason(skipped: Mapping[int, str]) -> tuple[LeftAlone, ...]:
    """The most frequent first."""
    ids: dict[tuple[str | None, str], list[int]] = {}
    for id_, said in skipped.items():
        key = next((key for begin, key in KNOWN.items() if said.startswith(begin)), None)
        ids.setdefault((key, "" if key else said), []).append(id_)
    found = [LeftAlone(key, said, len(of), tuple(sorted(of)[:MOST_NAMED])) for (key, said), of in ids.items()]
    return tuple(sorted(found, key=lambda one: -one.count))
