"""What do the settings change? One worker behind a platform that takes 100 ms, one setting at a time."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from benchmarks.effort import Effort
from benchmarks.ground import Ground
from benchmarks.platform import Platform, platform
from benchmarks.race import drain
from benchmarks.table import Cells, Table, in_turn

_LATENCY_MS = 100
_IN_FLIGHT, _BATCH = 8, 50
_KNOBS = {
    "as it comes: 8 in flight, batches of 50": (_IN_FLIGHT, _BATCH),
    "RELAY_CONCURRENCY=32": (32, _BATCH),
    "RELAY_BATCH_SIZE=20": (_IN_FLIGHT, 20),
}


def measure(ground: Ground, effort: Effort) -> Iterator[Table]:
    with platform(_LATENCY_MS) as there:
        runs = {label: partial(_speed, ground, there, effort, *knobs) for label, knobs in _KNOBS.items()}
        yield Table(f"settings of one worker, {_LATENCY_MS} ms", in_turn(runs, effort.repeats))


def _speed(ground: Ground, there: Platform, effort: Effort, in_flight: int, batch_size: int) -> Cells:
    messages = effort.http_messages("relay", _LATENCY_MS, in_flight) * batch_size // _BATCH
    run = drain(ground, "relay", messages=messages, platform=there, in_flight=in_flight, batch_size=batch_size)
    return {
        "messages/s": run.per_second,
        "CPU ms/1,000": run.cpu_seconds / messages * 1e6,
        "statements/1,000": run.statements / messages * 1000,
    }
