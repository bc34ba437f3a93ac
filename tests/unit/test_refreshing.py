"""How often a page that is open reads, and who is given what one reading left: by a clock of the test's own."""

from __future__ import annotations

import pytest

from relay.dashboard.recent import Recent
from relay.dashboard.refreshing import FIRST_SECONDS, GROWTH, MOST_LEFT, SHARE, Answers, Left, page_name
from relay.errors import RelayError, UnreachableError


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def reading(clock: Clock, left: Left, seconds: float, least: float = 5.0, rendering: float = 0.0) -> float:
    """A page that took so long was read and shown; gives when it is to ask again."""

    def read() -> str:
        clock.now += seconds
        return "told"

    answers = Answers(clock)
    answers.get("question", read)
    left.leave("page", answers, least)
    return answers.interval(least, rendering)


def test_the_interval_is_that_of_the_page_or_as_many_times_what_it_cost(clock: Clock) -> None:
    left = Left(clock)
    assert reading(clock, left, 0.010) == 5.0
    assert reading(clock, left, 0.040) == pytest.approx(8.0)
    assert reading(clock, left, 0.020, rendering=0.040) == pytest.approx(12.0)
    assert reading(clock, left, 0.010, least=15.0) == pytest.approx(15.0, abs=0.01)


def test_a_slow_reading_makes_no_page_blind_and_one_that_stays_slow_is_asked_seldom(clock: Clock) -> None:
    left = Left(clock)
    told = [reading(clock, left, 3.0) for _ in range(5)]
    most = [min(FIRST_SECONDS * GROWTH**n, 3.0) * SHARE for n in range(5)]
    assert most[1] < most[2] == most[4]
    assert told == pytest.approx(most)
    assert reading(clock, left, 0.010) == 5.0
    assert reading(clock, left, 3.0) == pytest.approx(FIRST_SECONDS * SHARE)


@pytest.mark.parametrize("seconds", [0.001, 0.02, 0.2, 1.0])
def test_a_page_left_open_costs_less_than_a_hundredth_of_a_core(clock: Clock, seconds: float) -> None:
    left, begun, spent = Left(clock), clock.now, 0.0
    while clock.now < begun + 24 * 3600:
        clock.now += reading(clock, left, seconds)
        spent += seconds
    assert spent / (clock.now - begun) < 0.01


@pytest.mark.parametrize("seconds", [0.001, 0.02, 0.1, 0.25])
def test_it_costs_no_more_in_its_first_minute(clock: Clock, seconds: float) -> None:
    """The first reading, which the person asked for, among it."""
    left, begun, spent = Left(clock), clock.now, 0.0
    while clock.now < begun + 60:
        spent += seconds
        clock.now += reading(clock, left, seconds)
    assert spent / 60 < 0.01


def test_what_was_left_is_for_refreshes_until_it_is_old(clock: Clock) -> None:
    left = Left(clock)
    assert left.find("page", clock.now) is None
    reading(clock, left, 0.001)
    clock.now += 3.0
    found = left.find("page", clock.now)
    assert found is not None
    assert found.interval(5.0, 0.0) == 5.0
    assert left.find("another page", clock.now) is None
    clock.now += 2.0
    assert left.find("page", clock.now) is None


def test_whoever_comes_late_to_what_is_dear_asks_when_it_is_old(clock: Clock) -> None:
    left = Left(clock)
    until = clock.now + reading(clock, left, 0.045)
    clock.now += 2.5
    found = left.find("page", clock.now)
    assert found is not None
    assert clock.now + found.interval(1.0, 0.0) >= until


def test_an_error_is_for_those_who_waited(clock: Clock) -> None:
    left, error = Left(clock), RelayError("slow", "ask for less")
    arrived, clock.now = clock.now, clock.now + 5.0
    left.failed("page", error)
    with pytest.raises(RelayError, match="slow"):
        left.find("page", arrived)
    clock.now += 0.1
    left.failed("page", error)  # of whoever was told it just now
    assert left.find("page", clock.now - 0.05) is None
    assert left.find("another page", arrived) is None
    left.failed("page", UnreachableError("away", "start it"))
    with pytest.raises(UnreachableError):
        left.find("another page", clock.now - 0.05)


def test_what_is_left_is_bounded(clock: Clock) -> None:
    left = Left(clock)
    for number in range(2 * MOST_LEFT):
        left.leave(number, Answers(clock), 5.0)
        left.failed(number, RelayError("slow", "ask for less"))
    assert sum(left.find(number, clock.now) is not None for number in range(2 * MOST_LEFT)) == MOST_LEFT
    assert len(left._failures) == MOST_LEFT


def test_what_was_read_before_somebody_acted_is_given_to_nobody(clock: Clock) -> None:
    left, before, reading = Left(clock), Answers(clock), Answers(clock)
    left.leave("page", before, 5.0)
    assert left.find("page", clock.now) is before
    clock.now += 0.1
    left.forget()
    assert left.find("page", clock.now) is None
    left.leave("page", reading, 5.0)
    assert left.find("page", clock.now) is None, "it was read while that person acted"
    clock.now += 0.1
    left.leave("page", after := Answers(clock), 5.0)
    assert left.find("page", clock.now) is after


def test_what_is_dear_is_read_seldom_for_a_page_that_refreshes(clock: Clock) -> None:
    recent, reads = Recent(clock), []

    def read() -> int:
        clock.now += 0.5
        reads.append(1)
        return len(reads)

    assert recent.get("dear", 20.0, read, share=SHARE) == 1
    clock.now += 99.0
    assert recent.get("dear", 20.0, read, share=SHARE) == 1
    assert recent.get("dear", 20.0, read) == 2, "a person's own request reads anew after those seconds"
    clock.now += 100.0
    assert recent.get("dear", 20.0, read, share=SHARE) == 3


def test_the_same_question_in_any_order_is_one_page() -> None:
    assert page_name("/x", [("a", "1"), ("b", ""), ("c", "2")]) == page_name("/x", [("c", "2"), ("a", "1")])
    assert page_name("/x", [("id", "1"), ("id", "2")]) != page_name("/x", [("id", "2")])
