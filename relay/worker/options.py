"""What a worker is told, and when a run ends by itself. ``relay/assembly/worker.py`` fills it in from the settings."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum


class Until(Enum):
    """When a run ends by itself."""

    STOPPED = "stopped"
    DRAINED = "drained"
    ONE_BATCH = "one batch"


@dataclass(frozen=True, slots=True)
class Options:
    """Times in seconds. ``batch_size`` is further bounded by the producer's ``max_batch``."""

    concurrency: int = 8
    batch_size: int = 50
    poll_interval_seconds: float = 0.1
    lease_seconds: float = 60.0
    grace_seconds: float = 25.0
    linger_seconds: float = 0.0
    calls_per_second: float = 0.0  # of one app key, by the whole fleet; 0: no limit
    failed_holds: bool = False  # a message that failed for good holds its ordering key
    producer: str = "unnamed"  # as it is registered: what log and metrics call it
    archive_after: timedelta | None = None  # what finished longer ago than that moves to the archive
