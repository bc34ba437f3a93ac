"""When a claim passes over what was ever locked, and when it looks at everything again."""

from __future__ import annotations

import pytest

from relay.store.claim.moods import Everywhere, Turn, Unlocked
from relay.store.claim.rows import AccountSeen
from relay.store.claim.turns import ClaimCounts, next_turn

PLENTY = ClaimCounts(ready=100, fresh=100, proposed=100, room=100, named=100, expired=0)
IN_VAIN = PLENTY._replace(named=70)
REPORTS = [AccountSeen(1, "a", None, None, {})]


def after(turn: Turn, found: ClaimCounts, *, ends_the_round: bool = True, now: float = 100.0) -> Turn:
    return next_turn(turn, REPORTS, found, more=not ends_the_round, left_out=None, now=now).turn


def test_a_claim_in_vain_counts_from_the_next_round_on() -> None:
    turn = after(Turn(), IN_VAIN, ends_the_round=False)
    assert turn.rows == Everywhere(in_vain=True)
    turn = after(turn, PLENTY, ends_the_round=False)
    assert isinstance(turn.rows, Everywhere)
    turn = after(turn, PLENTY)
    assert isinstance(turn.rows, Unlocked)
    assert 100 < turn.rows.until < 103


def test_it_ends_with_a_round_and_a_whole_round_follows() -> None:
    """Else it could be the same accounts each time that are looked at again, and never the others."""
    turn = Turn(rows=Unlocked(100.5))
    seen = []
    for number in range(1, 10):  # rounds of three claims
        turn = after(turn, IN_VAIN, ends_the_round=number % 3 == 0, now=100 + number / 4)
        seen.append(isinstance(turn.rows, Unlocked))
    assert seen == [True, True, False, False, False] + [True] * 4


def test_before_its_time_is_over_it_does_not_end() -> None:
    assert after(Turn(rows=Unlocked(100.5)), PLENTY).rows == Unlocked(100.5)


def test_without_another_claim_in_vain_it_stays_over() -> None:
    turn = after(Turn(rows=Unlocked(99.0)), PLENTY)
    assert turn.rows == Everywhere()
    assert after(turn, PLENTY).rows == Everywhere()


@pytest.mark.parametrize(
    "found",
    [
        IN_VAIN._replace(proposed=90, room=90),
        IN_VAIN._replace(room=150),
        IN_VAIN._replace(fresh=12),
        ClaimCounts(0, 0, 0, 0, 0, 0),
    ],
    ids=["some left over", "no full batches", "others lock them", "nothing"],
)
@pytest.mark.parametrize(
    "turn", [Turn(), Turn(rows=Everywhere(in_vain=True)), Turn(rows=Unlocked(999.0))], ids=["", "in vain", "crowded"]
)
def test_where_there_is_no_plenty_nothing_is_passed_over(turn: Turn, found: ClaimCounts) -> None:
    assert after(turn, found).rows == Everywhere()
