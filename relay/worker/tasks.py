"""Tasks of one event loop: waited for, ended, bounded in time."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from typing import Any


async def until_first(ends: Sequence[asyncio.Task[None]], *, others: Sequence[asyncio.Task[None]]) -> None:
    """Wait until one of ``ends`` is over; raise at once what any task raises."""
    pending = {*ends, *others}
    while all(end in pending for end in ends):
        finished, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        for task in finished:
            task.result()


async def within(seconds: float, closing: Coroutine[None, None, None]) -> None:
    """Await ``closing``, and give it up without a word after ``seconds``."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await closing


async def cancel(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Cancel these tasks and wait until they have ended, however they end."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
