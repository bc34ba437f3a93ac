"""One process for each contender, a common start, and what each one used.

Connections are made before the start; interpreter, imports and the filling of the table are not measured. Times are of
the monotonic clock, which all processes of a machine share. A drain counts only when no message is left and, over HTTP,
the platform received each one.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from multiprocessing.synchronize import Barrier
from queue import Empty
from typing import Any

from benchmarks.contenders import Drain, Job
from benchmarks.ground import Counted, Ground, counted, filled, left
from benchmarks.platform import Platform, Received
from benchmarks.starting import starting

TABLES = {
    "relay": "relay.outbox",
    "bare": "bare.outbox",
    "naive": "relay.outbox",
    "naive_own_clock": "relay.outbox",
}
# The naive pollers ask for ids alone, which none of the relay's indexes answers; their author would find out.
_INDEX = "create index on relay.outbox (id) where status = 'pending'"
_INDEXES = {"naive": _INDEX, "naive_own_clock": _INDEX}
_PATIENCE_SECONDS = 600
_NOTHING = Received(0, 0)


@dataclass(frozen=True, slots=True)
class Lap:
    """One process from the start to the end of its drain; memory in bytes, its highest."""

    started: float
    ended: float
    cpu_seconds: float
    memory_bytes: int
    statements: int
    accepted: Sequence[int]


@dataclass(frozen=True, slots=True)
class Run:
    """All processes of one contender together. ``calls`` is 0 where nothing was sent."""

    messages: int
    seconds: float
    cpu_seconds: float
    memory_bytes: int
    statements: int
    calls: int
    counted: Counted

    @property
    def per_second(self) -> float:
        return self.messages / self.seconds


def drain(
    ground: Ground,
    contender: str,
    *,
    messages: int,
    platform: Platform | None = None,
    in_flight: int = 8,
    batch_size: int = 50,
    processes: int = 1,
    accounts: int = 1,
    noting: bool = False,
) -> Run:
    """Let one contender, in this many processes, drain a fresh database with this many messages.

    ``noting``: the processes note what was accepted and must agree that it was each message once.
    """
    table = TABLES[contender]
    with ground.fresh(filled(ground, table, messages, accounts=accounts, index=_INDEXES.get(contender, ""))) as url:
        received = platform.received() if platform else _NOTHING
        before = counted(url)
        job = Job(url, platform.url if platform else None, in_flight, batch_size, noting)
        laps = together([(contender, job)] * processes)
        used = counted(url) - before
        assert left(url, table) == 0, f"{contender} left messages"
        received = platform.received() - received if platform else _NOTHING
    assert not platform or received.messages == messages, f"{contender}: not every message arrived once"
    if noting:
        _accepted_once(laps, messages)
    return Run(
        messages=messages,
        seconds=max(lap.ended for lap in laps) - min(lap.started for lap in laps),
        cpu_seconds=sum(lap.cpu_seconds for lap in laps),
        memory_bytes=max(lap.memory_bytes for lap in laps),
        statements=sum(lap.statements for lap in laps),
        calls=received.calls,
        counted=used,
    )


def _accepted_once(laps: list[Lap], messages: int) -> None:
    accepted = [id_ for lap in laps for id_ in lap.accepted]
    assert len(accepted) == len(set(accepted)), "a message was accepted twice"
    assert len(accepted) == messages, "a message was not accepted"


def together(contenders: list[tuple[str, Job]]) -> list[Lap]:
    """Start them all, let them go at once, wait for the last one."""
    context = starting()
    start, laps = context.Barrier(len(contenders)), context.Queue()
    processes = [context.Process(target=_lap, args=(*c, start, laps), daemon=True) for c in contenders]
    for process in processes:
        process.start()
    try:
        return [_next(laps, processes) for _ in contenders]
    finally:
        for process in processes:
            process.join(5)
            process.kill()


def _next(laps: Any, processes: list[Any]) -> Lap:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        try:
            lap: Lap = laps.get(timeout=1)
        except Empty:
            if any(process.exitcode for process in processes):
                raise RuntimeError("a contender failed; its traceback is above") from None
        else:
            return lap
    raise TimeoutError("a contender does not come to an end")


def _lap(contender: str, job: Job, start: Barrier, laps: Any) -> None:
    run: Drain = prepare(contender)(job)
    start.wait()
    cpu, started = time.process_time(), time.monotonic()
    tally = run()
    ended = time.monotonic()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    laps.put(Lap(started, ended, time.process_time() - cpu, memory, tally.statements, tally.accepted))


def prepare(contender: str) -> Callable[[Job], Drain]:
    module = import_module(f"benchmarks.contenders.{contender}")
    return module.prepare  # type: ignore[no-any-return]
