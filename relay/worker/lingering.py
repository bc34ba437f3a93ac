"""Whether a session silently keeps messages from being claimed: now and then the database is asked.

Not at a claim, which cannot see it and shall not pay for it. Messages that can be sent are, so this is told and nothing
else: the worker stays ready, for an attack shall not stop a roll-out.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import replace

from relay.events import Events, LocksSeen, LocksTaken
from relay.lingering import SECONDS, Lingering
from relay.store import Store
from relay.worker.threads import Threads

_EVERY_SECONDS = 20.0


class Lookout:
    """Where it is hidden since when a session is in its transaction, it counts from when it was seen first."""

    def __init__(
        self,
        store: Store,
        threads: Threads,
        events: Events,
        *,
        every_seconds: float = _EVERY_SECONDS,
        seconds: float = SECONDS,
    ) -> None:
        self._store = store
        self._threads = threads
        self._events = events
        self._every_seconds = every_seconds
        self._seconds = seconds
        self._since: dict[str, float] = {}  # transactions, as long as they are there
        self._told: set[str] = set()
        self._count = LocksSeen(sessions=0, prepared=0)

    async def look_forever(self) -> None:
        """Look, and tell of who is new, until cancelled."""
        while True:
            await asyncio.sleep(self._every_seconds)
            with suppress(Exception):  # whatever is wrong with the database, others tell it
                self.meet(await self._threads.run(lambda: self._store.lingering(self._seconds)), time.monotonic())

    def meet(self, found: tuple[Lingering, ...], now: float) -> None:
        """Tell each of them once: at once, or when it has been seen for long enough. And how many there are."""
        self._since = {one.transaction: self._since.get(one.transaction, now) for one in found}
        self._told &= self._since.keys()
        for one in found:
            seen = now - self._since[one.transaction]
            if one.transaction in self._told or (one.seconds is None and seen < self._seconds):
                continue
            self._told.add(one.transaction)
            self._events.emit(LocksTaken(str(one if one.seconds is not None else replace(one, seconds=seen))))
        kinds = [one.pid is None for one in found if one.transaction in self._told]
        count = LocksSeen(sessions=kinds.count(False), prepared=kinds.count(True))
        if count != self._count:
            self._count = count
            self._events.emit(count)
