"""Who has logged in, and who tried too often. Kept in this process alone: a restart logs everybody out.

A session is a random token in a cookie, of which only the hash is kept here. Tries are counted by address and name, and
all together, so that neither one password nor many people can be guessed at.
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
TRIES_OF_ONE, TRIES_OF_ALL = 5, 100


class Sessions:
    """By token. The oldest go where there are too many."""

    def __init__(self, clock: _Clock = time.monotonic) -> None:
        self._clock = clock
        self._known: OrderedDict[bytes, tuple[str, float]] = OrderedDict()
        self._lock = threading.Lock()

    def begin(self, name: str) -> str:
        """A new token for this person."""
        token = secrets.token_urlsafe(32)
        with self._lock:
            self._known[_hash(token)] = (name, self._clock() + SESSION_SECONDS)
            while len(self._known) > MOST_SESSIONS:
                self._known.popitem(last=False)
        return token

    def name(self, token: str) -> str | None:
        """Whose token this is; None: nobody's, or not any more."""
        with self._lock:
            name, until = self._known.get(_hash(token), (None, 0.0))
            if name is not None and until <= self._clock():
                del self._known[_hash(token)]
                return None
            return name

    def end(self, token: str) -> None:
        """Nobody has this token any more."""
        with self._lock:
            self._known.pop(_hash(token), None)


class Tries:
    """Wrong passwords of the last TRY_SECONDS."""

    def __init__(self, clock: _Clock = time.monotonic) -> None:
        self._clock = clock
        self._failed: OrderedDict[Hashable, deque[float]] = OrderedDict()
        self._all: deque[float] = deque(maxlen=TRIES_OF_ALL)  # right ones, too
        self._lock = threading.Lock()

    def take(self, who: Hashable) -> float:
        """0: one try is taken, and counts as wrong until ``forget``. Else how many seconds until there is one.

        Taken before the password is looked at: many tries at once are no more than one after another.
        """
        with self._lock:
            now, of_one = self._clock(), self._failed.get(who, deque())
            waits = [
                tries[0] + TRY_SECONDS - now
                for tries, most in ((of_one, TRIES_OF_ONE), (self._all, TRIES_OF_ALL))
                if len(tries) >= most
            ]
            if waits and max(waits) > 0:
                return max(waits)
            self._failed.setdefault(who, deque(maxlen=TRIES_OF_ONE)).append(now)
            self._failed.move_to_end(who)
            self._all.append(now)
            while len(self._failed) > MOST_SESSIONS:
                self._failed.popitem(last=False)
            return 0.0

    def forget(self, who: Hashable) -> None:
        """The right password was given."""
        with self._lock:
            self._failed.pop(who, None)


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
