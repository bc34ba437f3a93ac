"""Which accounts a claim is told to look at where most are left alone, and when that begins and ends."""

from __future__ import annotations

from collections import namedtuple
from typing import Any, cast

import pytest
from sqlalchemy import Connection

from relay.store.claim import statements as sql
from relay.store.claim.roster import Roster
from relay.store.values import ClaimLimits
from tests.fixtures.floors import Clock

Ahead = namedtuple("Ahead", "account left_alone")
New = namedtuple("New", "account newest_id left_alone")


class Database:
    """All accounts with something pending, in order, and new messages; counts how often it is walked over them."""

    def __init__(self) -> None:
        self.accounts: dict[str, bool] = {}  # → left alone
        self.new: list[New] = []
        self.walks = 0

    def fetch(self, _: Any, statement: str, given: dict[str, Any]) -> list[Any]:
        if statement == sql.ACCOUNTS_OF_NEW:
            return self.new
        assert statement == sql.ACCOUNTS_AHEAD
        self.walks += 1
        names = [name for name in sorted(self.accounts) if name > given["after_account"]]
        return [Ahead(name, self.accounts[name]) for name in names[: given["accounts"] + 1]]


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> Database:
    made = Database()
    monkeypatch.setattr("relay.store.claim.roster.fetch", made.fetch)
    return made


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def roster(clock: Clock) -> Roster:
    return Roster(clock)


def look(roster: Roster, **limits: Any) -> set[str]:
    return roster.look_around(cast(Connection, None), ClaimLimits(slots=8, **limits))


def test_a_few_accounts_that_are_left_alone_change_nothing(roster: Roster) -> None:
    for _ in range(100):
        roster.went_round(60, round_over=True)
    assert not roster.crowded


def test_many_in_one_round_do_and_none_of_them_is_told(roster: Roster, database: Database) -> None:
    roster.came_by("shop")
    roster.went_round(8, round_over=False)
    roster.went_round(60, round_over=False)
    assert roster.crowded
    database.accounts = {f"ghost-{n:05}": True for n in range(1000)}
    assert look(roster) == set()
    assert roster.tell(10) == ["shop"]


def test_a_walk_finds_whoever_is_ready_and_whoever_has_to_be_met(roster: Roster, database: Database) -> None:
    roster.went_round(100, round_over=False)
    database.accounts = {f"ghost-{n:05}": True for n in range(1000)} | {"stranger": False, "zoo": False}
    unmet = set[str]()
    for _ in range(4):
        assert roster.in_a_hurry
        unmet |= look(roster, acquainted={"zoo"})
    assert (unmet, roster.tell(10), roster.in_a_hurry) == ({"stranger"}, ["zoo"], False)


def test_a_new_message_needs_no_walk(roster: Roster, database: Database) -> None:
    roster.went_round(100, round_over=False)
    database.accounts = {f"ghost-{n:05}": True for n in range(1000)} | {"zoo": False}
    database.new = [New("zoo", 7, False), New("new", 8, False), New("ghost-00001", 9, True)]
    assert look(roster, acquainted={"zoo"}) == {"new"}
    assert roster.tell(10) == ["zoo"]


def test_it_is_told_in_turn(roster: Roster) -> None:
    from dataclasses import replace

    for name in ("c", "a", "b"):
        roster.came_by(name)
    assert roster.tell(2) == ["a", "b"]
    roster.turn = replace(roster.turn, after_account="b")
    assert roster.tell(2) == ["c"]


def test_whoever_may_be_claimed_now_is_told_at_once(roster: Roster) -> None:
    roster.went_round(100, round_over=False)
    roster.expect(["renewed"])
    assert roster.tell(2) == ["renewed"]


def test_it_ends_after_a_walk_that_met_few(roster: Roster, database: Database) -> None:
    roster.went_round(100, round_over=False)
    database.accounts = {f"ghost-{n:05}": True for n in range(300)}
    look(roster), look(roster)
    assert roster.crowded
    database.accounts = {"a": False, "b": True}
    look(roster)
    assert not roster.crowded


def test_after_the_first_walk_the_next_ones_take_a_fifth_of_the_time(
    roster: Roster, database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch = database.fetch

    def slowly(*given: Any) -> list[Any]:
        clock.seconds += 0.1
        return fetch(*given)

    monkeypatch.setattr("relay.store.claim.roster.fetch", slowly)
    roster.went_round(100, round_over=False)
    database.accounts = {f"ghost-{n:05}": True for n in range(1000)}
    for _ in range(100):
        look(roster)
    assert 4 + 96 * 0.15 <= database.walks <= 4 + 96 * 0.3


def test_only_the_newest_of_those_that_have_nothing_are_kept(roster: Roster, database: Database, clock: Clock) -> None:
    for number in range(2000):
        roster.came_by(f"early-{number:05}")
    assert len(roster.tell(5000)) == 256
    roster.went_round(100, round_over=False)
    for number in range(2000):
        roster.came_by(f"shop-{number:05}")
    database.accounts = {f"ghost-{n:05}": True for n in range(200)} | {"zoo": False}
    for _ in range(3):
        clock.seconds += 10
        look(roster)
    kept = roster.tell(5000)
    assert len(kept) == 256
    assert kept[-1] == "zoo"
    assert kept[0] == "shop-01745"
