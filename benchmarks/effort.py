"""How much is measured: everything with medians of three runs, or a glance that takes under a minute.

A run is to last for ``seconds``, whoever it is: a slow contender gets fewer messages. How many that are is reckoned
from what each did on the machine of the published figures; on a slower one the runs last longer, and that is all.
"""

from __future__ import annotations

from dataclasses import dataclass

# Messages a second when nobody has to wait: with a producer that does nothing, and over HTTP.
_NULL = {"relay": 75_000, "bare": 75_000, "naive": 4_000, "naive_own_clock": 10_000}
_HTTP = {"relay": 26_000, "bare": 24_000, "naive": 3_500, "naive_own_clock": 7_000}
_BATCH = 50


@dataclass(frozen=True, slots=True)
class Effort:
    repeats: int
    seconds: float  # of work in one run
    latencies_ms: tuple[tuple[int, int], ...]  # of the platform, each with the calls in flight
    samples: int  # single inserts in one run of the measure of idle latency
    insert_seconds: int  # pgbench counts in whole ones
    finished_rows: int
    held_rows: int
    waiting_rows: int
    long_drain: int
    processes: tuple[int, ...]
    audited: int
    large: int  # finished messages of a large database
    open_seconds: int  # for which tabs are left open
    visits: int  # to each page of the dashboard, and scrapes

    def null_messages(self, contender: str) -> int:
        return self.messages(_NULL[contender])

    def http_messages(self, contender: str, latency_ms: int, in_flight: int) -> int:
        """Enough for a run: one call at a time works, then waits; several wait while others work."""
        working, waiting = 1 / _HTTP[contender], latency_ms / 1000 / _BATCH
        return self.messages(
            1 / (working + waiting if contender.startswith("naive") else max(working, waiting / in_flight))
        )

    def messages(self, per_second: float) -> int:
        """In full batches, one at least."""
        return max(1, round(per_second * self.seconds / _BATCH)) * _BATCH


FULL = Effort(
    repeats=3,
    seconds=1.5,
    latencies_ms=((0, 8), (20, 16), (100, 16)),
    samples=100,
    insert_seconds=2,
    finished_rows=5_000_000,
    held_rows=1_000_000,
    waiting_rows=100_000,
    long_drain=200_000,
    processes=(1, 2, 4),
    audited=2_000_000,
    large=10_000_000,
    open_seconds=60,
    visits=12,
)
QUICK = Effort(
    repeats=1,
    seconds=0.4,
    latencies_ms=((20, 8),),
    samples=20,
    insert_seconds=1,
    finished_rows=50_000,
    held_rows=20_000,
    waiting_rows=10_000,
    long_drain=50_000,
    processes=(1, 2),
    audited=200_000,
    large=100_000,
    open_seconds=6,
    visits=2,
)
