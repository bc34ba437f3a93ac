"""Three books kept apart: what the shop remembers, what the tables say, what the platform holds.

The platform knows nothing of our ids. What ties its book to ours is the content: it is sent letter for letter, and no
two messages of the shop have the same.
"""

from __future__ import annotations

import json
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, Row, text

_MESSAGES = """
select id, ordering_key, cast(content as text) as content, status, call_id from relay.outbox order by id
"""
_ATTEMPTS = """
select message_id, call_id, outcome, error_code from relay.attempt order by call_id, result_index
"""
_OPEN_CALLS = "select count(*) from relay.call where settled_at is null"
_COUNTS = """
select count(*) filter (where status = 'pending'), count(*) filter (where status = 'done'),
    count(*) filter (where status = 'failed')
from relay.outbox
"""


@dataclass(frozen=True, slots=True)
class Books:
    """``held``: the contents at the platform in the order they arrived, each as often as it was accepted."""

    messages: tuple[Row[Any], ...]
    attempts: tuple[Row[Any], ...]
    open_calls: int
    held: tuple[str, ...]

    def status(self, status: str) -> int:
        """How many messages have this status."""
        return sum(message.status == status for message in self.messages)

    def touched(self, outcome: str) -> int:
        """How many messages had this outcome in some call."""
        return len({attempt.message_id for attempt in self.attempts if attempt.outcome == outcome})

    def held_ids(self) -> list[int | None]:
        """The messages at the platform in the order they arrived; None for what we never sent."""
        by_content = {message.content: message.id for message in self.messages}
        return [by_content.get(content) for content in self.held]

    def twice(self) -> Counter[int]:
        """Message id -> how many times too often the platform has it."""
        return Counter({id_: times - 1 for id_, times in Counter(self.held_ids()).items() if id_ and times > 1})

    def unknown(self) -> Counter[int]:
        """Message id -> how many calls left open whether it arrived."""
        return Counter(attempt.message_id for attempt in self.attempts if attempt.outcome == "unknown")

    def explanations(self) -> list[tuple[tuple[int, ...], list[int]]]:
        """The calls that may have made deliveries too many, and the messages of which the platform has too many."""
        by_calls: dict[tuple[int, ...], list[int]] = {}
        for id_ in sorted(self.twice()):
            calls = tuple(a.call_id for a in self.attempts if a.message_id == id_ and a.outcome == "unknown")
            by_calls.setdefault(calls, []).append(id_)
        return sorted(by_calls.items())

    def message_of_the_largest_call(self) -> int:
        """A message that was delivered in good company; 0 if none was delivered."""
        delivered = [message for message in self.messages if message.status == "done"]
        largest = Counter(message.call_id for message in delivered).most_common(1)
        return next((message.id for message in delivered if message.call_id == largest[0][0]), 0)

    def arrivals(self) -> Iterator[tuple[str, list[int]]]:
        """Ordering key -> its messages as they arrived."""
        keys = {message.id: message.ordering_key for message in self.messages}
        by_key: dict[str, list[int]] = {}
        for id_ in self.held_ids():
            if id_ is not None:
                by_key.setdefault(keys[id_], []).append(id_)
        yield from by_key.items()


def read_books(engine: Engine, platform_url: str) -> Books:
    """What the tables say and what the platform at this URL holds, side by side."""
    with engine.connect() as connection:
        return Books(
            tuple(connection.execute(text(_MESSAGES))),
            tuple(connection.execute(text(_ATTEMPTS))),
            connection.execute(text(_OPEN_CALLS)).scalar_one(),
            tuple(message["content"] for message in held_by(platform_url)),
        )


def count_by_status(engine: Engine) -> tuple[int, int, int]:
    """Pending, done, failed."""
    with engine.connect() as connection:
        pending, done, failed = connection.execute(text(_COUNTS)).one()
    return pending, done, failed


def held_by(platform_url: str) -> list[dict[str, Any]]:
    """What the platform accepted, in that order. Never asked through a proxy."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    found: list[dict[str, Any]] = []
    while True:
        after = found[-1]["id"] if found else 0
        with direct.open(f"{platform_url}/messages?after={after}", timeout=10) as answer:
            page = json.load(answer)
        if not page:
            return found
        found += page
