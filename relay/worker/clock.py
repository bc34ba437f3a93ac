"""The time for signing: the host's clock, corrected by the database's.

A platform refuses signatures that are ten minutes off. A host whose clock is wrong, or in the wrong zone, would stop
all deliveries; PostgreSQL's clock is the one every other decision is made by, so it decides here too.
"""

from __future__ import annotations

import asyncio
import time

from relay.errors import UnreachableError
from relay.store import Store
from relay.worker.threads import Threads

_EVERY_SECONDS = 30.0


class Clock:
    def __init__(self) -> None:
        self._offset_seconds = 0.0
        self.measured = False

    def now(self) -> float:
        """Seconds since the epoch, as the database sees it."""
        return time.time() + self._offset_seconds

    async def measure(self, store: Store, threads: Threads) -> None:
        """Ask the database once; the answer is as exact as the way there is short."""
        before = time.time()
        database = await threads.run(store.now)
        self._offset_seconds = database - (before + time.time()) / 2
        self.measured = True

    async def measure_forever(self, store: Store, threads: Threads) -> None:
        while True:
            await asyncio.sleep(_EVERY_SECONDS)
            try:
                await self.measure(store, threads)
            except UnreachableError:
                continue  # the last offset is good enough until the database is back
