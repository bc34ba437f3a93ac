"""Pages that refresh by themselves: how often, and out of what one reading left for all who look.

    a person's own request   one of three threads reads afresh, and leaves what the reports answered
    a refresh                one thread for all: what was left, if that is young; else it reads, and leaves it

So nothing is read twice at a time, twenty open tabs cost one reading, and however slow refreshes are, they take one
connection of four. What is left are the answers of reports alone, frozen values which are the same for everybody: a
page is worked out and rendered from them for each viewer, in that one's language and zone.

A refresh is told when to come again: after the seconds that the page names, or SHARE times as long as reading and
rendering took, where that is more. So a page that is left open costs less than a hundredth of a core, whatever the
tables hold. One slow reading, the first of all or of tables that nobody has looked at for a night, makes no page blind
for minutes: what counts is at most FIRST_SECONDS, and then GROWTH times what counted before.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from relay.errors import RelayError, UnreachableError

T = TypeVar("T")
_Clock = Callable[[], float]

HEADER = "x-relay-live"
PAGE_ONE, LIST, DAYS = 5.0, 15.0, 60.0  # seconds between two readings, at least
AWAY, AWAY_AT_MOST = 5.0, 30.0  # while PostgreSQL is away: asking costs next to nothing
REFUSED, REFUSED_AT_MOST = 60.0, 600.0  # where it refuses, or takes the whole time-out
SHARE, SELDOM = 200.0, 400.0  # the interval, in times of the cost; of what bears its own cost
FIRST_SECONDS, GROWTH = 0.25, 4.0
MOST_LEFT = 64


class Answers:
    """What the reports answered to one visit. ``at``: the moment they speak of.

    ``seconds``: what that cost; ``counted``: the same with the rendering, as far as it counts.
    """

    def __init__(self, clock: _Clock = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[Hashable, Any] = {}
        self.begun = clock()
        self.seconds = self.counted = 0.0
        self.most = FIRST_SECONDS
        self.until = 0.0
        self.at: datetime | None = None

    def get(self, question: Hashable, read: Callable[[], T], *, counts: bool = True) -> T:
        """What this visit, or the one that left these answers, was told already; else what is told now.

        ``counts``: whether the page bears the cost.
        """
        if question not in self._known:
            begun = self._clock()
            self._known[question] = read()
            self.seconds += self._clock() - begun if counts else 0.0
        answer: T = self._known[question]
        return answer

    def interval(self, least: float, rendering: float) -> float:
        """Seconds until whoever is shown this asks again. What is left will be old then, and is read anew."""
        self.counted = min(self.seconds + rendering, self.most)
        return max(least, self.until - self._clock(), SHARE * self.counted)


@dataclass(frozen=True, slots=True)
class _Failure:
    error: RelayError
    ended: float


class Left:
    """What readings left, by page; of the pages asked for last. Errors are for those who waited meanwhile alone."""

    def __init__(self, clock: _Clock = time.monotonic) -> None:
        self._clock = clock
        self._answers: OrderedDict[Hashable, Answers] = OrderedDict()
        self._failures: OrderedDict[Hashable, _Failure] = OrderedDict()
        self._lock = threading.Lock()
        self._old = float("-inf")

    def find(self, page: Hashable, arrived: float) -> Answers | None:
        """What is young enough for a refresh; None: read. Raises what a reading ended with after ``arrived``."""
        with self._lock:
            for failure in (self._failures.get(page), self._failures.get(None)):
                if failure is not None and failure.ended > arrived:
                    raise failure.error
            found = self._answers.get(page)
            young = found is not None and self._clock() < found.until and found.begun > self._old
            return found if young else None

    def forget(self) -> None:
        """Somebody has acted: what was read before, or is being read, is given to no refresh."""
        with self._lock:
            self._old = self._clock()

    def leave(self, page: Hashable, answers: Answers, least: float) -> None:
        """These are given to refreshes for ``least`` seconds, or longer where they cost much."""
        with self._lock:
            before = self._answers.pop(page, None)
            answers.most = max(FIRST_SECONDS, GROWTH * before.counted if before else 0.0)
            answers.until = answers.begun + max(least, SHARE * min(answers.seconds, answers.most))
            _put(self._answers, page, answers)

    def failed(self, page: Hashable, error: RelayError) -> None:
        """Where PostgreSQL is away, for every page."""
        with self._lock:
            name = None if isinstance(error, UnreachableError) else page
            before = self._failures.get(name)
            if before is not None and before.error is error:
                return  # it was found here: those who come now have to try themselves
            _put(self._failures, name, _Failure(error.with_traceback(None), self._clock()))


def page_name(path: str, asked: Iterable[tuple[str, str]]) -> Hashable:
    """Requests of one name read the same: by path, and what was asked in any order."""
    return path, tuple(sorted((name, value) for name, value in asked if value))


def _put(kept: OrderedDict[Hashable, T], name: Hashable, value: T) -> None:
    kept.pop(name, None)
    kept[name] = value
    while len(kept) > MOST_LEFT:
        kept.popitem(last=False)
