"""An account with plenty of messages both with and without an ordering key: no more is locked than is taken."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Engine

from relay.store import ClaimLimits, Store
from relay.store.claim import Memory, claim
from tests.fixtures.rows import Rows

LIMITS = ClaimLimits(slots=4, batch_size=10)


@pytest.fixture
def rows(engine: Engine) -> Rows:
    return Rows(engine)


@pytest.fixture
def store(engine: Engine) -> Store:
    return Store(engine, worker="w", lease_seconds=60)


def claimed(engine: Engine, memory: Memory, limits: ClaimLimits = LIMITS) -> tuple[int, int]:
    """How many messages one claim locked, and named."""
    with engine.begin() as connection:
        look, looked = claim(connection, memory, limits, worker="w", lease_seconds=60)
    memory.learn(look, looked)
    return looked.locked, sum(map(len, looked.batches))


@pytest.mark.parametrize("batch_size", [10, 9])
def test_after_two_claims_half_of_each_kind_is_locked(rows: Rows, engine: Engine, batch_size: int) -> None:
    rows.add(300)
    rows.add(300, key_each="k")
    limits, memory = ClaimLimits(slots=1, batch_size=batch_size), Memory(60)
    for _ in range(2):
        assert claimed(engine, memory, limits) == (2 * batch_size, batch_size)
    for _ in range(3):
        assert claimed(engine, memory, limits) == (batch_size + batch_size % 2, batch_size)


def test_where_few_keys_are_ready_every_claim_is_full(rows: Rows, engine: Engine) -> None:
    rows.add(200)
    rows.add(70, key_each="k")
    memory = Memory(60)
    assert [claimed(engine, memory)[1] for _ in range(5)] == [40] * 5


def test_keys_that_run_out_leave_the_others_their_whole_share(rows: Rows, engine: Engine) -> None:
    rows.add(400)
    rows.add(150, key_each="k")
    memory = Memory(60)
    claims = [claimed(engine, memory) for _ in range(12)]
    assert claims[:4] == [(80, 40), (80, 40), (40, 40), (40, 40)]
    assert sorted(named for _, named in claims)[0] >= 20, claims
    assert (80, 40) in claims[4:], claims


def test_a_neighbour_with_one_kind_gets_full_batches(rows: Rows, engine: Engine) -> None:
    rows.add(200, account="both")
    rows.add(200, account="both", key_each="k")
    rows.add(200, account="plain")
    memory = Memory(60)
    assert [claimed(engine, memory) for _ in range(4)] == [(60, 40), (60, 40), (40, 40), (40, 40)]


def test_all_of_it_is_claimed_once(rows: Rows, engine: Engine, store: Store) -> None:
    ids = [*rows.add(130), *rows.add(170, key_each="k"), *rows.add(90, account="b", key_each="k")]
    found: list[Any] = []
    while not (claim := store.claim(LIMITS)).exhausted:
        found += [message.id for batch in claim.batches for message in batch.messages]
    assert sorted(found) == sorted(ids)
