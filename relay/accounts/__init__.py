"""Whose credentials produce a message, and where to. An account that is not known here has no credentials, and goes
where all others go.

``credential``, ``identity`` and ``route`` answer at once, from memory. ``refresh`` asks the sources, the first one that
knows an account wins; it blocks and belongs into a thread. What stays true:

- a source in trouble takes nothing away: what it said last is kept, and no later source is asked in its place;
- one account in trouble leaves the others alone;
- credentials stay in this process: the database sees names and, in a pause, a fingerprint; errors contain none.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from heapq import nsmallest
from threading import Lock
from typing import Any, Protocol, runtime_checkable

from relay.accounts.directions import Directions, Fingerprinted
from relay.credential import Credential
from relay.errors import RelayError

DEFAULT = "default"
FRESH_SECONDS = 5.0
_TOLD, _NAMED = 10, 3  # troubles, of what may be thousands; in the sentence for the log
_CROWD = 10_000  # accounts, from which on those are forgotten that had nothing

Found = Credential | Directions | RelayError  # the last one: why what is there for the account is of no use


class Source(Protocol):
    """Where credentials come from: a TOML file, a mounted folder, a query of the user's."""

    @property
    def name(self) -> str:
        """What it is called in the settings, for errors."""
        ...

    def look_up(self, accounts: Collection[str]) -> Mapping[str, Found]:
        """What this source has now for these accounts; one it does not know is left out.

        Raises ConfigurationError or UnreachableError when it can say nothing of any of them.
        """
        ...


@runtime_checkable
class Listing(Protocol):
    """A source that knows whom it has something for without being asked about each."""

    def names(self) -> list[str]:
        """All of them, those in trouble too. Raises as ``look_up`` does."""
        ...


@dataclass(frozen=True, slots=True)
class _Entry:
    """What was found for an account, and when it was asked for. ``error``: why nothing was ever understood of it."""

    asked_monotonic: float
    credential: Credential | None = None
    identity: tuple[str, str] | None = None
    route: Fingerprinted | None = None
    error: RelayError | None = None


@dataclass(frozen=True, slots=True)
class _Understood:
    credential: Credential | None
    route: Fingerprinted | None


@dataclass(frozen=True, slots=True)
class _LeftAlone:
    """A source in trouble is not asked again at once: each attempt may cost a whole time-out."""

    until_monotonic: float
    error: RelayError


