"""Where a claim need not look again: what keeps it cheap while an old snapshot keeps finished rows in the indexes.

As long as some transaction holds an old snapshot (a forgotten session, a backup, a standby), vacuum removes nothing,
and stepping through accounts and keys walks over every message that went done since. A few such rounds are paid for and
measured. Then claims are told where to look, until ten times as long has passed::

    every account, every key ──(three slow rounds in a row)──> known accounts and keys, from their floors
             ^                                                               │
             └──────────────────── the rest is over ─────────────────────────┘

What stays true: floors only leave messages out for a while, and never make one ready. Meanwhile new accounts and keys
are found by their new ids, and a retry by a person is followed by a full round; what was committed more than a second
late, or given back unsent, waits for the next one. A round that is not slow keeps nothing here.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from heapq import nsmallest

from relay.store.claim.moods import Known, Place, Turn

# What a claim without dead entries takes, generously; whatever is above was spent on walking over them.
_ORDINARY_SECONDS = 0.005
_ORDINARY_SECONDS_A_MESSAGE = 0.00004
_REST = 10  # times as long as the slow round took
_FEW_ACCOUNTS = 256  # that ran empty: kept, so that their next message needs no walk over the others
_MANY_KEYS = 50_000


@dataclass(frozen=True, slots=True)
class Visit:
    """An account in its turn: where its next look may begin, and what heads it had.

    Not ``opened``: it is paused, or its turn was passed over, so nobody looked.
    """

    account: str
    opened: bool
    floor: tuple[int, int] | None
    heads: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Trace:
    """How a claim went. ``told``: None where it looked everywhere; ``turn``: where the next one of its kind starts."""

    told: Known | None
    visits: Sequence[Visit]
    messages: int
    seconds: float
    round_over: bool
    turn: Turn


class Floors:
    """The memory of one worker, for claims one after another. Times in seconds of ``clock``."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, *, ordinary_seconds: float = _ORDINARY_SECONDS
    ) -> None:
        self._clock = clock
        self._ordinary_seconds = ordinary_seconds
        self._history: str | None = None
        self._forget()

    def _forget(self) -> None:
        self._places: dict[str, Place] = {}
        self._visited: set[str] = set()
        self._spent = self._ordinary = 0.0  # in this round so far
        self._wasted_before: deque[float] = deque([0.0, 0.0], maxlen=2)
        self._rest_until = self._clock()
        self.turn = Turn()  # of the claims that are told where to look
        self.newest_id: int | None = None  # what was inserted after it has not been looked at
        self.newest_action_id: int | None = None  # what the ledger said up to there is known
        self._retries: frozenset[int] = frozenset()
        self.open_from = 0  # every call before this one is settled
        self.open_from_is_old = False

    @property
    def resting(self) -> bool:
        """Whether the next claim is told where to look."""
        return self._clock() < self._rest_until

    @property
    def remembering(self) -> bool:
        """Whether claims report where they stopped."""
        return self._wasted > 0 or any(self._wasted_before)

    @property
    def _wasted(self) -> float:
        return max(0.0, self._spent - self._ordinary)

    def live_in(self, history: str) -> None:
        """Forget everything that was learnt in another history of the database."""
        if self._history not in (None, history):
            self._forget()
        self._history = history

    def meet(self, account: str, ordering_key: str | None) -> None:
        """A new message. Of a key that is not known, earlier messages may be pending too."""
        place = self._places.setdefault(account, Place())
        if ordering_key is not None and len(place.heads) < _MANY_KEYS:
            place.heads.setdefault(ordering_key, 0)

    def meet_retries(self, newest_action_id: int, retries: frozenset[int]) -> None:
        """The newest row of the ledger, and which of the last are retries: those put messages before the floors."""
        new = retries - self._retries
        if new and self.newest_action_id is not None:
            for place in self._places.values():
                place.floor = None
                place.heads = dict.fromkeys(place.heads, 0)
            self._rest_until = self._clock()
        self.newest_action_id, self._retries = newest_action_id, retries

    def tell(self, accounts: int, messages: int, acquainted: Collection[str] | None = None) -> Known:
        """Where to look: the next ``accounts`` accounts (of ``acquainted``; None: of all), and of their keys twice as
        many as the claim may take messages.
        """
        after = self.turn.after_account
        known = self._places if acquainted is None else (each for each in self._places if each in acquainted)
        chosen = nsmallest(accounts, (account for account in known if account > after))
        most = 2 * max(1, messages // max(1, len(chosen)))
        heads: list[tuple[str, str, int]] = []
        cursors: dict[str, str] = {}
        for account in chosen:
            first = self._places[account].heads
            after_key = self.turn.keys.get(account, "")
            keys = nsmallest(most + 1, (key for key in first if key > after_key))
            heads += [(account, key, first[key]) for key in keys[:most]]
            if len(keys) > most:
                cursors[account] = keys[most - 1]
        return Known({account: self._places[account] for account in chosen}, heads, cursors)

    def note(self, trace: Trace) -> None:
        """Learn from a claim that was committed."""
        if trace.told is not None:
            self.turn = trace.turn
            opened = {visit.account for visit in trace.visits if visit.opened}
            for account, key, _ in trace.told.heads:
                if account in opened:
                    self._places[account].heads.pop(key, None)
            self._remember(trace.visits)
            return
        self._ordinary += self._ordinary_seconds + _ORDINARY_SECONDS_A_MESSAGE * trace.messages
        self._spent += trace.seconds
        if self.remembering:
            self._remember(trace.visits)
            self._visited.update(visit.account for visit in trace.visits)
        if trace.round_over:
            self._end_round()

    def _remember(self, visits: Sequence[Visit]) -> None:
        for visit in visits:
            place = self._places.setdefault(visit.account, Place())
            place.floor = visit.floor or place.floor
            place.heads.update(visit.heads)

    def _end_round(self) -> None:
        # The least of three rounds: a machine that hesitates is not an index full of dead entries.
        wasted = min(self._wasted, *self._wasted_before)
        self._wasted_before.append(self._wasted)
        self._spent = self._ordinary = 0.0
        empty = self._places.keys() - self._visited
        if len(empty) > _FEW_ACCOUNTS:
            for account in empty:
                del self._places[account]
        self._visited.clear()
        if not self.remembering:
            self._forget()
        if wasted > 0:
            self._rest_until = self._clock() + _REST * wasted
            self.turn = Turn()
            self.open_from_is_old = True
