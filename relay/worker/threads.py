"""Runs the store's blocking transactions beside the event loop, against time.

Blocking psycopg in a thread costs half the CPU of an async driver for these few large statements, and there is no
second, async way to the same SQL. A transaction that gets no answer at all is cut off after a while: a half-open
connection never fails by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

# Claim, settle, extend, recover, look-ups and a probe may each be waiting at the same time; the rest waits its turn.
# Each thread is a connection: docs/scaling.md counts them.
_THREADS = 6

RETRY_SECONDS = 0.1  # the first wait after PostgreSQL was lost; it doubles
RETRY_MAX_SECONDS = 2.0


class Threads:
    """``cut_off`` is called when a transaction has had no answer for ``patience_seconds``."""

    def __init__(self, cut_off: Callable[[], None], *, patience_seconds: float) -> None:
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="store")
        self._cut_off = cut_off
        self._patience_seconds = patience_seconds

    async def run(self, work: Callable[[], T]) -> T:
        """The result of ``work``. When cancelled, the transaction goes on to its end without us."""
        running = asyncio.get_running_loop().run_in_executor(self._pool, work)
        finished, _ = await asyncio.wait([running], timeout=self._patience_seconds)
        if not finished:
            self._cut_off()
        return await running

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


def retry_seconds(failures: int) -> float:
    """How long to wait after so many failures in a row (1: the first)."""
    return min(RETRY_MAX_SECONDS, RETRY_SECONDS * 2.0 ** min(failures - 1, 10))
