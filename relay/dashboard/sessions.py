"""Who has logged in, and who tried too often. Kept in this process alone: a restart logs everybody out.

A session is a random token in a cookie, of which only the hash is kept here. Tries are counted by address and name, and
by address, so that neither one password nor many people can be guessed at.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable

_Clock = Callable[[], float]

SESSION_SECONDS = 12 * 3600.0
MOST_SESSIONS = 10_000
TRY_SECONDS = 300.0
TRIES_OF_ONE, TRIES_OF_ADDRESS = 5, 30
MOST_COUNTED = 10_000  # names from addresses, and addresses


class Sessions:
    """By token. The oldest go where there are too many."""

    def __init__(self, clock: _Clock = time.monotonic) -> None:
        self._clock = clock
        self._known: OrderedDict[bytes, tuple[str, float, bytes]] = OrderedDict()
        self._lock = threading.Lock()

    def begin(self, name: str, by: bytes = b"") -> str:
        """A new token for this person. ``by``: what the password was compared with."""
        token = secrets.token_urlsafe(32)
        with self._lock:
            self._known[_hash(token)] = (name, self._clock() + SESSION_SECONDS, by)
            while len(self._known) > MOST_SESSIONS:
                self._known.popitem(last=False)
        return token

    def holder(self, token: str) -> tuple[str, bytes] | None:
        """Whose token this is, and by what the session began; None: nobody's, or not any more."""
        with self._lock:
            name, until, by = self._known.get(_hash(token), (None, 0.0, b""))
            if name is not None and until <= self._clock():
                del self._known[_hash(token)]
                return None
            return None if name is None else (name, by)

    def end(self, token: str) -> None:
        """Nobody has this token any more."""
        with self._lock:
            self._known.pop(_hash(token), None)


class Tries:
    """Tries of the last TRY_SECONDS that were not right: those of a name from an address, and all from an address.

    Not those of a name from anywhere: whoever knows a name could lock that person out.
    """

    def __init__(self, clock: _Clock = time.monotonic) -> None:
        self._clock = clock
        self._of_name = _Counted(TRIES_OF_ONE)
        self._of_address = _Counted(TRIES_OF_ADDRESS)
        self._lock = threading.Lock()

    def take(self, address: str, name: str) -> float:
        """0: one try is taken, and counts as wrong until ``forget``. Else how many seconds until there is one.

        Taken before the password is looked at: many tries at once are no more than one after another.
        """
        with self._lock:
            now = self._clock()
            wait = max(self._of_name.wait((address, name), now), self._of_address.wait(address, now))
            if wait > 0:
                return wait
            self._of_name.add((address, name), now)
            self._of_address.add(address, now)
            return 0.0

    def forget(self, address: str, name: str) -> None:
        """The right password was given: what this person tried from here counts no more."""
        with self._lock:
            for _ in range(self._of_name.remove((address, name))):
                self._of_address.take_back(address)


class _Counted:
    """Moments of tries by whose they are; where there are too many, those who tried longest ago are forgotten."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._tried: OrderedDict[Hashable, deque[float]] = OrderedDict()

    def wait(self, who: Hashable, now: float) -> float:
        tries = self._tried.get(who)
        return tries[0] + TRY_SECONDS - now if tries and len(tries) >= self._most else 0.0

    def add(self, who: Hashable, now: float) -> None:
        self._tried.setdefault(who, deque(maxlen=self._most)).append(now)
        self._tried.move_to_end(who)
        while len(self._tried) > MOST_COUNTED:
            self._tried.popitem(last=False)

    def remove(self, who: Hashable) -> int:
        return len(self._tried.pop(who, ()))

    def take_back(self, who: Hashable) -> None:
        if tries := self._tried.get(who):
            tries.pop()


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
