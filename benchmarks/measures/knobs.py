"""What do the settings change? One worker behind a platform that takes 100 ms, one setting at a time."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from benchmarks.effort import Effort
from benchmarks.ground import Ground
from benchmarks.platform import Platform, platform
from benchmarks.race import drain
from benchmarks.table import Cells, Table, in_turn

_LATENCY_MS = 100
_KNOBS: dict[str, dict[str, Any]] = {
    "as it comes: 8 in flight, batches of 50": {},
    "RELAY_CONCURRENCY=4": {"in_flight": 4},
    "RELAY_CONCURRENCY=16": {"in_flight": 16},
    "RELAY_CONCURRENCY=32": {"in_flight": 32},
    "RELAY_BATCH_SIZE=20": {"batch_size": 20},
    "16 accounts instead of one": {"accounts": 16},
}


def measure(ground: Ground, effort: Effort) -> Iterator[Table]:
    with platform(_LATENCY_MS) as there:
        runs = {label: partial(_speed, ground, there, effort.messages, knob) for label, knob in _KNOBS.items()}
        yield Table(f"settings of one worker, {_LATENCY_MS} ms", in_turn(runs, effort.repeats))


def _speed(ground: Ground, there: Platform, messages: int, knob: dict[str, Any]) -> Cells:
    run = drain(ground, "relay", messages=messages, platform=there, **knob)
    return {
        "messages/s": run.per_second,
        "CPU ms/1,000": run.cpu_seconds / messages * 1e6,
        "statements/1,000": run.statements / messages * 1000,
    }
