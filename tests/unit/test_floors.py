"""When claims are told where to look, and where."""

from __future__ import annotations

import pytest

from relay.store.claim.floors import Floors, Trace, Visit
from relay.store.claim.moods import Known, Turn
from tests.fixtures.floors import Clock, resting_floors, round_of


@pytest.fixture
def clock() -> Clock:
    return Clock()


def full(visits: list[Visit], *, seconds: float = 1.0) -> Trace:
    return Trace(None, visits, 0, seconds, True, Turn())


def told(floors: Floors, visits: list[Visit], *, turn: Turn | None = None) -> None:
    floors.note(Trace(floors.tell(8, 400), visits, 0, 0.001, True, turn or Turn()))


def visit(account: str, floor: tuple[int, int] | None = None, **heads: int) -> Visit:
    return Visit(account, True, floor, heads)


def looked_at(floors: Floors, accounts: int = 8, messages: int = 400) -> Known:
    return floors.tell(accounts, messages)


def test_quick_rounds_are_followed_by_more(clock: Clock) -> None:
    floors = Floors(clock)
    for _ in range(5):
        floors.note(round_of(0.004))
    assert not floors.resting
    assert not floors.remembering


def test_a_message_found_may_take_its_time(clock: Clock) -> None:
    floors = Floors(clock)
    for _ in range(5):
        floors.note(Trace(None, (), 1600, 0.06, True, Turn()))
    assert not floors.remembering


def test_a_claim_that_waited_is_made_up_for_by_the_others_of_its_round(clock: Clock) -> None:
    """On a machine with too much to do some claim is always slow."""
    floors = Floors(clock)
    for _ in range(5):
        for seconds in (0.02, 0.001, 0.002):
            floors.note(Trace(None, (), 50, seconds, False, Turn()))
        floors.note(Trace(None, (), 50, 0.002, True, Turn()))
    assert not floors.remembering
    floors.note(Trace(None, (), 50, 0.008, False, Turn()))
    assert floors.remembering


def test_two_slow_rounds_are_an_accident(clock: Clock) -> None:
    floors = Floors(clock)
    for _ in range(3):
        floors.note(round_of(5.0))
        floors.note(round_of(5.0))
        assert floors.remembering
        floors.note(round_of(0.001))
        assert not floors.resting


def test_three_slow_rounds_are_followed_by_a_rest_of_ten_times_the_shortest(clock: Clock) -> None:
    floors = Floors(clock)
    floors.note(round_of(5.005))
    floors.note(round_of(0.105))
    floors.note(round_of(1.005))
    clock.seconds = 0.99
    assert floors.resting
    clock.seconds = 1.01
    assert not floors.resting


def test_a_round_of_many_claims_counts_as_one(clock: Clock) -> None:
    floors = Floors(clock)
    for _ in range(3):
        for _ in range(9):
            floors.note(Trace(None, (), 0, 0.105, False, Turn()))
            assert not floors.resting
        floors.note(round_of(0.105))
    clock.seconds = 9.99
    assert floors.resting


def test_slow_again_right_after_the_rest_is_enough_for_the_next(clock: Clock) -> None:
    floors = resting_floors(clock)
    clock.seconds = 100
    assert not floors.resting
    floors.note(round_of(1.0))
    assert floors.resting


def test_places_are_where_the_last_look_ended(clock: Clock) -> None:
    floors = Floors(clock)
    floors.note(round_of(1.0))
    floors.note(round_of(1.0))
    floors.note(full([visit("a", (7, 3), k=11), visit("b")]))
    found = looked_at(floors)
    assert {account: place.floor for account, place in found.places.items()} == {"a": (7, 3), "b": None}
    assert found.heads == [("a", "k", 11)]


def test_what_left_no_floor_keeps_the_one_before(clock: Clock) -> None:
    floors = resting_floors(clock)
    told(floors, [visit("a", (7, 3))])
    told(floors, [visit("a", None)])
    assert looked_at(floors).places["a"].floor == (7, 3)


def test_a_full_round_may_move_a_floor_back(clock: Clock) -> None:
    floors = resting_floors(clock)
    told(floors, [visit("a", (7, 3))])
    floors.note(full([visit("a", (5, 1))]))
    assert looked_at(floors).places["a"].floor == (5, 1)


