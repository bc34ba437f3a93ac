"""What the worker may know of accounts: which app key and which credential, never a secret."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Protocol

from relay.events import AccountsMended, AccountsTroubled, Events

_TOLD_SECONDS = 10.0  # trouble that changes all the time is told no more often


class Directory(Protocol):
    """``trouble`` is a sentence without secrets while a source, or what it has for some account, is of no use."""

    trouble: str | None

    def identity(self, account: str) -> tuple[str, str] | None:
        """App key and fingerprint of the credential an account has now, at once; None: it has none.

        An account that needs none because it goes its own way has an empty app key, and the fingerprint of that.
        """
        ...

    def refresh(self, accounts: Iterable[str]) -> None:
        """Look up what may have changed. May block, so it is run in a thread."""
        ...

    def forget(self, account: str) -> None:
        """The platform refused this account's credential: look it up again soon."""
        ...


class Nobody:
    """For producers that need no credentials."""

    trouble: str | None = None

    def identity(self, account: str) -> tuple[str, str] | None:
        return None

    def refresh(self, accounts: Iterable[str]) -> None:
        return None

    def forget(self, account: str) -> None:
        return None


def needs_credentials(producer: object, directory: Directory) -> bool:
    """Whether no call can be made for an account that the directory does not know."""
    return not isinstance(directory, Nobody) and getattr(producer, "needs_credentials", False)


class Troubles:
    """Tells what troubles a directory: when that begins, when it changes, when it is over."""

    def __init__(self, trouble: Callable[[], str | None], events: Events) -> None:
        self._trouble = trouble
        self._events = events
        self._told: str | None = None
        self._told_monotonic = float("-inf")

    def tell(self) -> None:
        """To be called after each refresh."""
        trouble, now = self._trouble(), time.monotonic()
        if trouble == self._told or (self._told and now - self._told_monotonic < _TOLD_SECONDS):
            return
        self._told, self._told_monotonic = trouble, now
        self._events.emit(AccountsTroubled(trouble) if trouble else AccountsMended())
