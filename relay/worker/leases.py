"""Leases: ours run anew while calls are open, and what other workers left open is settled as unknown.

Any worker recovers for all; there is no leader and no extra process, so nothing stops when one of them dies.
"""

from __future__ import annotations

import asyncio
import random
import time
from functools import partial

from relay.errors import UnreachableError
from relay.events import DatabaseLost, DatabaseRefused, Events, LeasesRecovered
from relay.message import CallKey
from relay.outcomes import Policy, Settlement
from relay.store import Store, told
from relay.worker.flights import Flights
from relay.worker.report import Report
from relay.worker.threads import Threads

_RECOVER_MAX_SECONDS = 5.0
_REFUSED_SECONDS = 60.0  # so long a call that cannot be recovered is left alone, and those behind it have their turn


class Leases:
    """Extends the leases of this process's calls, and settles calls of workers that are gone."""

    def __init__(
        self,
        store: Store,
        threads: Threads,
        flights: Flights,
        *,
        lease_seconds: float,
        policy: Policy,
        events: Events,
        report: Report,
        rng: random.Random,
    ) -> None:
        self._store = store
        self._threads = threads
        self._flights = flights
        self._lease_seconds = lease_seconds
        self._policy = policy
        self._events = events
        self._report = report
        self._rng = rng
        self._refused: dict[int, float] = {}  # until when

    async def extend_forever(self) -> None:
        """Let the leases of our open calls run anew, three times as often as they need it."""
        while True:
            await asyncio.sleep(self._lease_seconds / 3)
            open_calls = self._flights.open_calls
            if open_calls:
                await self._extend(open_calls)

    async def recover_forever(self) -> None:
        """Settle as unknown the calls whose lease ran out; jittered, so that workers do not all look at once."""
        while True:
            try:
                await self._recover()
            except UnreachableError as error:
                self._events.emit(DatabaseLost("recover", str(error), error.cause))
            except Exception as error:
                self._events.emit(DatabaseRefused("recover", told(error)))
            await asyncio.sleep(min(_RECOVER_MAX_SECONDS, self._lease_seconds / 4) * self._rng.uniform(0.5, 1.0))

    async def _extend(self, calls: list[CallKey]) -> None:
        started = time.monotonic()
        try:
            ours = await self._threads.run(lambda: self._store.extend(calls))
        except UnreachableError as error:
            self._events.emit(DatabaseLost("extend", str(error), error.cause))
            return
        except Exception as error:  # the answers on their way are worth more than the leases
            self._events.emit(DatabaseRefused("extend", told(error)))
            return
        self._flights.extended(ours, started)

    async def _recover(self) -> None:
        now = time.monotonic()
        self._refused = {call_id: until for call_id, until in self._refused.items() if until > now}
        but = tuple(self._refused)
        try:
            settlements = await self._threads.run(lambda: self._store.recover(self._policy, self._rng, but=but))
        except UnreachableError:
            raise
        except Exception:
            settlements = await self._recover_each(but)
        if not settlements:
            return
        messages = sum(len(settlement.verdicts) for settlement in settlements)
        self._report.unknown += messages
        self._events.emit(LeasesRecovered(len(settlements), messages))
        self._flights.bell.set()

    async def _recover_each(self, but: tuple[int, ...]) -> tuple[Settlement, ...]:
        """One of them is refused: the others are settled all the same, those behind the first hundred next time."""
        settlements: tuple[Settlement, ...] = ()
        for call_id in await self._threads.run(lambda: self._store.lapsed(but)):
            try:
                settlements += await self._threads.run(partial(self._recover_one, call_id))
            except UnreachableError:
                raise
            except Exception as error:
                self._refused[call_id] = time.monotonic() + _REFUSED_SECONDS
                self._events.emit(DatabaseRefused("recover", told(error), call_id))
        return settlements

    def _recover_one(self, call_id: int) -> tuple[Settlement, ...]:
        return self._store.recover(self._policy, self._rng, only=[call_id])
