"""Prometheus metrics of one process, counted from events; what is true of all workers together is in ``fleet.py``.

A metric is described in ``figures.py``, and is there only where what it tells of can happen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info
from prometheus_client.metrics_core import Metric

from relay import __version__, events
from relay.gauges import Gauged
from relay.observers import figures
from relay.observers.figures import SECONDS, Figure
from relay.observers.fleet import FleetGauges

_CALL_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 30)
_CLAIM_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)
_BATCH = (1, 5, 10, 20, 30, 40, 50)
_OUTCOMES = ("done", "retry", "failed", "unknown")
_CALLS = ("ok", "partial", "rejected", "unknown", "released")
GONE = "unknown"  # the producer of a worker that is no more: its calls do not say

_Kind = TypeVar("_Kind", Counter, Gauge)


class _Registry(CollectorRegistry):
    """Without the time at which each counter was made. The library's own switch is one for the whole process."""

    def collect(self) -> Iterator[Metric]:
        for metric in super().collect():
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric


class Metrics:
    """An observer; ``registry`` is what the scrape shows.

    ``producers`` are told of from the start. ``archiving``: whether anything is; ``listening``: whether inserts can
    wake this worker, None where that is not wanted.
    """

    def __init__(
        self,
        *,
        producers: Iterable[str] = (),
        archiving: bool = False,
        listening: Callable[[], bool] | None = None,
    ) -> None:
        self.registry = _Registry()
        self._archiving = archiving
        Info(figures.BUILD.name, figures.BUILD.meaning, registry=self.registry).info({"version": __version__})
        self._calls = self._made(Counter, figures.CALLS)
        self._outcomes = self._made(Counter, figures.OUTCOMES)
        for producer in producers:
            for outcome in _CALLS:
                self._calls.labels(producer, outcome)
            for outcome in _OUTCOMES:
                self._outcomes.labels(producer, outcome)
        self._call_seconds = self._histogram(figures.CALL_SECONDS, _CALL_SECONDS)
        self._batch = self._histogram(figures.BATCH, _BATCH)
        self._claim_seconds = self._histogram(figures.CLAIM_SECONDS, _CLAIM_SECONDS)
        self._expired = self._made(Counter, figures.EXPIRED)
        self._lost = self._made(Counter, figures.CALLS_LOST)
        self._recovered = self._made(Counter, figures.RECOVERED)
        self._pauses = self._made(Counter, figures.PAUSES)
        self._database_lost = self._made(Counter, figures.DATABASE_LOST)
        self._database_refused = self._made(Counter, figures.DATABASE_REFUSED)
        self._lingering = self._made(Gauge, figures.LINGERING)
        self._seen(events.LocksSeen(sessions=0, prepared=0))
        self._archived = self._made(Counter, figures.ARCHIVED) if archiving else None
        self._success = self._made(Gauge, figures.LAST_SUCCESS)
        if listening is not None:
            self._made(Gauge, figures.LISTENING).set_function(lambda: float(listening()))

    def show_fleet(self, shown: Callable[[], Gauged], *, accounts: int) -> None:
        """From now on a scrape also shows what was read from the database, of at most this many accounts by name."""
        self.registry.register(FleetGauges(shown, accounts=accounts, archiving=self._archiving))

    def _made(self, kind: type[_Kind], figure: Figure) -> _Kind:
        return kind(figure.name, figure.meaning, figure.labels, unit=_unit(figure), registry=self.registry)

    def _histogram(self, figure: Figure, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(figure.name, figure.meaning, unit=_unit(figure), buckets=buckets, registry=self.registry)

    def __call__(self, event: events.Event) -> None:
        match event:
            case events.CallSettled():
                self._settled(event)
            case events.Claimed():
                self._claim_seconds.observe(event.seconds)
                self._expired.inc(event.expired)
            case events.CallLost():
                self._lost.inc()
            case events.LeasesRecovered():
                self._recovered.inc(event.calls)
                self._outcomes.labels(GONE, "unknown").inc(event.messages)
            case events.Paused():
                self._pauses.inc(1 + (event.more or 0))
            case events.DatabaseLost():
                self._database_lost.labels(event.stage).inc()
            case events.DatabaseRefused():
                self._database_refused.labels(event.stage).inc()
            case events.CallRefused():
                self._database_refused.labels("settle").inc()
            case events.LocksSeen():
                self._seen(event)
            case events.Archived() if self._archived:
                self._archived.inc(event.messages)
            case _:
                pass

    def _seen(self, locks: events.LocksSeen) -> None:
        self._lingering.labels("session").set(locks.sessions)
        self._lingering.labels("prepared").set(locks.prepared)

    def _settled(self, call: events.CallSettled) -> None:
        self._calls.labels(call.producer, call.outcome).inc()
        for outcome in _OUTCOMES:
            if count := getattr(call, outcome):
                self._outcomes.labels(call.producer, outcome).inc(count)
        if call.duration_ms is not None:
            self._batch.observe(call.messages)
            self._call_seconds.observe(call.duration_ms / 1000)
        if call.done:
            self._success.set_to_current_time()


def _unit(figure: Figure) -> str:
    """What OpenMetrics calls one: a base unit that the name ends with."""
    return SECONDS if figure.name.endswith(f"_{SECONDS}") else ""
