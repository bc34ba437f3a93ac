"""Prometheus metrics of one process, counted from events. The scrape touches no table.

Labels are from closed lists: outcomes and stages, never an account, a topic, an id or a code of the platform.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info
from prometheus_client.metrics_core import Metric

from relay import __version__, events

_CALL_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 30)
_CLAIM_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)
_BATCH = (1, 5, 10, 20, 30, 40, 50)


class _Registry(CollectorRegistry):
    """Without the time at which each counter was made. The library's own switch is one for the whole process."""

    def collect(self) -> Iterator[Metric]:
        for metric in super().collect():
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric


class Metrics:
    """An observer; ``registry`` is what the scrape shows."""

    def __init__(self) -> None:
        self.registry = registry = _Registry()
        Info("relay_build", "Version of the relay.", registry=registry).info({"version": __version__})
        self._calls = Counter("relay_calls", "Calls settled.", ["outcome"], registry=registry)
        self._outcomes = Counter(
            "relay_message_outcomes", "Outcomes of messages, one per call.", ["outcome"], registry=registry
        )
        self._call_seconds = Histogram(
            "relay_call_duration_seconds", "Time from sending to the answer.", buckets=_CALL_SECONDS, registry=registry
        )
        self._batch = Histogram("relay_batch_messages", "Messages in a call.", buckets=_BATCH, registry=registry)
        self._claim_seconds = Histogram(
            "relay_claim_duration_seconds", "Time of a claim.", buckets=_CLAIM_SECONDS, registry=registry
        )
        self._expired = Counter("relay_messages_expired", "Failed because deliver_before passed.", registry=registry)
        self._lost = Counter("relay_calls_lost", "Calls that another worker had settled.", registry=registry)
        self._recovered = Counter(
            "relay_leases_recovered", "Calls of workers that were gone, settled as unknown.", registry=registry
        )
        self._pauses = Counter("relay_pauses", "Pauses ordered because of an answer.", registry=registry)
        self._database_lost = Counter(
            "relay_database_lost", "Transactions to be run again.", ["stage"], registry=registry
        )
        self._database_refused = Counter(
            "relay_database_refused", "Statements that PostgreSQL refused: see the log.", ["stage"], registry=registry
        )
        self._lingering = Gauge(
            "relay_lingering_transactions",
            "Transactions of others that have been open for a minute and may keep messages from being sent.",
            ["kind"],
            registry=registry,
        )
        self._seen(events.LocksSeen(sessions=0, prepared=0))
        self._archived = Counter("relay_messages_archived", "Messages moved to the archive.", registry=registry)
        self._success = Gauge(
            "relay_last_success_timestamp_seconds", "When a message was last accepted.", registry=registry
        )

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
                self._outcomes.labels("unknown").inc(event.messages)
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
            case events.Archived():
                self._archived.inc(event.messages)
            case _:
                pass

    def _seen(self, locks: events.LocksSeen) -> None:
        self._lingering.labels("session").set(locks.sessions)
        self._lingering.labels("prepared").set(locks.prepared)

    def _settled(self, call: events.CallSettled) -> None:
        self._calls.labels(call.outcome).inc()
        for outcome in ("done", "retry", "failed", "unknown"):
            if count := getattr(call, outcome):
                self._outcomes.labels(outcome).inc(count)
        if call.duration_ms is not None:
            self._batch.observe(call.messages)
            self._call_seconds.observe(call.duration_ms / 1000)
        if call.done:
            self._success.set_to_current_time()
