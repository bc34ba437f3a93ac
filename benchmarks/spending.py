"""What processes have spent: CPU time of all their threads, to the microsecond, as Linux counts it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


def children(pid: int) -> list[int]:
    """Processes that this one has started: of a postmaster, the sessions and what works beside them."""
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def cpu_ms(pids: Iterable[int]) -> float:
    """What these have spent so far, together."""
    tasks = (task for pid in pids for task in Path(f"/proc/{pid}/task").glob("*/schedstat"))
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e6
