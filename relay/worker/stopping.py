"""Stopping, in two stages: claims end and calls in flight land; then, told again or late, what is left is cut off.

stop() ──> no new claims, what was not sent goes back, calls land within the grace
stop() again, or the grace is over ──> calls are cut off; their messages are then unknown
always ──> outcomes that are known get some seconds to be written
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine

from relay.events import Events, WorkerStopping
from relay.worker.flights import Flights
from relay.worker.tasks import cancel

_LAST_SETTLE_SECONDS = 3.0  # even when the grace is over, outcomes that are known get this long to be written


class Stopping:
    """The two stages of one worker, and what each waits for. Belongs to one event loop."""

    def __init__(self, flights: Flights, events: Events, *, grace_seconds: float) -> None:
        self._flights = flights
        self._events = events
        self._grace_seconds = grace_seconds
        self.begun = asyncio.Event()
        self._aborting = asyncio.Event()

    def stop(self) -> None:
        """Stage one; called again, stage two."""
        if self.begun.is_set():
            self._aborting.set()
        self.begin()

    def begin(self) -> None:
        """Stage one, whoever asks for it and however often."""
        self.begun.set()
        self._flights.bell.set()

    async def came(self) -> None:
        """Returns with stage one."""
        await self.begun.wait()

    async def abort_came(self) -> None:
        """Returns with stage two, unless it is the end of the grace that brings it."""
        await self._aborting.wait()

    async def before(self, opening: Coroutine[None, None, None]) -> None:
        """Wait for it, but not when we are to stop: a name that is looked up may take a minute."""
        opened, stopped = asyncio.create_task(opening), asyncio.create_task(self.begun.wait())
        finished, _ = await asyncio.wait([opened, stopped], return_when=asyncio.FIRST_COMPLETED)
        await cancel([opened, stopped])
        if opened in finished:
            opened.result()

    async def after_a_claim_under_way(self, claiming: asyncio.Task[None], aborting: asyncio.Task[None]) -> float:
        """Wait for it, but not beyond the grace: it may be stalled. What is left of the grace, in seconds."""
        self._flights.release_unsent()
        started = time.monotonic()
        await asyncio.wait([claiming, aborting], timeout=self._grace_seconds, return_when=asyncio.FIRST_COMPLETED)
        if claiming.done():
            claiming.result()
        return max(0.0, self._grace_seconds - (time.monotonic() - started))

    async def land(self, settling: asyncio.Task[None], grace_seconds: float) -> None:
        """What is left of both stages, then the last outcomes are written down by the task ``settling``."""
        self._flights.release_unsent()
        if not self._flights.idle:
            self._events.emit(WorkerStopping(self._flights.running, self._grace_seconds))
        deadline = time.monotonic() + grace_seconds
        await self._flights.landed(self._aborting, grace_seconds)
        await self._flights.cancel()
        # If PostgreSQL stays away, the leases lapse and another worker records these calls as unknown.
        patience = max(_LAST_SETTLE_SECONDS, deadline - time.monotonic())
        await self._settle_the_rest(settling, patience)

    async def _settle_the_rest(self, settling: asyncio.Task[None], seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                while not self._flights.idle and not settling.done():
                    self._flights.bell.clear()
                    self._flights.release_unsent()  # halves of a call that was split while we were stopping
                    await self._flights.change(_LAST_SETTLE_SECONDS)
        except TimeoutError:
            return