def test_a_key_without_a_pending_message_is_forgotten(clock: Clock) -> None:
    floors = resting_floors(clock)
    told(floors, [visit("a", None, k=11, other=12)])
    told(floors, [visit("a", None, k=13)])
    assert looked_at(floors).heads == [("a", "k", 13)]


def test_nothing_is_forgotten_of_an_account_nobody_looked_at(clock: Clock) -> None:
    floors = resting_floors(clock)
    told(floors, [visit("a", (7, 3), k=11)])
    told(floors, [Visit("a", False, None, {})])
    assert looked_at(floors).places["a"].floor == (7, 3)
    assert looked_at(floors).heads == [("a", "k", 11)]


def test_of_a_key_that_is_new_here_the_earliest_message_is_looked_for(clock: Clock) -> None:
    floors = resting_floors(clock)
    floors.meet("a", "k")
    floors.meet("b", None)
    found = looked_at(floors)
    assert (set(found.places), found.heads) == ({"a", "b"}, [("a", "k", 0)])


def test_of_a_known_key_the_place_stays(clock: Clock) -> None:
    floors = resting_floors(clock)
    told(floors, [visit("a", None, k=11)])
    floors.meet("a", "k")
    assert looked_at(floors).heads == [("a", "k", 11)]


def test_a_retry_makes_a_full_round_due_and_every_floor_forgotten(clock: Clock) -> None:
    floors = resting_floors(clock)
    floors.meet_retries(5, frozenset({3}))
    told(floors, [visit("a", (7, 3), k=11)])
    floors.meet_retries(6, frozenset({3}))
    assert floors.resting
    assert looked_at(floors).heads == [("a", "k", 11)]
    floors.meet_retries(7, frozenset({3, 7}))
    assert not floors.resting
    assert (looked_at(floors).places["a"].floor, looked_at(floors).heads) == (None, [("a", "k", 0)])


def test_a_retry_that_is_committed_late_is_seen(clock: Clock) -> None:
    floors = resting_floors(clock)
    floors.meet_retries(9, frozenset({3}))
    floors.meet_retries(9, frozenset({3, 8}))
    assert not floors.resting


def test_accounts_take_turns(clock: Clock) -> None:
    floors = resting_floors(clock)
    for account in "dcba":
        floors.meet(account, None)
    assert list(looked_at(floors, accounts=3).places) == ["a", "b", "c"]
    told(floors, [], turn=Turn("c"))
    assert list(looked_at(floors, accounts=3).places) == ["d"]


def test_keys_take_turns(clock: Clock) -> None:
    floors = resting_floors(clock)
    for key in "edcba":
        floors.meet("one", key)
    first = looked_at(floors, messages=2)
    assert ([key for _, key, _ in first.heads], first.cursors) == (["a", "b", "c", "d"], {"one": "d"})
    told(floors, [], turn=Turn(keys=first.cursors))
    assert [key for _, key, _ in looked_at(floors, messages=2).heads] == ["e"]


def test_a_few_accounts_that_ran_empty_are_kept_and_many_are_not(clock: Clock) -> None:
    floors = resting_floors(clock)
    floors.meet("quiet", None)
    floors.note(full([visit("busy")]))
    assert set(looked_at(floors).places) == {"quiet", "busy"}
    for number in range(300):
        floors.meet(f"account {number}", None)
    floors.note(full([visit("busy")]))
    assert set(looked_at(floors).places) == {"busy"}


def test_keys_beyond_a_bound_wait_for_a_full_round(clock: Clock) -> None:
    floors = resting_floors(clock)
    for number in range(50_010):
        floors.meet("a", str(number))
    assert len(looked_at(floors, messages=100_000).heads) == 50_000


def test_after_three_quick_rounds_nothing_is_kept(clock: Clock) -> None:
    floors = resting_floors(clock)
    floors.meet("a", "k")
    floors.newest_id = 17
    for _ in range(3):
        floors.note(round_of(0.001))
    assert not floors.remembering
    assert looked_at(floors).places == {}
    assert floors.newest_id is None
