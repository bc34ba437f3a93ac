"""For a producer whose far end blocks (a pipe, a disk, a library without asyncio): one write after another, in threads.

A write waits for those before it. Whoever is cancelled meanwhile has sent nothing, and says so; whoever is cancelled
later does not know what was taken. So each write is either begun or given up, whichever comes first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from threading import Lock
from typing import TypeVar

T = TypeVar("T")


class NotSent(asyncio.CancelledError):
    """``produce`` was cancelled before it had begun to send: nothing can have been accepted."""


class InTurn:
    """Belongs to one producer, whose calls share what is written to."""

    def __init__(self) -> None:
        self._turn = Lock()

    async def write(self, write: Callable[[], T]) -> T:
        """What ``write()`` gives, in a thread of its own: a slow reader must not stop the leases of other calls.

        Raises what it raises, and NotSent if cancelled before its turn came.
        """
        fate = _Fate()

        def in_turn() -> T | None:
            with self._turn:
                return write() if fate.decided() else None

        try:
            written = await asyncio.to_thread(in_turn)
        except asyncio.CancelledError:
            if fate.decided():
                raise NotSent from None
            raise
        return written  # type: ignore[return-value]  # None alone where nobody waits any more


class _Fate:
    """Whether a write is begun or given up: who decides first has it. Its thread may wait long for those before it."""

    def __init__(self) -> None:
        self._lock = Lock()

    def decided(self) -> bool:
        return self._lock.acquire(blocking=False)
