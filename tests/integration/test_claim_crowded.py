"""Workers at the same messages: what somebody has ever locked is passed over for a while, and never lost."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine

from relay.store import Claim, ClaimLimits, Store
from relay.store.claim.floors import Floors
from relay.store.claim.moods import Everywhere, Turn, Unlocked
from tests.fixtures.floors import Clock, round_of
from tests.fixtures.rows import Rows
from tests.fixtures.telling import tell_statements

ONE = ClaimLimits(slots=1)
CROWDED = Turn(rows=Unlocked(float("inf")))


@pytest.fixture
def rows(engine: Engine) -> Rows:
    return Rows(engine)


@pytest.fixture
def store(engine: Engine) -> Store:
    return Store(engine, worker="w", lease_seconds=60)


def lock_for_a_moment(rows: Rows, ids: list[int]) -> None:
    """As a claim does that is over: nothing says any more that these were locked, but for their xmax."""
    rows.read("select from relay.outbox where id = any(cast(:ids as bigint[])) for update", ids=ids)


def flat(claim: Claim) -> list[int]:
    return [message.id for batch in claim.batches for message in batch.messages]


def test_what_was_ever_locked_is_passed_over_while_it_is_crowded(rows: Rows, store: Store) -> None:
    added = rows.add(150)
    lock_for_a_moment(rows, added[:50])
    store.memory.turn = CROWDED
    first = store.claim(ONE)
    assert isinstance(store.memory.turn.rows, Unlocked)
    store.memory.turn = replace(store.memory.turn, rows=Unlocked(time.monotonic()))
    second = store.claim(ONE)
    assert isinstance(store.memory.turn.rows, Everywhere)
    third = store.claim(ONE)
    assert flat(first) + flat(second) == added[50:]
    assert flat(third) == added[:50]


def test_heads_of_keys_are_never_passed_over(rows: Rows, store: Store) -> None:
    added = rows.add(20, key_each="k")
    lock_for_a_moment(rows, added)
    store.memory.turn = CROWDED
    assert flat(store.claim(ONE)) == added


def test_a_crowded_claim_that_finds_nothing_is_no_end(rows: Rows, store: Store) -> None:
    added = rows.add(10)
    lock_for_a_moment(rows, added)
    store.memory.turn = replace(CROWDED, fruitless=100)
    nothing = store.claim(ONE)
    assert (flat(nothing), nothing.exhausted, nothing.everywhere) == ([], False, False)
    assert flat(store.claim(ONE)) == added


@pytest.mark.parametrize("turn", [Turn(), CROWDED], ids=["", "crowded"])
def test_what_a_call_has_no_room_for_ends_it(rows: Rows, store: Store, turn: Turn) -> None:
    """What was locked and left comes with the next claim, before all that is younger."""
    added = rows.add(100, content='{"a": "' + "x" * 100 + '"}')
    store.memory.turn = turn
    first = store.claim(replace(ONE, max_bytes=1000))
    second = store.claim(replace(ONE, max_bytes=1000))
    assert 0 < len(flat(first)) < 10
    assert flat(first) + flat(second) == added[: 2 * len(flat(first))]


def test_accounts_without_a_slot_end_it(rows: Rows, store: Store) -> None:
    added = [rows.add(50, account=f"a{n}") for n in range(10)]
    store.memory.turn = replace(CROWDED, accounts=32)
    first = store.claim(ONE)
    assert flat(first) == added[0]
    assert flat(store.claim(ONE)) == added[1]


def test_so_little_that_a_batch_is_not_full_ends_it(rows: Rows, store: Store) -> None:
    added = rows.add(60)
    lock_for_a_moment(rows, added[:20])
    store.memory.turn = CROWDED
    first = store.claim(ONE)
    assert flat(first) == added[20:]
    assert flat(store.claim(ONE)) == added[:20]


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
    claim = store.claim(ONE)
    assert flat(claim) == added[10:]
    rows_looked_at = store.memory.turn.rows
    assert isinstance(rows_looked_at, Unlocked)
    assert rows_looked_at.until > time.monotonic()


def test_where_all_rows_were_locked_by_somebody_nothing_is_passed_over(
    rows: Rows, engine: Engine, store: Store
) -> None:
    rows.run("create table public.refers (id bigint references relay.outbox)")
    rows.run(
        "with added as (insert into relay.outbox (topic, content) select 't', '{}' from generate_series(1, 100) "
        "returning id) insert into public.refers select id from added"
    )
    added = [row.id for row in rows.read("select id from relay.outbox order by id")]
    name_meanwhile(engine, rows, added[:10])
    claim = store.claim(ONE)
    assert (flat(claim), type(store.memory.turn.rows)) == (added[10:50], Everywhere)


def test_all_in_vain_is_no_end_either(rows: Rows, engine: Engine, store: Store) -> None:
    added = rows.add(60)
    name_meanwhile(engine, rows, added[:50])
    claim = store.claim(ONE)
    assert (flat(claim), claim.exhausted) == ([], False)
    assert flat(store.claim(ONE)) == added[50:]


def test_no_floor_rises_over_what_was_passed_over(rows: Rows, engine: Engine) -> None:
    """A claim that is told where to look later, because rounds are slow, still begins before what was passed over."""
    clock = Clock()
    floors = Floors(clock)
    added = rows.add(100, due_in_seconds=-60)
    lock_for_a_moment(rows, added[:50])
    store = Store(engine, worker="w", lease_seconds=60, floors=floors)
    floors.note(round_of(5.0))
    assert floors.remembering
    store.memory.turn = CROWDED
    assert flat(store.claim(ONE)) == added[50:]
    for _ in range(3):
        floors.note(round_of(5.0))
    assert floors.resting
    store.memory.turn = CROWDED
    assert flat(store.claim(ONE)) == added[:50]
