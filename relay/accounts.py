"""Whose credentials produce a message. An account that is not known here has none, and its messages wait.

Credentials stay in this process: the database sees an account's name and, in a pause, a fingerprint.
"""

from __future__ import annotations

from collections.abc import Mapping

from relay.tmc.credential import Credential

DEFAULT = "default"


class Accounts:
    """The credentials by account name, as they are now."""

    def __init__(self, credentials: Mapping[str, Credential]) -> None:
        self._credentials = dict(credentials)

    def credential(self, account: str) -> Credential | None:
        """What the account produces with, or None: unknown."""
        return self._credentials.get(account)

    def identity(self, account: str) -> tuple[str, str] | None:
        """App key and fingerprint of the account's credential: what the worker may know of it."""
        credential = self.credential(account)
        return None if credential is None else (credential.app_key, credential.fingerprint)
