"""Runs the store's blocking transactions beside the event loop.

Blocking psycopg in a thread costs half the CPU of an async driver for these few large statements, and there is no
second, async way to the same SQL.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

_THREADS = 4  # claim, settle, extend and recover may each be waiting for PostgreSQL at the same time

RETRY_SECONDS = 0.1  # the first wait after PostgreSQL was lost; it doubles
RETRY_MAX_SECONDS = 2.0


class Threads:
    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="store")

    async def run(self, work: Callable[[], T]) -> T:
        """The result of ``work``. When cancelled, the transaction goes on to its end without us."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


def retry_seconds(failures: int) -> float:
    """How long to wait after so many failures in a row (1: the first)."""
    return min(RETRY_MAX_SECONDS, RETRY_SECONDS * 2.0 ** min(failures - 1, 10))
