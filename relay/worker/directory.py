"""What the worker may know of accounts: which app key and which credential, never a secret."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol


class Directory(Protocol):
    def identity(self, account: str) -> tuple[str, str] | None:
        """App key and fingerprint of the credential an account has now, at once; None: it has none."""
        ...

    def refresh(self, accounts: Iterable[str]) -> None:
        """Look up what may have changed. May block, so it is run in a thread."""
        ...

    def forget(self, account: str) -> None:
        """The platform refused this account's credential: look it up again soon."""
        ...


class Nobody:
    """For producers that need no credentials."""

    def identity(self, account: str) -> tuple[str, str] | None:
        return None

    def refresh(self, accounts: Iterable[str]) -> None:
        return None

    def forget(self, account: str) -> None:
        return None
