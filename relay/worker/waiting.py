"""What a run that is to end by itself waits for, told once: nobody looks at a terminal that is silent and knows why."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta

from relay.events import Events, Warned
from relay.store import Pause, Store
from relay.worker.threads import Threads

TELL_SECONDS = 3.0  # a retry that comes sooner needs no word
_NAMED = 3


async def _nobody() -> Sequence[str]:
    return ()


class Waiting:
    """Tells of each wait once; what is claimed ends it. ``skipped``: accounts that are left alone for their app key."""

    def __init__(
        self,
        store: Store,
        threads: Threads,
        events: Events,
        *,
        skipped: Callable[[], Awaitable[Sequence[str]]] = _nobody,
        tell_seconds: float = TELL_SECONDS,
    ) -> None:
        self._store = store
        self._threads = threads
        self._events = events
        self._skipped = skipped
        self._tell_seconds = tell_seconds
        self._since_monotonic: float | None = None
        self._told = False

    def over(self) -> None:
        """Something was claimed, or is in flight."""
        self._since_monotonic, self._told = None, False

    async def goes_on(self) -> None:
        """Nothing is to be sent now, and something will be later."""
        if self._since_monotonic is None:
            self._since_monotonic = time.monotonic()
        if not self._told and time.monotonic() - self._since_monotonic >= self._tell_seconds:
            self._told = True
            await self.tell()

    async def tell(self) -> None:
        """What is pending, when the next of it is due, and which pauses are in force, as a warning; or nothing."""
        pending = await self._threads.run(self._store.pending)
        if pending:
            pauses = await self._threads.run(self._store.pauses)
            skipped = await self._skipped()
            soonest = await self._threads.run(lambda: self._store.counting.soonest_seconds(skipped))
            self._events.emit(Warned(_told(pending, soonest, pauses)))


def _told(pending: int, soonest_seconds: float | None, pauses: Sequence[Pause]) -> str:
    said = f"{pending} pending message{'s' if pending > 1 else ''}, none to be sent now"
    due = "" if soonest_seconds is None else f"; the next retry or later time is {_in(soonest_seconds)}"
    if not pauses:
        return f"{said}{due or '; a person is waited for'}; relay list --status pending shows each"
    soonest = sorted(pauses, key=lambda pause: (pause.seconds_left is None, pause.seconds_left or 0.0))
    named = [f"{_ended(pause.scope)} until {_until(pause.seconds_left)}" for pause in soonest[:_NAMED]]
    more = [f"{len(pauses) - _NAMED} more"] if len(pauses) > _NAMED else []
    return f"{said}{due}; paused: {', '.join(named + more)}"


def _until(seconds_left: float | None) -> str:
    return "resumed" if seconds_left is None else _in(seconds_left)


def _in(seconds: float) -> str:
    return f"{datetime.now(UTC) + timedelta(seconds=min(seconds, 1e9)):%Y-%m-%d %H:%M:%S UTC}"


def _ended(scope: str) -> str:
    """An app key is shown by its end only."""
    kind, _, name = scope.partition(":")
    return f"app …{name[-4:]}" if kind == "app" else scope
