"""How much is measured: everything with medians of several runs, or a glance that takes under a minute."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Effort:
    repeats: int
    null_messages: int  # in a drain with the null producer
    messages: int  # in one over HTTP
    latencies_ms: tuple[int, ...]
    in_flight: tuple[int, ...]
    samples: int  # single inserts in the measure of idle latency
    insert_seconds: int
    finished_rows: tuple[int, ...]
    held_rows: int
    waiting_rows: int
    long_drain: int
    processes: tuple[int, ...]
    trigger_pairs: int  # inserts with and without the wake-up trigger, in turn


FULL = Effort(
    repeats=3,
    null_messages=60_000,
    messages=20_000,
    latencies_ms=(0, 20, 100),
    in_flight=(8, 16),
    samples=200,
    insert_seconds=4,
    finished_rows=(1_000_000, 5_000_000),
    held_rows=1_000_000,
    waiting_rows=100_000,
    long_drain=200_000,
    processes=(1, 2, 4),
    trigger_pairs=7,
)
QUICK = Effort(
    repeats=1,
    null_messages=20_000,
    messages=4_000,
    latencies_ms=(20,),
    in_flight=(8,),
    samples=20,
    insert_seconds=1,
    finished_rows=(50_000,),
    held_rows=20_000,
    waiting_rows=10_000,
    long_drain=50_000,
    processes=(1, 2),
    trigger_pairs=1,
)
