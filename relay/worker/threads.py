"""Runs the store's blocking transactions beside the event loop, against time.

Blocking psycopg in a thread costs half the CPU of an async driver for these few large statements, and there is no
second, async way to the same SQL. A transaction that gets no answer at all is cut off after a while: a half-open
connection never fails by itself, nor does a statement that waits for a lock. And none holds up the end of the process:
nobody waits for these threads.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Collection
from functools import partial
from typing import TypeVar

from relay.background import Executor
from relay.errors import UnreachableError

T = TypeVar("T")

# Claim, settle, extend, recover, look-ups and a probe may each be waiting at the same time; the rest waits its turn.
# Each thread is a connection: docs/scaling.md counts them.
_THREADS = 6

RETRY_SECONDS = 0.1  # the first wait after PostgreSQL was lost; it doubles
RETRY_MAX_SECONDS = 2.0


class Threads:
    """``cut_off`` is told which thread has had no answer for ``patience_seconds``, again and again until it has."""

    def __init__(self, cut_off: Callable[[Collection[int]], None], *, patience_seconds: float) -> None:
        self._pool = Executor(_THREADS, name="store")
        self._cutting = Executor(1, name="cut-off")  # it takes a moment, and the loop has other work
        self._cut_off = cut_off
        self._patience_seconds = patience_seconds

    async def run(self, work: Callable[[], T]) -> T:
        """The result of ``work``. When cancelled, the transaction goes on to its end without us."""
        loop = asyncio.get_running_loop()
        threads: list[int] = []  # none as long as it waits for one

        def known() -> T:
            threads.append(threading.get_ident())
            return work()

        running = loop.run_in_executor(self._pool, known)
        running.add_done_callback(_heard)
        while not (await asyncio.wait([running], timeout=self._patience_seconds))[0]:
            await loop.run_in_executor(self._cutting, partial(self._cut_off, threads))
        return await running

    def close(self) -> None:
        """No work is begun any more; what is under way is not waited for."""
        for executor in (self._pool, self._cutting):
            executor.shutdown(wait=False, cancel_futures=True)


def _heard(ended: asyncio.Future[T]) -> None:
    """Where nobody waits any more, asyncio would log an error of PostgreSQL's, and that may quote a row."""
    if not ended.cancelled():
        ended.exception()


class Outage:
    """The time in which nothing could be done, failure after failure: how long to wait, and when to give up."""

    def __init__(self, patience_seconds: float) -> None:
        self._patience_seconds = patience_seconds
        self._failures = 0
        self._since_monotonic = 0.0

    def over(self) -> None:
        """The database answered: the next failure is a first one."""
        self._failures = 0

    def goes_on(self, error: UnreachableError) -> float:
        """How long to wait after this failure. Raises the error, and for how long it lasts, at the end of patience."""
        now = time.monotonic()
        if not self._failures:
            self._since_monotonic = now
        self._failures += 1
        if now - self._since_monotonic >= self._patience_seconds:
            raise UnreachableError(
                f"Nothing could be written for {now - self._since_monotonic:.0f} s (RELAY_LEASE_SECONDS): {error}",
                "Nothing is lost. Look at the server, then run it again.",
            ) from error
        return retry_seconds(self._failures)


def retry_seconds(failures: int, *, at_most: float = RETRY_MAX_SECONDS) -> float:
    """How long to wait, in seconds, after this many failures in a row (1: the first)."""
    return min(at_most, RETRY_SECONDS * 2.0 ** min(failures - 1, 10))
