"""Promise 8 while an old snapshot keeps everything that is finished in the indexes: claims that are told where to look.

What such claims leave out for a while, and that they never take what they must not.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, Engine, text

from relay import statements
from relay.message import Batch
from relay.operators import actions
from relay.operators.ledger import Order
from relay.outcomes import Settlement, released
from relay.sql import statement
from relay.store import Claim, ClaimLimits, Store
from relay.store.claim import statements as sql
from relay.store.claim.floors import Floors
from relay.store.claim.moods import Turn
from tests.fixtures.floors import Clock, resting_floors, round_of
from tests.fixtures.rows import Rows
from tests.fixtures.telling import tell_statements

pytestmark = pytest.mark.usefixtures("independent")  # before the first connection of any fixture is made
ONE = ClaimLimits(slots=1)
EIGHT = ClaimLimits(slots=8)
ONE_CALL_EACH = """
insert into relay.call (account, worker, message_ids, lease_until)
select 'default', 'w', array[id], now() from relay.outbox
"""
INSERT_KEYED = """
insert into relay.outbox (topic, content, ordering_key) values ('t', '{}', 'k') returning id
"""
ALL_DONE = """
update relay.outbox set status = 'done', finished_at = now(), call_id = 1, result_index = 0 where status = 'pending'
"""


@pytest.fixture
def rows(engine: Engine) -> Rows:
    return Rows(engine)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def floors(clock: Clock) -> Floors:
    return resting_floors(clock)


@pytest.fixture
def store(engine: Engine, floors: Floors) -> Store:
    """Told where to look from its first claim on."""
    return Store(engine, worker="w", lease_seconds=60, floors=floors)


@pytest.fixture
def horizon(engine: Engine) -> Iterator[Connection]:
    """A snapshot of the empty tables; nothing is vacuumed, or killed in an index, while it is held."""
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
        connection.execute(text("select count(*) from relay.outbox"))
        yield connection


def flat(claim: Claim) -> list[int]:
    return [message.id for batch in claim.batches for message in batch.messages]


def give_back(store: Store, batches: tuple[Batch, ...]) -> None:
    store.settle([released(batch) for batch in batches], {})


def test_promise_8_a_held_horizon_costs_three_slow_rounds_and_then_next_to_nothing(
    rows: Rows, engine: Engine, horizon: Connection, clock: Clock
) -> None:
    rows.add(30_000, due_in_seconds=-60)
    rows.run(ALL_DONE)
    rows.add(1000, due_in_seconds=-30)
    floors = Floors(clock)
    store = Store(engine, worker="w", lease_seconds=60, floors=floors)
    ids = list[int]()
    while not floors.resting:
        claim = store.claim(ONE)
        ids += flat(claim)
    stepping = pages(engine, str(statement(sql.LOCK_READY, "relay")), floors)
    ids += flat(store.claim(ONE))  # from a floor by now
    told = pages(engine, str(statement(sql.LOCK_KNOWN, "relay")), floors)
    assert ids == sorted(ids)
    assert stepping > 1000
    assert told < 200


def test_the_long_history_of_one_key_makes_rounds_slow_too(
    rows: Rows, engine: Engine, horizon: Connection, clock: Clock
) -> None:
    """Then naming a call walks over the same dead entries: how long that takes says nothing about the machine."""
    rows.add(40_000, key="k", due_in_seconds=-60)
    rows.run(ONE_CALL_EACH)
    rows.run("update relay.call set settled_at = now(), outcome = 'ok'")
    rows.run(ALL_DONE)
    rows.add(10, key="k", due_in_seconds=-30)
    floors = Floors(clock, ordinary_seconds=0.002)
    store = Store(engine, worker="w", lease_seconds=60, floors=floors)
    for _ in range(5):
        claim = store.claim(ONE)
        give_back(store, claim.batches)
    assert floors.resting


def test_a_head_that_was_not_the_first_after_all_is_not_remembered_as_one(
    rows: Rows, engine: Engine, horizon: Connection, clock: Clock
) -> None:
    """The later one is committed, the earlier one only between the look at heads and the look at who is writing."""
    floors = Floors(clock)
    floors.note(round_of(5.0))
    store = Store(engine, worker="w", lease_seconds=60, floors=floors)
    with engine.connect() as writing:
        (earlier,) = writing.execute(text(INSERT_KEYED)).scalars()
        (later,) = rows.add(1, key="k")

        def commit_the_earlier(_: psycopg.Connection[Any], statement: str) -> None:
            if "pg_try_advisory_lock" in statement and writing.in_transaction():
                writing.commit()

        tell_statements(engine, commit_the_earlier)
        first = store.claim(ONE)
        assert not writing.in_transaction()
    assert flat(first) == []
    for _ in range(3):
        floors.note(round_of(5.0))
    assert floors.resting
    assert flat(store.claim(ONE)) == [earlier]
    assert flat(store.claim(ONE)) == []
    assert later > earlier


def pages(engine: Engine, statement: str, floors: Floors) -> int:
    """How many pages the server touches to lock the next 50 messages."""
    told = floors.tell(8, 50)
    floored = {account: place.floor for account, place in told.places.items() if place.floor is not None}
    parameters = {
        "open_from": floors.open_from,
        "after_account": "",
        "accounts": 8,
        "known_accounts": list(told.places),
        "key_accounts": [],
        "keys": [],
        "head_accounts": [],
        "head_keys": [],
        "head_ids": [],
        "floor_accounts": list(floored),
        "floors_us": [due_us for due_us, _ in floored.values()],
        "floor_ids": [id_ for _, id_ in floored.values()],
        "skip_accounts": [],
        "batch": 50,
        "slots": 1,
        "failed_holds": False,
        "linger_seconds": 0,
        "remember": True,
        "pass_over": False,
        "mixed": [],
        "aside": "{}",
    }
    with engine.connect() as connection:
        used = {name: value for name, value in parameters.items() if f":{name}" in statement}
        ((plan,),) = connection.execute(text(f"explain (analyze, buffers, format json) {statement}"), used).scalars()
        root = plan["Plan"]
        return int(root["Shared Hit Blocks"] + root["Shared Read Blocks"])


def test_new_accounts_and_keys_are_met_at_once(rows: Rows, store: Store) -> None:
    plain = rows.add(3)
    assert flat(store.claim(EIGHT)) == plain
    others = rows.add(2, account="other") + rows.add(2, account="other", key_each="k")
    assert sorted(flat(store.claim(EIGHT))) == others


def test_a_drain_takes_everything_once(rows: Rows, store: Store) -> None:
    added = rows.add(120) + rows.add(120, account="b") + rows.add(5, account="c", key="k")
    ids = list[int]()
    for _ in range(20):
        claim = store.claim(ONE)
        ids += flat(claim)
    assert sorted(ids) == added[:241]  # and of the key the first one


def test_a_key_goes_on_where_it_was(rows: Rows, store: Store) -> None:
    added = rows.add(3, key="k")
    ids = []
    for _ in added:
        claim = store.claim(EIGHT)
        ids += flat(claim)
        rows.run("update relay.call set settled_at = now(), outcome = 'ok' where settled_at is null")
        rows.run(ALL_DONE + " and id = any (:ids)", ids=flat(claim))
    assert ids == added


def test_an_earlier_message_of_a_key_that_is_met_late_still_goes_first(rows: Rows, store: Store) -> None:
    (waiting,) = rows.add(key="k", due_in_seconds=3600)
    rows.add(6000, account="far")  # so that only the newest are looked at
    rows.add(key="k")
    claims = [flat(store.claim(EIGHT)) for _ in range(30)]
    assert not {id_ for ids in claims for id_ in ids} & {waiting, waiting + 6001}


def test_what_waits_for_a_retry_is_found_when_it_is_due(rows: Rows, store: Store) -> None:
    (waiting,) = rows.add(due_in_seconds=3600)
    assert flat(store.claim(EIGHT)) == []
    rows.run("update relay.outbox set available_at = now() where id = :id", id=waiting)
    assert flat(store.claim(EIGHT)) == [waiting]


def test_what_commits_within_a_second_is_not_missed(rows: Rows, store: Store, engine: Engine) -> None:
    rows.add()
    with engine.connect() as late:
        late.execute(text("insert into relay.outbox (topic, content) values ('late', '{}')"))
        later = rows.add(10)
        assert set(flat(store.claim(EIGHT))) >= set(later)
        late.commit()
    (found,) = store.claim(EIGHT).batches
    assert [message.topic for message in found.messages] == ["late"]


def test_what_was_given_back_waits_for_a_full_round_and_is_found_there(
    rows: Rows, store: Store, floors: Floors, clock: Clock
) -> None:
    rows.run(
        """insert into relay.outbox (topic, content, available_at)
        select 't', '{}', now() - interval '1 hour' from generate_series(1, 10)"""
    )
    claim = store.claim(EIGHT)
    assert len(flat(claim)) == 10
    give_back(store, claim.batches)
    assert flat(store.claim(EIGHT)) == []
    clock.seconds = 1000
    assert not floors.resting
    assert len(flat(store.claim(EIGHT))) == 10


def test_a_key_that_somebody_is_writing_is_looked_at_from_its_beginning(
    rows: Rows, store: Store, engine: Engine
) -> None:
    """Ids are given in order and committed in any: the head that is seen need not be the first."""
    insert = text("insert into relay.outbox (topic, content, ordering_key) values ('t', '{}', 'k') returning id")
    with engine.connect() as slow:
        earlier = slow.scalar(insert)
        (later,) = rows.add(key="k")
        assert flat(store.claim(EIGHT)) == []
        slow.commit()
    assert flat(store.claim(EIGHT)) == [earlier]
    assert later not in flat(store.claim(EIGHT))


def test_what_a_person_retries_goes_before_later_messages_of_its_key(rows: Rows, store: Store, engine: Engine) -> None:
    first, second = rows.add(2, key="k")
    assert flat(store.claim(EIGHT)) == [first]
    rows.run("update relay.call set settled_at = now(), outcome = 'partial'")
    rows.run(
        "update relay.outbox set status = 'failed', finished_at = now(), error_code = 'isv.x' where id = :id", id=first
    )
    assert flat(store.claim(EIGHT)) == [second]
    rows.run("update relay.call set settled_at = now(), outcome = 'released' where settled_at is null")
    with engine.begin() as connection:
        order = Order("ann", "the topic is authorised now", {})
        actions.retry(connection, [first], order)
    assert flat(store.claim(EIGHT)) == [first]


def test_what_is_left_for_want_of_a_slot_comes_next(rows: Rows, store: Store) -> None:
    added = rows.add(200)
    ids = [flat(store.claim(ONE)) for _ in range(4)]
    assert ids == [added[:50], added[50:100], added[100:150], added[150:]]


def test_a_paused_account_keeps_its_place(rows: Rows, store: Store) -> None:
    added = rows.add(10) + rows.add(3, key_each="k")
    skipping = ClaimLimits(slots=8, skip_accounts=("default",))
    assert flat(store.claim(skipping)) == []
    assert sorted(flat(store.claim(EIGHT))) == added


def test_what_lingers_comes_when_it_has_lingered(rows: Rows, store: Store) -> None:
    added = rows.add(10)
    linger = ClaimLimits(slots=8, linger_seconds=600)
    assert flat(store.claim(linger)) == []
    assert flat(store.claim(EIGHT)) == added


def test_nothing_found_is_worth_a_rest(store: Store) -> None:
    assert store.claim(EIGHT).exhausted


def test_a_round_over_all_accounts_goes_on_where_it_was(rows: Rows, store: Store) -> None:
    rows.add(account="a")
    store.memory.turn = Turn("m", {"m": "k"})
    store.claim(EIGHT)
    assert store.memory.turn == Turn("m", {"m": "k"})


def test_open_calls_begin_at_the_first_open_one(rows: Rows, store: Store, floors: Floors) -> None:
    rows.add(200)
    first, second = store.claim(ONE), store.claim(ONE)
    assert floors.open_from == 1
    settle(rows, first)
    floors.open_from_is_old = True
    store.claim(ONE)
    assert floors.open_from == second.batches[0].call_id
    rows.run("update relay.call set settled_at = now(), outcome = 'ok' where settled_at is null")
    floors.open_from_is_old = True
    claim = store.claim(ONE)
    assert floors.open_from == claim.batches[0].call_id


def settle(rows: Rows, claim: Claim) -> None:
    ids = [batch.call_id for batch in claim.batches]
    rows.run("update relay.call set settled_at = now(), outcome = 'ok' where id = any (:ids)", ids=ids)


@pytest.mark.parametrize("statement", ["NAME_CALLS", "SPLIT"])
def test_open_calls_are_not_looked_for_while_somebody_names_one(
    rows: Rows, store: Store, floors: Floors, engine: Engine, statement: str
) -> None:
    """The other call has an id by now, and nobody can see it: after its commit it must not lie before the beginning."""
    added = rows.add(3)
    rows.run(sql_of("NAME_CALLS"), **naming(added[:1]))
    with engine.connect() as other:
        other.execute(text(sql_of(statement)), naming(added[1:2]))
        rows.run(sql_of("NAME_CALLS"), **naming(added[2:]))
        rows.run("update relay.call set settled_at = now(), outcome = 'ok'")
        store.claim(ONE)
        assert (floors.open_from, floors.open_from_is_old) == (0, True)
        other.commit()
    assert added[1] not in flat(store.claim(ONE))
    assert floors.open_from <= 2


def sql_of(name: str) -> str:
    return str(statement(getattr(sql, name, None) or getattr(statements, name), "relay"))


def naming(ids: list[int]) -> dict[str, object]:
    return {
        "worker": "other",
        "lease_seconds": 60,
        "batches": [1],
        "accounts": ["default"],
        "nonces": [1],
        "keyed_ids": [],
        "key_accounts": [],
        "keys": [],
        "keys_from": [],
        "parent_ids": [1],
        "ids": ids,
        "open_from": 0,
    }


def test_two_workers_with_floors_never_name_one_message(rows: Rows, engine: Engine) -> None:
    added = rows.add(400) + rows.add(40, key_each="k")
    stores = [Store(engine, worker=name, lease_seconds=60, floors=resting_floors(Clock())) for name in ("a", "b", "c")]
    ids = [id_ for _ in range(6) for store in stores for id_ in flat(store.claim(ONE))]
    assert sorted(ids) == added


def test_a_settled_call_gives_its_messages_back_to_everybody(rows: Rows, store: Store, engine: Engine) -> None:
    rows.add(50)
    claim = store.claim(ONE)
    settlement: Settlement = released(claim.batches[0])
    store.settle([settlement], {})
    fresh = Store(engine, worker="fresh", lease_seconds=60)
    assert flat(fresh.claim(ONE)) == flat(claim)


def test_quick_rounds_never_lead_here(rows: Rows, engine: Engine) -> None:
    """On an ordinary table the memory stays empty, and no statement more is sent."""
    floors = Floors(Clock(), ordinary_seconds=600)
    store = Store(engine, worker="w", lease_seconds=60, floors=floors)
    rows.add(100)
    for _ in range(5):
        store.claim(ONE)
    assert not floors.remembering
    floors.note(round_of(0.0))
    assert not floors.resting
