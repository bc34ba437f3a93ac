"""Which accounts are left alone because their app key is paused, which pauses end because a credential changed, and
the pace of calls.

Pauses of single accounts are heeded by the claim itself. Which account uses which app key is known here alone:
credentials live outside the database, or in the application's own tables.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable

from relay.events import Events, PauseLifted
from relay.store import Pause, Store
from relay.worker.directory import Directory
from relay.worker.threads import Threads

_FRESH_SECONDS = 1.0  # how long the list read last is good
_KNOWN_SECONDS = 1.0  # how long an account that was looked up is not looked up again


class Pauses:
    """``calls_per_second`` is for one app key and the whole fleet; 0: no limit."""

    def __init__(
        self, store: Store, threads: Threads, directory: Directory, observers: Events, *, calls_per_second: float = 0.0
    ) -> None:
        self._store = store
        self._threads = threads
        self._directory = directory
        self._events = observers
        self._calls_per_second = calls_per_second
        self._accounts = {"default": float("-inf")}  # all that this process has met → when last looked up
        self._pauses: tuple[Pause, ...] = ()
        self._read_monotonic = float("-inf")

    async def meet(self, accounts: Iterable[str]) -> None:
        """Look up the credentials of accounts that are about to be produced."""
        now = time.monotonic()
        names = [
            name for name in sorted(set(accounts)) if now - self._accounts.get(name, float("-inf")) > _KNOWN_SECONDS
        ]
        if names:
            await self._threads.run(lambda: self._directory.refresh(names))
            self._accounts.update(dict.fromkeys(names, now))

    def stale(self) -> None:
        """A pause was ordered just now."""
        self._read_monotonic = float("-inf")

    def refused(self, account: str) -> None:
        """The platform refused the credential of this account."""
        self._directory.forget(account)
        self._accounts[account] = float("-inf")

    async def accounts_to_skip(self, *, only_endless: bool = False) -> tuple[str, ...]:
        """Accounts whose app key is paused; with ``only_endless``, until somebody resumes it."""
        if time.monotonic() - self._read_monotonic > _FRESH_SECONDS:
            await self._read()
        apps = self._paused_apps(only_endless=only_endless)
        if not apps:
            return ()
        return tuple(account for account in sorted(self._accounts) if self._app_key(account) in apps)

    def is_paused(self, account: str) -> bool:
        """Whether its app key was paused when the list was last read."""
        app_key = self._app_key(account)
        return app_key is not None and app_key in self._paused_apps()

    async def wait_for_turn(self, account: str) -> None:
        """Wait until the fleet's pace allows one more call with this account's app key."""
        app_key = self._app_key(account)
        if not self._calls_per_second or app_key is None:
            return
        seconds = await self._threads.run(lambda: self._store.reserve(app_key, 1.0 / self._calls_per_second))
        await asyncio.sleep(seconds)

    def _paused_apps(self, *, only_endless: bool = False) -> set[str]:
        scopes = (pause.scope for pause in self._pauses if pause.seconds_left is None or not only_endless)
        return {scope.removeprefix("app:") for scope in scopes if scope.startswith("app:")}

    async def _read(self) -> None:
        pauses = await self._threads.run(self._store.pauses)
        named = [pause.scope.removeprefix("account:") for pause in pauses if pause.credential is not None]
        await self.meet(name for name in [*named, "default"] if not name.startswith("app:"))
        self._pauses = tuple([pause for pause in pauses if not await self._lifted(pause)])
        self._read_monotonic = time.monotonic()

    async def _lifted(self, pause: Pause) -> bool:
        """End the pause if the credential it was ordered for is not the one we would use now."""
        refused = pause.credential
        current = self._fingerprint(pause.scope)
        if refused is None or current is None or current == refused:
            return False
        lifted = await self._threads.run(lambda: self._store.lift_pause(pause.scope, refused))
        if lifted:
            self._events.emit(PauseLifted(pause.scope))
        return lifted

    def _fingerprint(self, scope: str) -> str | None:
        """Of the credential we would use now for this scope."""
        kind, _, name = scope.partition(":")
        if kind == "account":
            identity = self._directory.identity(name)
            return identity[1] if identity else None
        identities = (self._directory.identity(account) for account in sorted(self._accounts))
        return next((identity[1] for identity in identities if identity and identity[0] == name), None)

    def _app_key(self, account: str) -> str | None:
        identity = self._directory.identity(account)
        return identity[0] if identity else None
