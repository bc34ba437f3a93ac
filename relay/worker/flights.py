"""The calls this process holds: claimed and waiting for a slot, in flight, finished and not yet settled.

    accept ──> backlog ──launch──> running ──> finished ──taken by the settler──> closed

Every call accepted ends as exactly one ``Finished``, also when the producer raises or the process stops. A call whose
lease may be over is never started: it is given back.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from relay.events import Events, ProducerFailed
from relay.message import Batch, Fault, Refused
from relay.outcomes import Policy, Settlement, decide, released
from relay.producers import Producer


@dataclass(frozen=True, slots=True)
class Finished:
    """A call that has its answer. ``sent_monotonic`` is None when it was never made."""

    batch: Batch
    settlement: Settlement
    sent_monotonic: float | None = None
    duration_seconds: float = 0.0


class Flights:
    """Bounded by ``slots`` calls running at once. Belongs to one event loop."""

    def __init__(
        self,
        producer: Producer,
        *,
        slots: int,
        lease_seconds: float,
        policy: Policy,
        observers: Events,
        rng: random.Random,
    ) -> None:
        self._producer = producer
        self._slots = slots
        self._lease_seconds = lease_seconds
        self._policy = policy
        self._events = observers
        self._rng = rng
        self._backlog: deque[Batch] = deque()
        self._running: dict[int, asyncio.Task[None]] = {}
        self._finished: list[Finished] = []
        self._held_until: dict[int, float] = {}  # every open call of ours → monotonic seconds we surely hold it
        self.changed = asyncio.Event()  # a slot is free, or a call was closed
        self.answered = asyncio.Event()  # there is something to settle

    @property
    def free(self) -> int:
        return self._slots - len(self._running) - len(self._backlog)

    @property
    def running(self) -> int:
        return len(self._running)

    @property
    def idle(self) -> bool:
        """Nothing is claimed, in flight or waiting to be settled."""
        return not self._held_until

    @property
    def open_calls(self) -> list[int]:
        return list(self._held_until)

    def accept(self, batches: Iterable[Batch], claimed_monotonic: float) -> None:
        """Take over claimed calls; their leases count from before the claim was made, to be on the safe side."""
        for batch in batches:
            self._backlog.append(batch)
            self._held_until[batch.call_id] = claimed_monotonic + self._lease_seconds

    def extended(self, call_ids: Iterable[int], since_monotonic: float) -> None:
        """The leases of these calls have been running anew since then."""
        for call_id in call_ids:
            if call_id in self._held_until:
                self._held_until[call_id] = since_monotonic + self._lease_seconds

    def launch(self) -> None:
        """Start what waits, while slots are free."""
        while self._backlog and len(self._running) < self._slots:
            batch = self._backlog.popleft()
            if time.monotonic() < self._held_until[batch.call_id]:
                self._running[batch.call_id] = asyncio.create_task(self._fly(batch))
            else:
                self._finish(Finished(batch, released(batch)))

    def release_backlog(self) -> None:
        """Give back what was claimed and not sent."""
        while self._backlog:
            batch = self._backlog.popleft()
            self._finish(Finished(batch, released(batch)))

    async def landed(self, stop: asyncio.Event, seconds: float) -> None:
        """Wait until no call is running, or ``stop`` is set, or the time is over."""
        stopped = asyncio.create_task(stop.wait())
        deadline = time.monotonic() + seconds
        while self._running and not stop.is_set() and (left := deadline - time.monotonic()) > 0:
            waiting = {*self._running.values(), stopped}
            await asyncio.wait(waiting, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()

    async def cancel(self) -> None:
        """Cut off what is still running: nobody will know what became of it."""
        running = list(self._running.values())
        for flight in running:
            flight.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def take_finished(self) -> list[Finished]:
        """What is to be settled. The caller closes it, or puts it back."""
        self.answered.clear()
        finished, self._finished = self._finished, []
        return finished

    def put_back(self, finished: Sequence[Finished]) -> None:
        self._finished = [*finished, *self._finished]
        self.answered.set()

    def close(self, finished: Sequence[Finished]) -> None:
        """These calls are settled."""
        for each in finished:
            del self._held_until[each.batch.call_id]
        self.changed.set()

    async def _fly(self, batch: Batch) -> None:
        sent = time.monotonic()
        try:
            answer = await self._producer.produce(batch)
        except asyncio.CancelledError:
            reason = "the relay was stopped before the platform answered"
            answer = Refused(Fault.UNKNOWN, "relay.stopped", message=reason)
        except Exception as error:
            self._events.emit(ProducerFailed(batch.call_id, type(error).__name__))
            reason = f"the producer raised {type(error).__name__}"
            answer = Refused(Fault.UNKNOWN, "relay.producer_failed", message=reason)
        del self._running[batch.call_id]
        settlement = decide(batch, answer, self._policy, self._rng)
        self._finish(Finished(batch, settlement, sent, time.monotonic() - sent))

    def _finish(self, finished: Finished) -> None:
        self._finished.append(finished)
        self.answered.set()
        self.changed.set()
