"""Accounts that turn up get their credentials looked up here, many at once and beside the claims; those that have none
are paused together, and a pause for a credential ends when there is another one; that of an account which has none
also when nothing of it is pending any more, or its producer needs none (settings changed since).

    met by a claim ──offer──> looked up ──> acquainted: its messages are claimed
                                    └─────> paused: nothing is claimed, no call is made for it
                                                │
                     looked up again and again ─┴──> lifted, and acquainted

Healthy accounts wait for none of this: an account that is not acquainted is left out of claims, and a source that
answers slowly, or is asked for 100,000 accounts that do not exist, holds up these tasks alone.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Coroutine, Iterable, Sequence
from functools import partial
from itertools import islice

from relay.errors import UnreachableError
from relay.events import DatabaseLost, DatabaseRefused, Events, Paused, PauseLifted
from relay.outcomes import LOST, NO_CREDENTIAL, PauseOrder
from relay.store import Store, told
from relay.worker.directory import Directory
from relay.worker.flights import Flights
from relay.worker.pauses import Pauses
from relay.worker.threads import Threads

_LIFT_SECONDS = 1.0  # between two looks at what is paused
_IDLE_SECONDS = 60.0  # between two looks at what is paused and has nothing pending
_AGAIN_SECONDS = 1.0  # an account that was met is not met again: what came of it may not be seen by a claim yet
_MOST = 20_000  # that wait to be looked up; who finds no room is met again
_FEWEST, _AT_ONCE = 50, 1000  # looked up together
_LOOK_UP_SECONDS = 0.05  # should take no longer: every other look-up waits for it
_NAMED = 3  # events one by one; more are told in one


class Acquaintance:
    """The claims of ``flights`` are told whenever something may be claimed that could not be before."""

    def __init__(
        self,
        store: Store,
        threads: Threads,
        pauses: Pauses,
        directory: Directory,
        events: Events,
        flights: Flights,
    ) -> None:
        self._store = store
        self._threads = threads
        self._pauses = pauses
        self._directory = directory
        self._events = events
        self._ring = flights.bell.set
        self._waiting: dict[str, None] = {}
        self._met: dict[str, float] = {}  # account → when it was looked up, monotonic
        self._offered = asyncio.Event()
        self._at_once = _AT_ONCE
        self._idle_monotonic = float("-inf")  # when it was looked for them last
        self._looked = asyncio.Event()
        self._needless: set[str] = set()  # accounts whose pause was ended once, for their producer needs no credentials

    def offer(self, accounts: Collection[str]) -> bool:
        """A claim has met these; whether there was anything new in it."""
        now, before = time.monotonic(), len(self._waiting)
        if len(self._met) > _MOST:
            self._met = {account: at for account, at in self._met.items() if now - at < _AGAIN_SECONDS}
        for account in accounts:
            if len(self._waiting) < _MOST and now - self._met.get(account, float("-inf")) >= _AGAIN_SECONDS:
                self._waiting[account] = None
        if self._waiting:
            self._offered.set()
        return len(self._waiting) > before

    async def looked_once(self) -> None:
        """Wait until all that is paused has been looked at."""
        await self._looked.wait()

    def tasks(self) -> Iterable[Coroutine[None, None, None]]:
        """What has to run beside the claims, until it is cancelled."""
        return self._introduce_forever(), self._lift_forever()

    async def _introduce_forever(self) -> None:
        while True:
            await self._offered.wait()
            accounts = list(islice(self._waiting, self._at_once))
            await self._told_if_it_fails("meet", self._introduce(accounts))
            now = time.monotonic()
            for account in accounts:
                del self._waiting[account]
                self._met[account] = now
            if not self._waiting:
                self._offered.clear()
            self._ring()

    async def _introduce(self, accounts: Sequence[str]) -> None:
        """Those who have credentials are claimed from now on, the others are paused, in one statement."""
        await self._look_up(accounts)
        strangers = [account for account in accounts if self._pauses.is_stranger(account)]
        self._store.expect(set(accounts).difference(strangers))
        if strangers:
            orders = [self._pauses.why_stranger(account) for account in sorted(strangers)]
            for fingerprint in {order.fingerprint for order in orders}:
                alike = [order for order in orders if order.fingerprint == fingerprint]
                await self._threads.run(partial(self._store.pause_all, alike))
                self._tell_paused(alike)

    async def _lift_forever(self) -> None:
        while True:
            await self._told_if_it_fails("lift", self._lift_round())
            if time.monotonic() - self._idle_monotonic > _IDLE_SECONDS:
                self._idle_monotonic = time.monotonic()
                await self._told_if_it_fails("lift", self._lift_idle())
            self._looked.set()
            await asyncio.sleep(_LIFT_SECONDS)

    async def _lift_round(self) -> None:
        """Many after many; where there are more, half of the time belongs to others."""
        after, more = "", True
        while more:
            started, most = time.monotonic(), self._at_once
            refused = await self._threads.run(partial(self._store.refused_accounts, after, most))
            if refused:
                await self._lift(refused)
            after, more = next(reversed(refused), ""), len(refused) == most
            await asyncio.sleep(time.monotonic() - started if more else 0.0)

    async def _lift(self, refused: dict[str, str]) -> None:
        """End the pauses of those who would not produce with the refused credential any more."""
        await self._look_up(list(refused))
        identities = {account: self._directory.identity(account) for account in refused}
        renewed = {
            account: refused[account]
            for account, identity in identities.items()
            if not self._pauses.is_stranger(account)
            and (refused[account] == LOST or (identity is not None and identity[1] != refused[account]))
        }
        if not renewed:
            return
        scopes = {f"account:{account}": fingerprint for account, fingerprint in renewed.items()}
        lifted = await self._threads.run(partial(self._store.lift_pauses, scopes))
        self._store.expect(renewed)
        self._pauses.stale()
        self._tell_lifted(lifted)
        self._ring()

    async def _lift_idle(self) -> None:
        """Of accounts that nobody knows and nothing waits for: they would fill every list of pauses for ever.

        Who inserts a message of one meanwhile has it paused again. And of those whose producer needs no credentials.
        """
        after, more = "", True
        while more:
            started = time.monotonic()
            idle, waiting, after = await self._threads.run(partial(self._store.unknown_accounts, after, _AT_ONCE))
            ending = {**idle, **self._without_need(waiting)}
            if ending:
                scopes = {f"account:{account}": fingerprint for account, fingerprint in ending.items()}
                self._tell_lifted(await self._threads.run(partial(self._store.lift_pauses, scopes)))
                self._pauses.stale()
                self._ring()
            more = after != ""
            await asyncio.sleep(time.monotonic() - started if more else 0.0)

    def _without_need(self, waiting: dict[str, str]) -> dict[str, str]:
        """Those that another producer had paused, before the settings named this one, which needs no credentials.

        Each once: a worker of the old settings, or the producer itself, may say so again, and then it stays.
        """
        needless = {
            account: fingerprint
            for account, fingerprint in waiting.items()
            if fingerprint == NO_CREDENTIAL and account not in self._needless and not self._pauses.is_stranger(account)
        }
        if len(self._needless) + len(needless) > _MOST:
            return {}
        self._needless.update(needless)
        return needless

    def _tell_lifted(self, scopes: Sequence[str]) -> None:
        for scope in scopes[:_NAMED]:
            self._events.emit(PauseLifted(scope))
        if len(scopes) > _NAMED:
            self._events.emit(PauseLifted(scopes[_NAMED], len(scopes) - _NAMED - 1))

    async def _look_up(self, accounts: Sequence[str]) -> None:
        """As many at once as are looked up soon."""
        started = time.monotonic()
        await self._pauses.meet(accounts)
        if time.monotonic() - started > _LOOK_UP_SECONDS:
            self._at_once = max(_FEWEST, self._at_once // 2)
        else:
            self._at_once = min(_AT_ONCE, self._at_once * 2)

    def _tell_paused(self, orders: Sequence[PauseOrder]) -> None:
        for order in orders[:_NAMED]:
            self._events.emit(Paused(order.scope, order.seconds, order.reason, order.error_code))
        if len(orders) > _NAMED:
            first, more = orders[_NAMED], len(orders) - _NAMED - 1
            self._events.emit(Paused(first.scope, first.seconds, first.reason, first.error_code, more))

    async def _told_if_it_fails(self, doing: str, work: Coroutine[None, None, None]) -> None:
        try:
            await work
        except UnreachableError as error:
            self._events.emit(DatabaseLost(doing, str(error), error.cause))
        except Exception as error:  # the messages of others go on
            self._events.emit(DatabaseRefused(doing, told(error)))
