"""The time for signing: the host's clock, corrected by the database's.

A platform refuses signatures that are ten minutes off. A host whose clock is wrong, or in the wrong zone, would stop
all deliveries; PostgreSQL's clock is the one every other decision is made by, so it decides here too.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

from relay.store import Store
from relay.worker.threads import Threads

_EVERY_SECONDS = 30.0


class Clock:
    """The database's time as this process knows it. ``measured`` is False until it was asked for the first time."""

    def __init__(self) -> None:
        self._began: float | None = None  # what the database's clock said when our monotonic one was at 0
        self.measured = False

    def now(self) -> float:
        """Seconds since the epoch, as the database sees it. Goes on evenly when the host's clock is set."""
        return time.time() if self._began is None else time.monotonic() + self._began

    async def measure(self, store: Store, threads: Threads) -> None:
        """Ask the database once; the answer is as exact as the way there is short."""
        before = time.monotonic()
        database = await threads.run(store.now)
        self._began = database - (before + time.monotonic()) / 2
        self.measured = True

    async def measure_forever(self, store: Store, threads: Threads) -> None:
        """Measure every half minute; while the database is away the last measurement stands."""
        while True:
            await asyncio.sleep(_EVERY_SECONDS)
            with suppress(Exception):  # what was measured last is good enough until the database answers again
                await self.measure(store, threads)
