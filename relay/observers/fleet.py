"""What was read from the database, as gauges: true of all workers together, so each of them shows the same.

Where there is nothing to show (PostgreSQL is away, or has not answered for a while) the gauges are absent: a number
that stands still would be believed. Accounts are named by whoever may insert, so only the largest few are, cleaned and
cut, and within an hour no more than some; the others are ``other``. Every name is series that Prometheus keeps for as
long as it keeps anything, so few at a time would not be enough: they may be others at each scrape.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from relay.gauges import AccountBacklog, Backlog, Gauged
from relay.observers import figures
from relay.observers.figures import SECONDS, Figure
from relay.showing import escaped

OTHER = "other"
_LONGEST_NAME = 64  # characters
_STATES = ("due", "waiting", "held")
NAMES, NAMED_SECONDS = 5, 3600.0  # within this time how many times as many names as at a time


class Names:
    """The names that were shown of late, ``most`` within NAMED_SECONDS: one that is among them may be shown again."""

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self._shown: dict[str, float] = {}  # name → when it was shown last, the longest ago first

    def may_show(self, name: str) -> bool:
        """Whether there is room for it; then it is one of them."""
        now = self._clock()
        while self._shown and next(iter(self._shown.values())) <= now - NAMED_SECONDS:
            del self._shown[next(iter(self._shown))]
        if name not in self._shown and len(self._shown) >= self._most:
            return False
        self._shown.pop(name, None)
        self._shown[name] = now
        return True


class FleetGauges(Collector):
    """``shown`` gives what was read last; at most ``accounts`` accounts have values of their own, NAMES times as many
    within NAMED_SECONDS.
    """

    def __init__(
        self,
        shown: Callable[[], Gauged],
        *,
        accounts: int,
        archiving: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._shown = shown
        self._accounts = accounts
        self._names = Names(NAMES * accounts, clock)
        self._archiving = archiving

    def describe(self) -> Iterator[Metric]:
        """Their names, without a look at the database."""
        yield from (_family(figure) for figure in figures.OF_ALL if self._archiving or not figure.only_with)

    def collect(self) -> Iterator[Metric]:
        """As they were read last; whether they were, in any case."""
        gauged = self._shown()
        yield _value(figures.BACKLOG_UP, float(gauged.up))
        if gauged.backlog is None:
            return
        yield _value(figures.BACKLOG_AGE, gauged.age_seconds)
        yield from self._families(gauged.backlog)

    def _families(self, backlog: Backlog) -> Iterator[Metric]:
        messages = _family(figures.BACKLOG)
        for name, counts in largest(backlog.accounts, self._accounts, self._names).items():
            for state in _STATES:
                messages.add_metric([state, name], counts[state])
        yield messages
        yield _value(figures.OLDEST_DUE, backlog.oldest_due_seconds)
        yield _value(figures.EXACT, float(backlog.exact))
        yield _value(figures.BLOCKED_KEYS, backlog.blocked_keys)
        calls = _family(figures.OPEN_CALLS)
        calls.add_metric(["leased"], backlog.open_calls - backlog.lapsed_calls)
        calls.add_metric(["lapsed"], backlog.lapsed_calls)
        yield calls
        yield _value(figures.IN_FLIGHT, backlog.messages_in_flight)
        pauses = _family(figures.PAUSES_IN_FORCE)
        for labels, count in sorted(backlog.pauses.items()):
            pauses.add_metric(list(labels), count)
        yield pauses
        if self._archiving and backlog.archive_lag_seconds is not None:
            yield _value(figures.ARCHIVE_LAG, backlog.archive_lag_seconds)


def largest(accounts: Iterable[AccountBacklog], most: int, names: Names) -> dict[str, Counter[str]]:
    """Those with most messages, by a name that can be shown, and ``other``: how many of them are in which state.

    A name that was not shown of late needs room among ``names``: where there is none, its messages are of ``other``.
    """
    ordered = sorted(accounts, key=lambda one: (one.account is None, -(one.due + one.waiting + one.held), one.account))
    found: dict[str, Counter[str]] = {OTHER: Counter()}
    for place, one in enumerate(ordered):
        name = OTHER if one.account is None or place >= most else _shown(one.account)
        if name != OTHER and not names.may_show(name):
            name = OTHER
        found.setdefault(name, Counter()).update(due=one.due, waiting=one.waiting, held=one.held)
    return found


def _shown(account: str) -> str:
    """Nothing in it that steers a terminal, and not without end. Two that look alike then are counted together."""
    name = escaped(account)
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"


def _family(figure: Figure) -> GaugeMetricFamily:
    unit = SECONDS if figure.name.endswith(f"_{SECONDS}") else ""
    return GaugeMetricFamily(figure.name, figure.meaning, labels=figure.labels, unit=unit)


def _value(figure: Figure, value: float) -> GaugeMetricFamily:
    family = _family(figure)
    family.add_metric([], value)
    return family
