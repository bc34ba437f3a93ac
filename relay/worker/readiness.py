"""Whether this worker could work: it is not stopping, and the database answers and can be written to.

Probes come every few seconds and do not wait for each other. So there is one question to the database at a time,
however many ask, and nobody waits long for it: probes that pile up on a stalled connection would take threads and
connections from those that deliver.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from relay.store import Store, told
from relay.worker.threads import Threads

_ANSWER_SECONDS = 2.0


class Readiness:
    """``unsettled``: why calls that were made cannot be settled, one sentence for each. ``lost``: why none can be
    settled at all, or claims fail, in words."""

    def __init__(
        self,
        store: Store,
        threads: Threads,
        stopping: asyncio.Event,
        unsettled: Callable[[], Sequence[str]] = tuple,
        lost: Callable[[], str] = str,
    ) -> None:
        self._store = store
        self._threads = threads
        self._stopping = stopping
        self._unsettled = unsettled
        self._lost = lost
        self._asking: asyncio.Task[str] | None = None

    async def trouble(self) -> str:
        """What is wrong, in words; empty when nothing is. Comes within two seconds."""
        if self._stopping.is_set():
            return "the worker is stopping"
        if refused := self._unsettled():
            return f"{len(refused)} made and not settled: {refused[0]}"
        asking = self._asking
        if asking is None or asking.done():
            asking = self._asking = asyncio.create_task(self._ask())
        # Not self._asking from here on: a caller that comes when this question is answered puts the next one there.
        finished, _ = await asyncio.wait([asking], timeout=_ANSWER_SECONDS)
        if not finished:
            return f"PostgreSQL has not answered for {_ANSWER_SECONDS:.0f} s"
        return asking.result() or self._lost()

    async def _ask(self) -> str:
        try:
            writable = await self._threads.run(self._store.writable)
        except Exception as error:
            return told(error)
        return "" if writable else "PostgreSQL is read-only: a standby, or read-only by default"
