"""Which accounts are worth a look where most of them are left alone: what keeps a claim cheap beside 100,000 ghosts.

An account that is paused, or of which it is not known yet whether it has credentials, is left alone, whatever of it is
pending. A claim steps over a few of them and looks at the next ones. Where they are many, it would come round to a
healthy account after seconds only. Then claims are told which accounts to look at, and go over all accounts apart from
that, some at a time and without a lock, to find those that are not on the roster yet::

    every account in turn ──(more than 64 left alone in a round)──> the accounts on the roster
             ^                                                               │
             └──────────────(fewer than 32 met in a whole walk)──────────────┘

An account comes onto the roster because something of it was claimed, because it has a new message, or because a walk
came upon it. What is left is not found later than a walk takes; where few are left alone nothing is kept here but some
names.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Iterable
from heapq import nsmallest

from sqlalchemy import Connection

from relay.store.claim import statements as sql
from relay.store.claim.moods import Turn
from relay.store.running import fetch
from relay.store.values import ClaimLimits

_MANY, _FEW = 64, 32  # accounts left alone in one round
_AHEAD = 256  # accounts that are stepped over before a claim
_REST = 4  # times as long as that took, once a whole walk is over: a fifth of a connection's time at most
_KEPT = 256  # accounts that have nothing now: kept, so that their next message is found at once
_NEW, _OVERLAP = 2000, 100  # new messages looked at before a claim; ids are committed in any order


class Roster:
    """The memory of one worker, for claims one after another. Times in seconds of ``clock``."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.crowded = False  # claims are told where to look
        self.turn = Turn()  # of those claims
        self._alone = 0  # met in this round
        self._expected: deque[str] = deque()  # filled by other threads
        self._names: dict[str, float] = {}  # on the roster → when something of it was seen last
        self._walk_from_the_start()

    def _walk_from_the_start(self) -> None:
        self._alone = 0
        self._walked_to = ""
        self._first_walk = True
        self._walk_before = self._walk_began = self._rest_until = self._clock()
        self._newest_id: int | None = None  # messages up to it have been looked at

    @property
    def in_a_hurry(self) -> bool:
        """Whether not all accounts have been walked over yet."""
        return self.crowded and self._first_walk

    def expect(self, accounts: Iterable[str]) -> None:
        """These may be claimed now, and could not be before. Any thread may call this."""
        self._expected.extend(accounts)

    def came_by(self, account: str) -> None:
        """Something of it is pending, or was claimed just now."""
        self._names.pop(account, None)
        self._names[account] = self._clock()
        if not self.crowded and len(self._names) > _KEPT:
            del self._names[next(iter(self._names))]

    def newest(self, most: int) -> list[str]:
        """The accounts something of was seen last. Any thread may call this."""
        return list(self._names)[-most:]

    def went_round(self, left_alone: int, *, round_over: bool) -> None:
        """A claim that looks at every account in turn met too many that are left alone."""
        self._alone += left_alone
        self._expected.clear()  # it comes to them by itself
        if self._alone > _MANY:
            self.crowded, self.turn = True, Turn()
            self._walk_from_the_start()
        elif round_over:
            self._alone = 0

    def tell(self, count: int) -> list[str]:
        """The next accounts to look at."""
        while self._expected:
            self.came_by(self._expected.popleft())
        return nsmallest(count, (account for account in self._names if account > self.turn.after_account))

    def look_around(self, connection: Connection, limits: ClaimLimits) -> set[str]:
        """Find accounts that are not on the roster: those with new messages, and the next ones of all.

        Gives back those of which it is not known whether they have credentials.
        """
        unmet = self._look_for_new(connection, limits.acquainted)
        if self._clock() >= self._rest_until:
            unmet |= self._walk(connection, limits)
        return unmet

    def look_ahead(self, connection: Connection, limits: ClaimLimits, after: str) -> set[str]:
        """Those of the next accounts of which it is not known whether they have credentials."""
        ahead = {"after_account": after, "accounts": _AHEAD - 1, "skip_accounts": list(limits.skip_accounts)}
        rows = fetch(connection, sql.ACCOUNTS_AHEAD, ahead)
        return {row.account for row in rows if not row.left_alone}.difference(limits.acquainted or ())

    def _look_for_new(self, connection: Connection, acquainted: Collection[str] | None) -> set[str]:
        after = None if self._newest_id is None else self._newest_id - _OVERLAP
        rows = fetch(connection, sql.ACCOUNTS_OF_NEW, {"after": after, "most": _NEW})
        newest_id = max((row.newest_id for row in rows), default=None)
        if newest_id is not None:
            self._newest_id = max(newest_id, self._newest_id or newest_id)
        return self._sort_in((row.account for row in rows if not row.left_alone), acquainted)

    def _walk(self, connection: Connection, limits: ClaimLimits) -> set[str]:
        started = self._clock()
        ahead = {
            "after_account": self._walked_to,
            "accounts": _AHEAD - 1,  # one more is looked at
            "skip_accounts": list(limits.skip_accounts),
        }
        rows = fetch(connection, sql.ACCOUNTS_AHEAD, ahead)
        unmet = self._sort_in((row.account for row in rows if not row.left_alone), limits.acquainted)
        self._alone += len(unmet) + sum(row.left_alone for row in rows)
        self._walked_to = rows[-1].account if len(rows) == _AHEAD else ""
        if not self._walked_to:
            self._end_walk()
        if not self._first_walk and not unmet:
            self._rest_until = self._clock() + _REST * (self._clock() - started)
        return unmet

    def _sort_in(self, accounts: Iterable[str], acquainted: Collection[str] | None) -> set[str]:
        unmet = set()
        for account in accounts:
            if acquainted is None or account in acquainted:
                self.came_by(account)
            else:
                unmet.add(account)
        return unmet

    def _end_walk(self) -> None:
        """What this walk and the one before did not come upon has nothing pending, but for the newest of them."""
        old = [account for account, since in self._names.items() if since < self._walk_before]
        for account in old[: max(0, len(self._names) - _KEPT)]:
            del self._names[account]
        self._walk_before, self._walk_began = self._walk_began, self._clock()
        self._first_walk = False
        if self._alone < _FEW:
            self.crowded = False
        self._alone = 0
