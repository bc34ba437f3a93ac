"""What a source says of an account: with what, and where to.

    producer = "spool"          its producer; without it, that of the settings
    folder = "/var/spool"       options of that producer, for this account alone
    app_key = "..."             its credential, where it has one

Which producers and options there are is known to whoever opens the accounts: here they are only taken apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from relay.credential import Credential
from relay.errors import ConfigurationError
from relay.settings import CREDENTIAL_PARTS, PRODUCER_KEY
from relay.texts import UnusableText, secret


class Fingerprinted(Protocol):
    """Where the messages of an account go, once that is understood. ``fingerprint`` tells two routes apart."""

    @property
    def fingerprint(self) -> str:
        """Hex digits that give nothing away."""
        ...


@dataclass(frozen=True, slots=True, repr=False)
class Directions:
    """Values as they were given, among them secrets. ``where`` says in errors which account, and of which source.

    ``producer`` None: that of the settings. ``parts`` are those of the credential, empty ones left out.
    """

    producer: str | None
    options: Mapping[str, object]
    parts: Mapping[str, object]
    where: str

    def credential(self) -> Credential | None:
        """None where nothing of it is given. Raises ConfigurationError for half of one."""
        return credential_of(self.parts, self.where) if self.parts else None


def said_of(given: Mapping[str, object], where: str) -> Credential | Directions:
    """What is given for an account, taken apart. Raises ConfigurationError, beginning with ``where``."""
    options = {name: value for name, value in given.items() if name not in (*CREDENTIAL_PARTS, PRODUCER_KEY)}
    producer = _text(PRODUCER_KEY, given.get(PRODUCER_KEY), where)
    if not producer and not options:
        return credential_of(given, where)
    parts = {name: value for name in CREDENTIAL_PARTS if (value := given.get(name)) not in (None, "")}
    return Directions(producer or None, options, parts, where)


def credential_of(parts: Mapping[str, object], where: str) -> Credential:
    """Raises ConfigurationError, beginning with ``where``, when the app key or its secret is missing or no text."""
    texts = {name: _text(name, parts.get(name), where) for name in CREDENTIAL_PARTS}
    missing = [name for name in CREDENTIAL_PARTS if name != "session" and not texts[name]]
    if missing:
        raise ConfigurationError(f"{where} has no {' and no '.join(missing)}", "An account has both: docs/accounts.md")
    return Credential(texts["app_key"], texts["app_secret"], texts["session"] or None)


def _text(name: str, value: object, where: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str | int) or isinstance(value, bool):
        raise ConfigurationError(f"{where}: {name} must be text, not {type(value).__name__}")
    try:
        return secret(str(value))
    except UnusableText as error:
        raise ConfigurationError(f"{where}: {name} {error}") from None
