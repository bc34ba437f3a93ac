"""Messages with an ordering key: one after another in id order, and one key's trouble is no other key's."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
from sqlalchemy import Engine, text

from relay.message import ACCEPTED, Answer, Answered, Batch, Fault, Refused
from relay.outcomes import Policy, decide, released
from relay.store import ClaimLimits, Store
from tests.fixtures.rows import Rows

LIMITS = ClaimLimits(slots=8)
RNG = random.Random(1)


@pytest.fixture
def rows(engine: Engine) -> Rows:
    return Rows(engine)


@pytest.fixture
def store(engine: Engine) -> Store:
    return Store(engine, worker="w", lease_seconds=60)


def claim(store: Store, limits: ClaimLimits = LIMITS) -> tuple[Batch, ...]:
    return store.claim(limits).batches


def ids(batches: Sequence[Batch]) -> list[int]:
    return [message.id for batch in batches for message in batch.messages]


def settle(store: Store, batches: Sequence[Batch], answer: Answer | None = None, policy: Policy = Policy()) -> None:  # noqa: B008
    accepted = {batch.call_id: Answered((ACCEPTED,) * len(batch)) for batch in batches}
    store.settle([decide(batch, answer or accepted[batch.call_id], policy, RNG) for batch in batches], {})


def test_one_of_a_key_is_in_flight_and_the_next_follows_when_it_is_done(rows: Rows, store: Store) -> None:
    first, second, third = rows.add(3, key="k")
    for expected in (first, second, third):
        batches = claim(store)
        assert ids(batches) == [expected]
        assert claim(store) == ()
        settle(store, batches)
    assert claim(store) == ()


def test_a_failed_head_gives_its_place_to_the_next(rows: Rows, store: Store) -> None:
    first, second = rows.add(2, key="k")
    settle(store, claim(store), Refused(Fault.MESSAGE, "isv.x"))
    assert rows.message(first).status == "failed"
    assert ids(claim(store)) == [second]


def test_a_failed_head_holds_its_key_where_that_is_wanted_until_a_person_discards_it(rows: Rows, store: Store) -> None:
    holding = replace(LIMITS, failed_holds=True)
    first, second = rows.add(2, key="k")
    settle(store, claim(store, holding), Refused(Fault.MESSAGE, "isv.x"))
    assert claim(store, holding) == ()
    rows.run("update relay.outbox set error_code = 'relay.discarded' where id = :id", id=first)
    assert ids(claim(store, holding)) == [second]


@pytest.mark.parametrize("due", ["now() + interval '1 hour'", "'infinity'"], ids=["retry", "held"])
def test_a_head_that_waits_holds_its_own_key_alone(rows: Rows, store: Store, due: str) -> None:
    head, _ = rows.add(2, key="k")
    free = rows.add(2, key_each="other")
    unkeyed = rows.add()
    rows.run(f"update relay.outbox set available_at = {due} where id = :id", id=head)
    assert sorted(ids(claim(store))) == sorted(free + unkeyed)


def test_a_later_message_of_a_key_that_is_due_does_not_overtake(rows: Rows, store: Store) -> None:
    rows.add(key="k", due_in_seconds=3600)
    rows.add(key="k", due_in_seconds=-3600)
    assert claim(store) == ()


def test_heads_go_in_id_order_together_with_the_others(rows: Rows, store: Store) -> None:
    second = rows.add(key="z")
    third = rows.add(key="a")
    fourth = rows.add()
    (batch,) = claim(store)
    assert [message.id for message in batch.messages] == [*second, *third, *fourth]


def test_the_same_key_of_two_accounts_is_two_keys(rows: Rows, store: Store) -> None:
    expected = [*rows.add(key="k", account="a"), *rows.add(key="k", account="b")]
    assert sorted(ids(claim(store))) == expected


def test_one_claim_takes_one_of_each_key_however_many_wait_behind(rows: Rows, store: Store) -> None:
    hot = rows.add(500, key="hot")
    others = rows.add(60, key_each="k")
    found = ids(claim(store))
    assert sorted(found) == [hot[0], *others]


def test_thousands_of_keys_are_gone_through_and_each_head_is_claimed_once(rows: Rows, store: Store) -> None:
    rows.add(3000, key_each="k")
    found = list[int]()
    for _ in range(100):
        claimed = store.claim(replace(LIMITS, slots=4))
        found += ids(claimed.batches)
        if claimed.exhausted:
            break
    assert len(found) == len(set(found)) == 3000


def test_a_ready_head_behind_thousands_that_wait_is_found(rows: Rows, store: Store) -> None:
    rows.add(3000, key_each="k", due_in_seconds=3600)
    (wanted,) = rows.add(key="z")
    found, rests = list[int](), 0
    for _ in range(60):
        claimed = store.claim(replace(LIMITS, slots=2))
        found += ids(claimed.batches)
        rests += claimed.exhausted
    assert found == [wanted]
    assert rests > 10, "a worker that finds nothing has to rest"


def test_released_heads_come_again_first(rows: Rows, store: Store) -> None:
    first, _ = rows.add(2, key="k")
    batches = claim(store)
    store.settle([released(batch) for batch in batches], {})
    assert ids(claim(store)) == [first]


def test_a_key_waits_while_an_earlier_message_of_it_is_being_written(rows: Rows, store: Store, engine: Engine) -> None:
    insert = text("insert into relay.outbox (topic, content, ordering_key) values ('t', '{}', 'k') returning id")
    with engine.connect() as slow:
        early = slow.scalar(insert)
        (late,) = rows.add(key="k")
        unkeyed = rows.add()
        assert late > early
        assert ids(claim(store)) == unkeyed
        slow.commit()
    batches = claim(store)
    assert ids(batches) == [early]
    settle(store, batches)
    assert ids(claim(store)) == [late]


def test_a_key_is_free_again_when_its_writer_gives_up(rows: Rows, store: Store, engine: Engine) -> None:
    insert = text("insert into relay.outbox (topic, content, ordering_key) values ('t', '{}', 'k')")
    with engine.connect() as slow:
        slow.execute(insert)
        (late,) = rows.add(key="k")
        assert claim(store) == ()
        slow.rollback()
    assert ids(claim(store)) == [late]


def test_a_writer_holds_back_a_few_keys_not_all(rows: Rows, store: Store, engine: Engine) -> None:
    insert = text("insert into relay.outbox (topic, content, ordering_key) values ('t', '{}', 'k')")
    with engine.connect() as slow:
        slow.execute(insert)
        rows.add(200, key_each="other")
        assert len(ids(claim(store))) > 150
