"""Which accounts are left alone because they or their app key are paused, which pauses end because a credential
changed, and the pace of calls.

Pauses of accounts are heeded by the claim itself, however many they are: of those only what concerns a call in hand is
read here (and ``acquaintance.py`` ends those that a credential caused). Which account uses which app key is known here
alone: credentials live outside the database, or in the application's own tables. A pause that an answer has just
ordered counts here at once, before it is settled: what is claimed meanwhile is given back and not sent into the same
wall. So does a pace by which the next call of an app key is far away, or calls that wait for their turn would in time
have all the slots.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace

from relay.database_errors import Kind
from relay.errors import UnreachableError
from relay.events import DatabaseLost, Events, PauseLifted
from relay.message import Answer
from relay.outcomes import PauseOrder, without_credentials
from relay.store import Pause, Store
from relay.worker.directory import Directory, Troubles
from relay.worker.lanes import Lanes
from relay.worker.threads import Threads

_FRESH_SECONDS = 1.0  # how long the list read last is good
_LONGEST_STEP_SECONDS = 86_400.0  # between two calls: the database must be able to add it to its time
# How far away the turn of a call may be. One that waits has a slot, and those of other app keys wait for slots.
_AWAY_SECONDS, _AWAY_STEPS = 60.0, 2
_KNOWN_SECONDS = 1.0  # how long an account that was looked up is not looked up again


class Pauses:
    """``calls_per_second`` is for one app key and the whole fleet; 0: no limit.

    ``known_only``: no call is made for an account without credentials; then ``acquainted`` are those that had some when
    they were last looked up. None: nobody needs any.
    """

    def __init__(
        self,
        store: Store,
        threads: Threads,
        directory: Directory,
        events: Events,
        lanes: Lanes,
        *,
        calls_per_second: float = 0.0,
        known_only: bool = False,
    ) -> None:
        self.acquainted: set[str] | None = set() if known_only else None
        self.in_hand: Callable[[], Collection[str]] = tuple  # accounts of calls that are open
        self._store = store
        self._threads = threads
        self._directory = directory
        self._lanes = lanes
        self._troubles = Troubles(lambda: directory.trouble or lanes.trouble, events)
        self._events = events
        self._calls_per_second = calls_per_second
        self._accounts = {"default": float("-inf")}  # all that this process has met → when last looked up
        self._paused: dict[str, float] = {}  # scope → monotonic seconds of its end, infinity without one
        self._of_apps: tuple[object, tuple[str, ...]] = (None, ())  # for which look, and the accounts it found
        self._read_monotonic = self._stale_monotonic = float("-inf")
        self._reserving: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)  # of which app keys
        self._away: dict[str, float] = {}  # scope of an app key whose pace is full → until when it is left alone
        self._in_vain: dict[str, float] = {}  # app key → when a reservation failed last

    async def meet(self, accounts: Iterable[str]) -> None:
        """Look up the credentials of accounts that are about to be produced."""
        now = time.monotonic()
        names = [
            name for name in sorted(set(accounts)) if now - self._accounts.get(name, float("-inf")) > _KNOWN_SECONDS
        ]
        if names:
            await self._threads.run(lambda: self._directory.refresh(names))
            await self._lanes.direct(names)
            self._troubles.tell()
            self._accounts.update(dict.fromkeys(names, now))
            if self.acquainted is not None:
                self._know(self.acquainted, names)

    @property
    def met(self) -> Collection[str]:
        """The accounts that this process has met, but for those that nothing can be sent for."""
        return self._accounts.keys()

    def is_stranger(self, account: str) -> bool:
        """Whether no call can be made for it, as far as is known."""
        if self.acquainted is not None and account not in self.acquainted:
            return True
        return self._lanes.lost(account) is not None

    def why_stranger(self, account: str) -> PauseOrder:
        """The pause of an account that no call can be made for."""
        return without_credentials(account, self._lanes.lost(account))

    def ordered(self, order: PauseOrder) -> None:
        """An answer ordered this pause; it is not settled yet."""
        self._paused[order.scope] = _end(order.seconds)

    def stale(self) -> None:
        """A pause was settled just now."""
        self._stale_monotonic = time.monotonic()

    def refused(self, account: str) -> None:
        """The platform refused the credential of this account."""
        self._directory.forget(account)
        self._accounts[account] = float("-inf")

    async def accounts_to_skip(self, *, only_endless: bool = False) -> tuple[str, ...]:
        """Accounts that are paused or whose app key is; with ``only_endless``, until a person resumes it."""
        if self._read_monotonic <= max(self._stale_monotonic, time.monotonic() - _FRESH_SECONDS):
            await self._read()
        after = float("inf") if only_endless else time.monotonic()
        paused = frozenset(scope for ends in (self._paused, self._away) for scope, end in ends.items() if end >= after)
        return (*(scope[8:] for scope in sorted(paused) if scope.startswith("account:")), *self._accounts_of(paused))

    def is_paused(self, account: str) -> bool:
        """Whether it or its app key is paused, as far as is known without asking, or it has no credentials."""
        return self.is_stranger(account) or self._end(account) > time.monotonic()

    async def wait_for_pace(self, account: str) -> None:
        """Wait until the fleet's pace allows one more call with this account's app key."""
        app_key = self._app_key(account)
        if not self._calls_per_second or app_key is None:
            return
        step_seconds = min(_LONGEST_STEP_SECONDS, 1.0 / self._calls_per_second)
        within_seconds = max(_AWAY_SECONDS, _AWAY_STEPS * step_seconds)
        wait_seconds = await self._reserve(app_key, step_seconds, within_seconds)
        if wait_seconds == float("inf"):
            self._away[f"app:{app_key}"] = time.monotonic() + within_seconds / 2  # then there is room again
            raise UnreachableError("The next call of the app key is far away")
        await asyncio.sleep(wait_seconds)

    async def _reserve(self, app_key: str, step_seconds: float, within_seconds: float) -> float:
        """One of an app key at a time, as its row has it anyway: where another session keeps that locked, each that
        asks would hold a thread. Who waited behind one that asked in vain does not ask again, and the vain one is told.
        """
        began = time.monotonic()
        async with self._reserving[app_key]:
            if self._in_vain.get(app_key, float("-inf")) >= began:
                raise UnreachableError("The next call of the app key could not be reserved")
            try:
                return await self._threads.run(
                    lambda: self._store.reserve(app_key, step_seconds, within_seconds=within_seconds)
                )
            except UnreachableError as error:
                self._in_vain[app_key] = time.monotonic()
                if error.cause == Kind.TOO_SLOW:  # of a server that is away others tell
                    self._events.emit(DatabaseLost("pace", str(error), error.cause))
                raise

    def _end(self, account: str) -> float:
        """When, in monotonic seconds, its own pause and that of its app key are over."""
        scopes = (f"account:{account}", f"app:{self._app_key(account)}")
        return max(ends.get(scope, float("-inf")) for ends in (self._paused, self._away) for scope in scopes)

    def _accounts_of(self, paused: frozenset[str]) -> tuple[str, ...]:
        """Those whose app key is paused: they may be thousands, so it is looked for them once."""
        apps = {scope[4:] for scope in paused if scope.startswith("app:")}
        if not apps:
            return ()
        look = (paused, self._read_monotonic, len(self._accounts))
        if self._of_apps[0] != look:
            self._of_apps = look, tuple(name for name in sorted(self._accounts) if self._app_key(name) in apps)
        return self._of_apps[1]

    def _know(self, acquainted: set[str], looked_up: Iterable[str]) -> None:
        """Those without credentials are not kept: any login can make up any number of them."""
        for account in looked_up:
            if self._directory.identity(account) is None or self._lanes.lost(account):
                acquainted.discard(account)
                del self._accounts[account]
            else:
                acquainted.add(account)

    async def _read(self) -> None:
        asked, accounts = time.monotonic(), set(self.in_hand())
        pauses = await self._threads.run(lambda: self._store.pauses_of(accounts))
        await self.meet(["default", *accounts])
        self._paused = {pause.scope: _end(pause.seconds_left) for pause in pauses if not await self._lifted(pause)}
        self._read_monotonic = asked

    async def _lifted(self, pause: Pause) -> bool:
        """End the pause if the credential it was ordered for is none of those we would use now."""
        refused = pause.fingerprint
        current = self._fingerprints(pause.scope)
        if refused is None or not current or refused in current or self._is_stranger(pause.scope):
            return False
        lifted = await self._threads.run(lambda: self._store.lift_pause(pause.scope, refused))
        if lifted:
            self._events.emit(PauseLifted(pause.scope))
        return lifted

    def named(self, account: str, answer: Answer) -> Answer:
        """With the fingerprint of its route, where that is all the account has: another one ends the pause, if any."""
        identity = self._directory.identity(account)
        if answer.credential is not None or identity is None or identity[0]:
            return answer
        return replace(answer, credential=identity[1])

    def _is_stranger(self, scope: str) -> bool:
        return scope.startswith("account:") and self.is_stranger(scope[8:])

    def _fingerprints(self, scope: str) -> set[str]:
        """Of the credentials we would use now for this scope: accounts of one app differ in their sessions."""
        kind, _, name = scope.partition(":")
        identities = [self._directory.identity(account) for account in (self._accounts if kind == "app" else [name])]
        return {identity[1] for identity in identities if identity and (kind == "account" or identity[0] == name)}

    def _app_key(self, account: str) -> str | None:
        identity = self._directory.identity(account)
        return (identity[0] or None) if identity else None


def _end(seconds: float | None) -> float:
    return float("inf") if seconds is None else time.monotonic() + seconds
