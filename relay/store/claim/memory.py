"""What one worker's claims remember of each other, as one object: where the next one looks, and what it learns.

``next_look`` and ``learn`` decide and never ask the database; what has to be read before a look is in ``search.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from relay.message import Batch
from relay.store.apart import Aside
from relay.store.claim.floors import Floors, Trace, Visit
from relay.store.claim.moods import FEW_ACCOUNTS, Everywhere, Known, Listed, Look, Turn
from relay.store.claim.roster import Roster
from relay.store.claim.turns import FRUITLESS, After
from relay.store.claim.unheard import Unheard
from relay.store.claim.writers import Writers
from relay.store.values import Claim, ClaimLimits


@dataclass(frozen=True, slots=True)
class Looked:
    """How a look went, in a transaction that may still fail.

    ``locked``: how many messages, within ``seconds``. ``left_alone``: accounts of which nothing may be claimed now;
    ``unmet``: those among them that have to be met first.
    ``plenty``: accounts of which there is plenty both with and without an ordering key.
    """

    batches: tuple[Batch, ...]
    expired: int
    after: After
    visits: Sequence[Visit]
    locked: int
    seconds: float
    left_alone: int
    unmet: frozenset[str]
    plenty: frozenset[str]


class Memory:
    """For claims one after another; only ``roster.expect`` is for any thread.

    ``turn``: of the claims that go everywhere. ``aside``: messages that are left alone for a while. ``writers``:
    strangers at the locks of ordering keys. ``unheard``: calls of which it is not known whether they were committed.
    ``mixed``: the accounts that had plenty both with and without an ordering key (``plenty``) two claims in a row.
    """

    def __init__(self, lease_seconds: float, floors: Floors | None = None) -> None:
        self.turn = Turn()
        self.floors = floors or Floors()
        self.roster = Roster()
        self.writers = Writers()
        self.aside = Aside()
        self.unheard = Unheard(lease_seconds)
        self.plenty: frozenset[str] = frozenset()
        self.mixed: frozenset[str] = frozenset()

    def next_look(self, limits: ClaimLimits) -> Look:
        """Where to look now. ``Known`` comes before ``Listed``: what is known is of few accounts anyway."""
        accounts, fruitless = self._accounts(self.turn, limits), self.turn.fruitless
        if self.floors.resting:
            known = self.floors.tell(accounts + 1, limits.slots * limits.batch_size, limits.acquainted)
            turn = replace(self.floors.turn, accounts=accounts, fruitless=fruitless, rows=Everywhere())
            return Look(known, turn, self.mixed)
        if self.roster.crowded:
            turn = replace(self.roster.turn, accounts=self._accounts(self.roster.turn, limits))
            return Look(Listed(self.roster.tell(turn.accounts + 1), turn.rows), turn, self.mixed)
        return Look(self.turn.rows, replace(self.turn, accounts=accounts), self.mixed)

    def learn(self, look: Look, outcome: Looked) -> Claim:
        """Learn from a look that was committed; what the worker is told of it."""
        after = outcome.after
        self.mixed, self.plenty = self.plenty & outcome.plenty, outcome.plenty
        exhausted, everywhere = after.exhausted and not outcome.unmet, after.everywhere
        for batch in outcome.batches:
            self.roster.came_by(batch.account)
        match look.mood:
            case Known():  # the round over all accounts goes on later from where it is
                self.turn = replace(self.turn, accounts=after.turn.accounts, fruitless=after.turn.fruitless)
                everywhere = False
            case Listed():
                exhausted = exhausted and not (self.roster.in_a_hurry and after.turn.fruitless < FRUITLESS)
                self.roster.turn, everywhere = after.turn, False
            case _:
                self.turn = after.turn
                self.roster.went_round(outcome.left_alone, round_over=after.round_over)
        known = look.mood if isinstance(look.mood, Known) else None
        trace = Trace(known, outcome.visits, outcome.locked, outcome.seconds, after.round_over, after.turn)
        self.floors.note(trace)
        return Claim(outcome.batches, outcome.expired, exhausted, everywhere, outcome.unmet)

    @staticmethod
    def _accounts(turn: Turn, limits: ClaimLimits) -> int:
        """Of each that is looked at rows are locked: no more than can be served, unless nothing was found."""
        return min(turn.accounts, limits.slots) if turn.accounts <= FEW_ACCOUNTS else turn.accounts
