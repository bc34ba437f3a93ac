"""Housekeeping: what finished long ago moves to the archive while the worker works, if a setting says after how long.

Every worker tries; the database lets one work at a time, and the others hear that it is busy. A batch is followed by a
pause as long as the batch took, so that claims and settling have the database to themselves at least half of the time.
Whatever goes wrong here is reported and tried again later: messages go on.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterator

from relay.events import Archived, ArchivingFailed, Events
from relay.store import Moved
from relay.worker.threads import Threads

_FIRST_SECONDS = 2.0  # after the start
_ROUND_SECONDS = 600.0
_PAUSE_SECONDS = 0.05  # at least, between two batches


class Housekeeping:
    """``batches`` begins a round: each step moves one batch, in a transaction of its own."""

    def __init__(
        self,
        batches: Callable[[], Iterator[Moved]],
        threads: Threads,
        *,
        events: Events,
        rng: random.Random,
        round_seconds: float = _ROUND_SECONDS,
    ) -> None:
        self._batches = batches
        self._threads = threads
        self._events = events
        self._rng = rng
        self._round_seconds = round_seconds

    async def archive_forever(self) -> None:
        """Round after round; jittered, so that workers do not all look at once."""
        longest = _FIRST_SECONDS
        while True:
            await asyncio.sleep(longest * self._rng.uniform(0.5, 1.0))
            longest = self._round_seconds
            try:
                await self._archive()
            except Exception as error:
                # The first line alone: the others repeat the statement and its parameters.
                self._events.emit(ArchivingFailed(str(error).partition("\n")[0]))

    async def _archive(self) -> None:
        messages = attempts = calls = 0
        batches = self._batches()
        while True:
            started = time.monotonic()
            moved = await self._threads.run(lambda: next(batches, None))
            if moved is None or moved.busy:
                break
            messages, attempts, calls = messages + moved.messages, attempts + moved.attempts, calls + moved.calls
            await asyncio.sleep(max(_PAUSE_SECONDS, time.monotonic() - started))
        if messages or calls:
            self._events.emit(Archived(messages, attempts, calls))
