"""Which accounts are left alone because their app key is paused, and which pauses end because a credential changed.

Pauses of single accounts are heeded by the claim itself. Which account uses which app key is known here alone:
credentials live outside the database, or in the application's own tables.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Protocol

from relay.events import Events, PauseLifted
from relay.store import Pause, Store
from relay.worker.threads import Threads

_FRESH_SECONDS = 1.0  # how long the list read last is good


class Identity(Protocol):
    """With which app key and credential an account would be produced now: (app key, fingerprint), or None: unknown."""

    def __call__(self, account: str) -> tuple[str, str] | None: ...


class Pauses:
    def __init__(self, store: Store, threads: Threads, identity: Identity, observers: Events) -> None:
        self._store = store
        self._threads = threads
        self._identity = identity
        self._events = observers
        self._accounts = {"default"}  # all that this process has met
        self._pauses: tuple[Pause, ...] = ()
        self._read_monotonic = float("-inf")

    def met(self, accounts: Iterable[str]) -> None:
        self._accounts.update(accounts)

    def stale(self) -> None:
        """A pause was ordered just now."""
        self._read_monotonic = float("-inf")

    async def accounts_to_skip(self, *, only_endless: bool = False) -> list[str]:
        """Accounts whose app key is paused; with ``only_endless``, until somebody resumes it."""
        if time.monotonic() - self._read_monotonic > _FRESH_SECONDS:
            await self._read()
        scopes = {pause.scope for pause in self._pauses if pause.seconds_left is None or not only_endless}
        apps = {scope.removeprefix("app:") for scope in scopes if scope.startswith("app:")}
        return [account for account in sorted(self._accounts) if self._app_key(account) in apps]

    async def _read(self) -> None:
        pauses = await self._threads.run(self._store.pauses)
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
            identity = self._identity(name)
            return identity[1] if identity else None
        identities = (self._identity(account) for account in sorted(self._accounts))
        return next((identity[1] for identity in identities if identity and identity[0] == name), None)

    def _app_key(self, account: str) -> str | None:
        identity = self._identity(account)
        return identity[0] if identity else None
