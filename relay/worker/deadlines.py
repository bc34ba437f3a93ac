"""The last look at ``deliver_before``, just before a call is made.

A claim leaves out what has expired; but behind the pace, in the backlog or as half of a split call a message may wait
on, and what is sent late is worse than what is not sent. The worker's clock follows the database's, so looking costs
nothing; only where something seems to have expired the database is asked. It decides, and takes those messages out of
the call before it is made: the positions in the call stay what was sent, and the next claim fails what was left out.
"""

from __future__ import annotations

from dataclasses import replace

from relay.message import Batch
from relay.store import Store
from relay.worker.clock import Clock
from relay.worker.threads import Threads


class Deadlines:
    """What of a claimed call has expired by the time it is sent."""

    def __init__(self, store: Store, threads: Threads, clock: Clock) -> None:
        self._store = store
        self._threads = threads
        self._clock = clock

    async def still_wanted(self, batch: Batch) -> Batch | None:
        """The same call without the messages that have expired; None where nothing is left of it."""
        now = self._clock.now()
        limits = [message.deliver_before for message in batch.messages if message.deliver_before is not None]
        if not limits or min(limits) > now:
            return batch
        kept = await self._threads.run(lambda: self._store.leave_out_expired(batch.key))
        messages = tuple(message for message in batch.messages if message.id in kept)
        return replace(batch, messages=messages) if messages else None
