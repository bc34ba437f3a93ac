"""Whose turn is next: after which account, and after which of its keys, the next claim begins. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from relay.store.claim.floors import Visit
from relay.store.claim.moods import FEW_ACCOUNTS, Everywhere, Rows, Turn, Unlocked
from relay.store.claim.rows import AccountSeen, Locked
from relay.store.values import ClaimLimits

_MANY_ACCOUNTS = 256
# Workers at the same messages at the same moments lock many of them in vain: another has named them since the snapshot.
# So after a round with such a claim they take for a while what nobody has locked before, and then a whole round looks
# at everything again. Not where a claim locks more than it takes, or where so little is ready that batches are not
# full: messages that were left or given back before would wait without need. And not where another session locks
# the rows, as a foreign key does that refers to them: a claim would walk over all of them and find none.
_CROWDED_SECONDS = 1.0
FRUITLESS = 8  # claims in a row that found nothing: thousands of accounts or keys may be waiting, so take a rest


class ClaimCounts(NamedTuple):
    """Messages in a claim: ``ready`` to be sent, ``fresh``: locked for the first time, ``proposed`` for calls with this
    ``room`` in all, and ``named`` in them.
    """

    ready: int
    fresh: int
    proposed: int
    room: int
    named: int
    expired: int

    @property
    def in_vain(self) -> bool:
        """Whether another worker had some of them."""
        return self.named < self.proposed

    @property
    def plenty(self) -> bool:
        """Whether every batch was full, nothing was left over, and an eighth at least had never been locked."""
        return self.ready == self.proposed == self.room <= 8 * self.fresh and self.ready > 0


class After(NamedTuple):
    """Where the next claim starts. ``round_over``: all accounts have had their turn. The rest is told by ``Claim``."""

    turn: Turn
    round_over: bool
    exhausted: bool
    everywhere: bool


def next_turn(
    turn: Turn,
    accounts_seen: Sequence[AccountSeen],
    found: ClaimCounts,
    *,
    more: bool,
    left_out: str | None,
    now: float,
) -> After:
    """``more``: there are accounts after those that were looked at; ``left_out``: the first account without a slot;
    ``now``: monotonic seconds.
    """
    ended = not more
    seen = [one.account for one in accounts_seen]
    if left_out is not None:
        seen = seen[: seen.index(left_out)]
        ended = False
    from_the_start = turn.after_account == "" and ended
    # Accounts that a whole round did not meet have nothing pending; their keys are forgotten.
    keys = {} if from_the_start else {account: key for account, key in turn.keys.items() if account not in seen}
    keys |= {one.account: one.cursor for one in accounts_seen if one.cursor is not None and one.account in seen}
    after = "" if ended else (seen[-1] if seen else turn.after_account)
    fruitless = 0 if found.named or found.expired else turn.fruitless + 1
    every_row = isinstance(turn.rows, Everywhere)
    everywhere = from_the_start and not turn.keys and not keys and every_row
    exhausted = fruitless > 0 and not found.in_vain and every_row and (everywhere or fruitless >= FRUITLESS)
    # Looking far costs little when nothing is found, and much when each account looked at has messages to lock.
    accounts = FEW_ACCOUNTS if found.named else min(turn.accounts * 4, _MANY_ACCOUNTS)
    rows = _next_rows(turn.rows, found, ended, now)
    return After(Turn(after, keys, accounts, fruitless, rows), ended, exhausted, everywhere)


def plentiful(locked: Locked, limits: ClaimLimits) -> frozenset[str]:
    """Accounts with at least half a share ready without an ordering key, as much with one, and more keys to look at."""
    if len(locked.ready) < limits.slots * limits.batch_size:
        return frozenset()
    ready = Counter((message.account, message.ordering_key is None) for _, message in locked.ready)
    half = limits.batch_size * max(1, limits.slots // len({account for account, _ in ready})) / 2
    return frozenset(
        seen.account
        for seen in locked.accounts_seen
        if seen.cursor is not None and min(ready[seen.account, True], ready[seen.account, False]) >= half
    )


def _next_rows(rows: Rows, found: ClaimCounts, ended: bool, now: float) -> Rows:
    """Which rows the next claim looks at; ``ended``: this one was the last of its round."""
    if not found.plenty:
        return Everywhere()
    match rows:
        case Unlocked(until):
            return Everywhere() if ended and now >= until else rows
        case Everywhere(in_vain):
            in_vain = in_vain or found.in_vain
            return Unlocked(now + _CROWDED_SECONDS) if ended and in_vain else Everywhere(in_vain and not ended)


def visits(
    accounts_seen: Sequence[AccountSeen],
    due: Sequence[tuple[str, int, int]],
    *,
    taken: Collection[int],
    first: Collection[int],
    known: Mapping[tuple[str, str], int],
    passed_over: bool,
) -> Iterator[Visit]:
    """Where the next look at each account may begin: behind all that was taken of it, and before what was left.

    ``due``: (account, available_at in microseconds, id) of what was locked; ``taken``: ids that are not ready any more.
    A head is where the next look at its key begins if nothing earlier is there or can come: it is in an open call, or
    was named for one just now (``first``: ids), which a younger snapshot than that of the look has confirmed. Else that
    look begins where this one began (``known``). Where something may have been ``passed_over`` nothing is known of what
    was left.
    """
    for seen in accounts_seen:
        places = sorted((due_us, id_) for account, due_us, id_ in due if account == seen.account)
        left = next((place for place in places if place[1] not in taken), None)
        passed = [place for place in places if left is None or place < left]
        opened = seen.looked_us is not None
        floor = passed[-1] if passed and not passed_over else None
        if seen.looked_us is not None and not places and not passed_over:
            floor = (seen.looked_us, 0)
        heads = {
            key: id_ if in_flight or id_ in first else known.get((seen.account, key), 0)
            for key, (id_, in_flight) in seen.heads.items()
        }
        yield Visit(seen.account, opened, floor, heads)
