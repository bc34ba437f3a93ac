"""How far does one database carry: several worker processes, and one process over a long time.

Each process notes what was accepted: a message accepted twice ends the measure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from benchmarks.effort import Effort
from benchmarks.ground import Ground
from benchmarks.platform import Platform, platform
from benchmarks.race import drain
from benchmarks.table import Cells, Table, in_turn

_LATENCY_MS, _IN_FLIGHT = 100, 8
_ACCOUNTS = 16
_NULL_PER_SECOND = 55_000  # with that many accounts, 8 in flight, and noting what was accepted
_LONGER = 3  # so that making connections and plans, four times at once, is not what is measured
_DAY_SECONDS = 86_400


def measure(ground: Ground, effort: Effort) -> Iterator[Table]:
    yield _fleet(ground, effort, "null producer", lambda _: effort.messages(_LONGER * _NULL_PER_SECOND))
    with platform(0) as there:
        alone = effort.http_messages("relay", 0, _IN_FLIGHT)
        yield _fleet(ground, effort, f"0 ms, {_IN_FLIGHT} in flight each", lambda _: alone, there)
    with platform(_LATENCY_MS) as there:  # n processes that wait for the platform are n times as fast
        each = effort.http_messages("relay", _LATENCY_MS, _IN_FLIGHT)
        yield _fleet(ground, effort, f"{_LATENCY_MS} ms, {_IN_FLIGHT} in flight each", lambda n: each * n, there)
    yield _memory(ground, effort)


def _fleet(
    ground: Ground, effort: Effort, how: str, messages: Callable[[int], int], there: Platform | None = None
) -> Table:
    """``messages`` by the number of processes."""
    runs = {f"{n} process{'es' * (n > 1)}": partial(_speed, ground, there, messages(n), n) for n in effort.processes}
    return Table(f"worker processes on one database, {how}", in_turn(runs, effort.repeats))


def _speed(ground: Ground, there: Platform | None, messages: int, processes: int) -> Cells:
    run = drain(
        ground, "relay", messages=messages, platform=there, processes=processes, accounts=_ACCOUNTS, noting=True
    )
    return {
        "messages/s": run.per_second,
        "million a day": run.per_second * _DAY_SECONDS / 1e6,
        "CPU ms/1,000": run.cpu_seconds / messages * 1e6,
        "WAL bytes": run.counted.wal_bytes / messages,
    }


def _memory(ground: Ground, effort: Effort) -> Table:
    with platform(0) as there:
        runs = {
            f"{messages:,} messages": partial(_peak, ground, there, messages)
            for messages in (effort.long_drain // 100, effort.long_drain // 10, effort.long_drain)
        }
        return Table("memory of one process at its highest, over HTTP", in_turn(runs, 1))


def _peak(ground: Ground, there: Platform, messages: int) -> Cells:
    return {"MB": drain(ground, "relay", messages=messages, platform=there).memory_bytes / 1e6}