class Accounts:
    """What is known by account name. Any thread may call any method.

    ``understand`` makes a route of the directions of an account, None where it goes where all go, and raises
    ConfigurationError where they make no sense: then that account is in trouble, and no other.
    ``fresh_seconds``: what was found, or was not, is not looked up again for this long. While a source, or what it has
    for some account, is of no use, ``trouble`` is a sentence for the log, ``troubles`` are the first ten errors in the
    order of names, and ``troubled`` counts them all.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        *,
        understand: Callable[[Directions], Fingerprinted | None] = lambda _said: None,
        fresh_seconds: float = FRESH_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.trouble: str | None = None
        self.troubles: tuple[RelayError, ...] = ()
        self.troubled = 0
        self._sources = tuple(sources)
        self._understand = understand
        self._fresh_seconds = fresh_seconds
        self._monotonic = monotonic
        self._entries: dict[str, _Entry] = {}
        self._forgotten: set[str] = set()
        self._left_alone: dict[Source, _LeftAlone] = {}
        self._useless: dict[str, RelayError] = {}
        self._crowd = _CROWD
        self._looking = Lock()  # one look-up at a time; a thread that only reads takes no lock

    def credential(self, account: str) -> Credential | None:
        """What the account produces with, or None: unknown."""
        entry = self._entries.get(account)
        return entry.credential if entry else None

    def identity(self, account: str) -> tuple[str, str] | None:
        """App key and fingerprint of the account's credential: what the worker may know of it.

        Where it has none and goes its own way, no app key and the fingerprint of that route.
        """
        entry = self._entries.get(account)
        return entry.identity if entry else None

    def route(self, account: str) -> Any:
        """Its own way, as ``understand`` made it; None: that of all others."""
        entry = self._entries.get(account)
        return entry.route if entry else None

    def routed(self) -> dict[str, Any]:
        """The routes of those that were looked up and go their own way, by name."""
        return {account: entry.route for account, entry in sorted(self._entries.items()) if entry.route}

    def lost(self, account: str) -> str | None:
        """Why nobody knows where its messages go; None: that is known."""
        entry = self._entries.get(account)
        if entry is None:
            return f"the account {account!r} has not been looked up"
        return str(entry.error) if entry.error else None

    def forget(self, account: str) -> None:
        """Let the next refresh look it up however fresh it is; until then it stays as it is."""
        self._forgotten.add(account)

    def refresh(self, accounts: Iterable[str]) -> None:
        """Look up those that are not fresh. Blocks; the trouble of a source is no exception but ``trouble``."""
        wanted = set(accounts)
        if not self._due(wanted):  # then nobody waits for a look-up that concerns others
            return
        with self._looking:
            due = self._due(wanted)  # another thread may just have looked some of them up
            self._forgotten.difference_update(due)
            if due:
                asked = self._monotonic()
                self._keep(due, self._ask(due), asked)

    def check(self) -> None:
        """Ask every source for the account ``default``; raises what a source says that is of no use to anybody."""
        for source in self._sources:
            source.look_up([DEFAULT])

    def listed(self) -> list[str]:
        """The accounts of those sources that can list theirs. Blocks; raises where one cannot at the moment."""
        return [name for source in self._sources if isinstance(source, Listing) for name in source.names()]

    def _due(self, accounts: set[str]) -> set[str]:
        oldest = self._monotonic() - self._fresh_seconds

        def is_due(account: str) -> bool:
            entry = self._entries.get(account)
            return entry is None or entry.asked_monotonic <= oldest or account in self._forgotten

        return set(filter(is_due, accounts))

    def _ask(self, accounts: set[str]) -> dict[str, _Understood | RelayError]:
        found: dict[str, _Understood | RelayError] = {}
        for source in self._sources:
            if left := accounts - found.keys():
                found |= self._ask_source(source, left)
        return found

    def _ask_source(self, source: Source, accounts: set[str]) -> Mapping[str, _Understood | RelayError]:
        trouble = self._left_alone.get(source)
        if trouble and self._monotonic() < trouble.until_monotonic:
            return dict.fromkeys(accounts, trouble.error)
        try:
            found = {account: self._understood(said) for account, said in source.look_up(accounts).items()}
        except Exception as unforeseen:  # a source may be anything; whatever it raises takes nothing away
            error = unforeseen if isinstance(unforeseen, RelayError) else _unforeseen(source, unforeseen)
            self._left_alone[source] = _LeftAlone(self._monotonic() + self._fresh_seconds, error)
            return dict.fromkeys(accounts, error)
        self._left_alone.pop(source, None)
        for account in accounts:
            self._useless.pop(account, None)
        self._useless |= {account: error for account, error in found.items() if isinstance(error, RelayError)}
        return found

    def _understood(self, said: Found) -> _Understood | RelayError:
        if not isinstance(said, Directions):
            return said if isinstance(said, RelayError) else _Understood(said, None)
        try:
            return _Understood(route=self._understand(said), credential=said.credential())
        except RelayError as error:
            return error
        except Exception as unforeseen:  # a producer may be anybody's
            return RelayError(f"{said.where}: its producer cannot be made: unexpected {type(unforeseen).__name__}")

    def _keep(self, accounts: set[str], found: Mapping[str, _Understood | RelayError], asked_monotonic: float) -> None:
        for account in accounts:
            self._entries[account] = self._entry(account, found.get(account), asked_monotonic)
        if len(self._entries) > self._crowd:
            self._forget_the_unknown(asked_monotonic)
        self._tell()

    def _tell(self) -> None:
        """Always in the same order: what did not change is not told again."""
        first = nsmallest(_TOLD, self._useless)
        troubles = [*(left.error for left in self._left_alone.values()), *(self._useless[name] for name in first)]
        self.troubles, self.troubled = tuple(troubles[:_TOLD]), len(self._left_alone) + len(self._useless)
        self.trouble = _told(self.troubles, self.troubled) if troubles else None

    def _entry(self, account: str, answer: _Understood | RelayError | None, asked_monotonic: float) -> _Entry:
        if answer is None:
            return _Entry(asked_monotonic)
        if isinstance(answer, RelayError):
            before = self._entries.get(account)
            if before is None or before.error is not None:
                return _Entry(asked_monotonic, error=answer)
            return replace(before, asked_monotonic=asked_monotonic)  # what it said last is kept
        credential, route = answer.credential, answer.route
        identity = ("", route.fingerprint) if route else None
        if credential:
            identity = (credential.app_key, credential.fingerprint)
        return _Entry(asked_monotonic, credential, identity, route)

    def _forget_the_unknown(self, now: float) -> None:
        """Any login can make up accounts: those that had nothing are kept for as long as that is fresh."""
        oldest = now - self._fresh_seconds
        kept = [
            (name, entry) for name, entry in self._entries.items() if entry.identity or entry.asked_monotonic > oldest
        ]
        self._entries = dict(kept)
        self._useless = {name: error for name, error in self._useless.items() if name in self._entries}
        self._forgotten &= self._entries.keys()
        self._crowd = max(_CROWD, 2 * len(kept))


def _unforeseen(source: Source, error: Exception) -> RelayError:
    return RelayError(
        f"Credentials cannot be looked up in {source.name}: unexpected {type(error).__name__}",
        "Mend the source; what it said before stays in force.",
    )


def _told(troubles: Sequence[RelayError], count: int) -> str:
    """The first ones; the lines of each are problems of their own."""
    more = f" (and {count - _NAMED} more)" if count > _NAMED else ""
    return "; ".join(str(error).replace("\n", "; ") for error in troubles[:_NAMED]) + more
