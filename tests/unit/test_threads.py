"""Blocking transactions beside the event loop: what becomes of one that nobody waits for any more."""

from __future__ import annotations

import asyncio
import gc
import threading
from typing import Any

import pytest

from relay.worker.threads import Threads


async def test_an_error_that_nobody_waits_for_any_more_is_told_nowhere() -> None:
    """asyncio would log it with all that PostgreSQL said, which may quote a row."""
    loop, told = asyncio.get_running_loop(), list[dict[str, Any]]()
    loop.set_exception_handler(lambda _, context: told.append(context))
    threads, go, begun = Threads(lambda _: None, patience_seconds=10), threading.Event(), asyncio.Event()

    def work() -> None:
        loop.call_soon_threadsafe(begun.set)
        go.wait()
        raise ValueError("Key (content)=(a row) already exists")

    waiting = asyncio.create_task(threads.run(work))
    await begun.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    del waiting
    go.set()
    assert await threads.run(lambda: 7) == 7
    threads.close()
    for thread in threading.enumerate():
        if thread.name.startswith("store_"):
            thread.join(5)
    await asyncio.sleep(0)
    gc.collect()
    assert told == []
