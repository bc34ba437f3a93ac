"""What waits in the database, for the metrics: asked when somebody scrapes, and seldom enough whoever does.

Scrapes do not wait for each other, nor long for the database: there is one question at a time, at most one in five
seconds, and the longer it takes the longer it rests. It has a thread of its own, so that no delivery waits for it.
What is too old is not shown any more.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace

from relay.gauges import Backlog, Gauged
from relay.store import Store
from relay.worker.options import Options
from relay.worker.threads import Threads

_ANSWER_SECONDS = 1.0  # a scrape waits no longer
_EVERY_SECONDS = 5.0
_REST = 20  # times as long as the question took: a twentieth of a connection's time at most
_TOO_OLD_SECONDS = 60.0
_PATIENCE_SECONDS = 3.0
_LAG_SECONDS = 60.0  # for how long what was said of the archive is good


class Gauging:
    """Belongs to one event loop. Of the options it heeds those about the archive."""

    def __init__(self, store: Store, options: Options, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._counting = store.counting
        self._threads = Threads(store.cut_off, patience_seconds=_PATIENCE_SECONDS)
        self._options = options
        self._clock = clock
        self._asking: asyncio.Task[None] | None = None
        self._again = float("-inf")
        self._backlog: Backlog | None = None
        self._read = float("-inf")
        self._lag: float | None = None
        self._lag_again = float("-inf")
        self._up = False

    async def look(self) -> None:
        """Ask, if it is time to. Comes back within a second, whether there is an answer or not."""
        asking = self._asking
        if asking is None or asking.done():
            if self._clock() < self._again:
                return
            asking = self._asking = asyncio.create_task(self._ask())
        await asyncio.wait([asking], timeout=_ANSWER_SECONDS)

    def shown(self) -> Gauged:
        """What was read last, unless that is too old or the last question had no answer."""
        age = self._clock() - self._read
        if self._backlog is None or age > _TOO_OLD_SECONDS:
            return Gauged(up=False)
        return Gauged(self._up, self._backlog, age)

    def close(self) -> None:
        """Nothing is asked any more; an answer under way is not waited for."""
        if self._asking is not None:
            self._asking.cancel()
        self._threads.close()

    async def _ask(self) -> None:
        started = self._clock()
        try:
            found = await self._threads.run(self._counting.backlog)
            await self._look_at_the_archive()
            self._backlog, self._read, self._up = replace(found, archive_lag_seconds=self._lag), started, True
        except Exception:  # whatever is wrong with the database, others tell it
            self._backlog, self._up = None, False
        ended = self._clock()
        self._again = ended + max(_EVERY_SECONDS, _REST * (ended - started))

    async def _look_at_the_archive(self) -> None:
        """Seldom, and apart: an old snapshot may keep the entries of all that was archived, and make it slow."""
        older_than, holds = self._options.archive_after, self._options.failed_holds
        if older_than is None or self._clock() < self._lag_again:
            return
        self._lag_again = self._clock() + _LAG_SECONDS
        try:
            seconds = await self._threads.run(lambda: self._counting.finished_seconds(failed_holds=holds))
        except Exception:
            seconds = None
        self._lag = None if seconds is None else max(0.0, seconds - older_than.total_seconds())
