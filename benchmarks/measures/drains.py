"""How fast is a table drained, and what does a message cost? The relay against a bare loop and a naive poller."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from benchmarks.effort import Effort
from benchmarks.ground import Ground
from benchmarks.platform import Platform, platform
from benchmarks.race import Run, drain
from benchmarks.table import Cells, Table, in_turn

CONTENDERS = {"relay": "relay", "bare": "bare loop", "naive": "naive poller"}
_ALSO = {"naive_own_clock": "naive poller, its own clock"}
_NULL_IN_FLIGHT = 20  # a thousand messages a claim, as the bare loop takes


def measure(ground: Ground, effort: Effort) -> Iterator[Table]:
    runs = {
        label: partial(_cells, ground, contender, effort.null_messages(contender), in_flight=_NULL_IN_FLIGHT)
        for contender, label in (CONTENDERS | _ALSO).items()
    }
    yield Table("drain, null producer, 1,000 messages a claim", in_turn(runs, effort.repeats))
    for latency, in_flight in effort.latencies_ms:
        with platform(latency) as there:
            yield _over_http(ground, effort, there, latency, in_flight)


def _over_http(ground: Ground, effort: Effort, there: Platform, latency: int, in_flight: int) -> Table:
    runs = {}
    # Where nobody waits for the platform, how the poller marks its rows is most of what it does.
    for contender, label in (CONTENDERS if latency else CONTENDERS | _ALSO).items():
        messages = effort.http_messages(contender, latency, in_flight)
        runs[label] = partial(_cells, ground, contender, messages, there, in_flight)
    return Table(f"drain over HTTP, {latency} ms, {in_flight} in flight", in_turn(runs, effort.repeats))


def _cells(ground: Ground, contender: str, messages: int, there: Platform | None = None, in_flight: int = 8) -> Cells:
    return costs(drain(ground, contender, messages=messages, platform=there, in_flight=in_flight))


def costs(run: Run) -> Cells:
    """What a run says for each message or each thousand of them."""
    return {
        "messages/s": run.per_second,
        "CPU ms/1,000": run.cpu_seconds / run.messages * 1e6,
        "statements/1,000": run.statements / run.messages * 1000,
        "commits/1,000": run.counted.transactions / run.messages * 1000,
        "WAL bytes": run.counted.wal_bytes / run.messages,
        "dead rows": run.counted.dead_rows / run.messages,
    }
