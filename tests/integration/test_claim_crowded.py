"""Workers at the same messages: what others have had locked lately is passed over, for a while, and never lost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, Engine, text

from relay.store import Claim, ClaimLimits, Store, Turn
from relay.store.floors import Floors
from tests.fixtures.floors import Clock, round_of
from tests.fixtures.rows import Rows
from tests.fixtures.telling import tell_statements

ONE = ClaimLimits(slots=1)
CROWDED = Turn(crowded=2)


@pytest.fixture
def rows(engine: Engine) -> Rows:
    return Rows(engine)


@pytest.fixture
def store(engine: Engine) -> Store:
    return Store(engine, worker="w", lease_seconds=60)


@pytest.fixture
def older(engine: Engine) -> Iterator[Connection]:
    """A transaction that writes, older than all that the test does."""
    with engine.begin() as connection:
        connection.execute(text("select pg_current_xact_id()"))
        yield connection


def lock_for_a_moment(rows: Rows, ids: list[int]) -> None:
    """As a claim does that is over: nothing says any more that these were locked, but for their xmax."""
    rows.read("select from relay.outbox where id = any(cast(:ids as bigint[])) for update", ids=ids)


def flat(claim: Claim) -> list[int]:
    return [message.id for batch in claim.batches for message in batch.messages]


@pytest.mark.parametrize("key_each", [None, "k"])
@pytest.mark.usefixtures("older")
def test_what_was_locked_lately_is_passed_over_while_it_is_crowded(
    rows: Rows, store: Store, key_each: str | None
) -> None:
    added = rows.add(150, key_each=key_each)
    lock_for_a_moment(rows, added[:50])
    first = store.claim(Turn(crowded=2), ONE)
    second = store.claim(first.turn, ONE)
    third = store.claim(second.turn, ONE)
    assert [first.turn.crowded, second.turn.crowded] == [1, 0]
    assert flat(first) + flat(second) == added[50:]
    assert flat(third) == added[:50]


@pytest.mark.usefixtures("older")
def test_a_crowded_claim_that_finds_nothing_is_no_end(rows: Rows, store: Store) -> None:
    added = rows.add(10)
    lock_for_a_moment(rows, added)
    nothing = store.claim(Turn(crowded=2, fruitless=100), ONE)
    assert (flat(nothing), nothing.exhausted, nothing.everywhere) == ([], False, False)
    assert flat(store.claim(nothing.turn, ONE)) == added


def test_without_older_transactions_nothing_is_passed_over(rows: Rows, store: Store) -> None:
    """What this worker itself locked and left out, because a call would have been too large, comes with the next."""
    added = rows.add(20)
    lock_for_a_moment(rows, added)
    assert flat(store.claim(Turn(crowded=2), ONE)) == added


def name_meanwhile(engine: Engine, rows: Rows, ids: list[int]) -> None:
    """Another worker names these after the first statement of a claim and before the second one."""
    named = """insert into relay.call (account, worker, message_ids, lease_until)
        select 'default', 'other', :ids, now() + interval '1 minute' where not exists (select from relay.call)"""

    def meanwhile(_: psycopg.Connection[Any], statement: str) -> None:
        if "insert into" in statement and "'other'" not in statement:
            rows.run(named, ids=ids)

    tell_statements(engine, meanwhile)


def test_what_another_names_meanwhile_makes_it_crowded(rows: Rows, engine: Engine, store: Store) -> None:
    added = rows.add(50)
    name_meanwhile(engine, rows, added[:10])
    claim = store.claim(Turn(), ONE)
    assert flat(claim) == added[10:]
    assert claim.turn.crowded > 1


def test_all_in_vain_is_no_end_either(rows: Rows, engine: Engine, store: Store) -> None:
    added = rows.add(60)
    name_meanwhile(engine, rows, added[:50])
    claim = store.claim(Turn(), ONE)
    assert (flat(claim), claim.exhausted) == ([], False)
    assert flat(store.claim(claim.turn, ONE)) == added[50:]


@pytest.mark.usefixtures("older")
def test_no_floor_rises_over_what_was_passed_over(rows: Rows, engine: Engine) -> None:
    """A claim that is told where to look later, because rounds are slow, still begins before what was passed over."""
    clock = Clock()
    floors = Floors(clock)
    added = rows.add(100, due_in_seconds=-60)
    lock_for_a_moment(rows, added[:50])
    store = Store(engine, worker="w", lease_seconds=60, floors=floors)
    floors.note(round_of(5.0))
    assert floors.remembering
    assert flat(store.claim(CROWDED, ONE)) == added[50:]
    for _ in range(3):
        floors.note(round_of(5.0))
    assert floors.resting
    assert flat(store.claim(CROWDED, ONE)) == added[:50]
