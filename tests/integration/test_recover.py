"""What happens to calls whose worker is gone, and to transactions whose PostgreSQL is."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.pool import QueuePool

import relay
from relay.embedded import EmbeddedPostgres
from relay.errors import UnreachableError
from relay.message import ACCEPTED, Answered, Batch, CallKey
from relay.outcomes import EXHAUSTED, Policy, decide, released
from relay.store import ClaimLimits, Store
from tests.fixtures.rows import Rows
from tests.fixtures.telling import tell_statements
from tests.fixtures.waiting import eventually

RNG = random.Random(1)
POLICY = Policy(retry_base_seconds=60.0)
LIMITS = ClaimLimits(slots=8)


@pytest.fixture
def rows(engine: Engine) -> Rows:
    return Rows(engine)


@pytest.fixture
def store(engine: Engine) -> Store:
    return Store(engine, worker="w", lease_seconds=60)


def claimed(store: Store, limits: ClaimLimits = LIMITS) -> tuple[Batch, ...]:
    return store.claim(limits).batches


def test_a_lease_that_runs_is_left_alone(rows: Rows, store: Store) -> None:
    rows.add(3)
    claimed(store)
    assert store.recover(POLICY, RNG) == ()
    assert rows.calls()[0].outcome is None


def test_a_call_whose_lease_ran_out_is_unknown_for_each_message(rows: Rows, store: Store, engine: Engine) -> None:
    added = rows.add(3)
    (batch,) = claimed(store)
    rows.lapse_leases()
    (settlement,) = Store(engine, worker="another", lease_seconds=60).recover(POLICY, RNG)
    assert (settlement.call_id, [v.message_id for v in settlement.verdicts]) == (batch.call_id, added)
    call = rows.call(batch.call_id)
    assert (call.outcome, call.error_code, call.worker, call.sent_at) == ("unknown", "relay.lease_expired", "w", None)
    for index, id_ in enumerate(added):
        message, (attempt,) = rows.message(id_), rows.attempts(id_)
        assert (message.status, message.attempts, message.error_code) == ("pending", 1, "relay.lease_expired")
        assert (attempt.outcome, attempt.result_index, attempt.call_id) == ("unknown", index, batch.call_id)
        assert attempt.retry_at == message.available_at


def test_the_last_attempt_ends_it_and_stays_unknown_in_the_history(rows: Rows, store: Store) -> None:
    fresh, worn = rows.add(2)
    rows.run("update relay.outbox set attempts = 11 where id = :id", id=worn)
    claimed(store)
    rows.lapse_leases()
    store.recover(POLICY, RNG)
    assert (rows.message(fresh).status, rows.message(worn).status) == ("pending", "failed")
    assert (rows.message(worn).error_code, rows.message(worn).attempts) == (EXHAUSTED, 12)
    assert rows.attempts(worn)[0].outcome == "unknown"


def test_with_hold_a_person_decides(rows: Rows, store: Store) -> None:
    rows.add(2)
    claimed(store)
    rows.lapse_leases()
    store.recover(replace(POLICY, hold_unknown=True), RNG)
    assert rows.one("select bool_and(available_at = 'infinity') from relay.outbox") is True
    assert claimed(store) == ()


def test_a_message_that_was_pruned_or_ended_meanwhile_does_not_stop_the_rest(rows: Rows, store: Store) -> None:
    pruned, ended, alive = rows.add(3)
    claimed(store)
    with rows.engine.begin() as connection:
        connection.execute(text("set local relay.pruning = 'on'"))
        connection.execute(text("delete from relay.outbox where id = :id"), {"id": pruned})
    rows.run("update relay.outbox set status = 'failed', finished_at = now() where id = :id", id=ended)
    rows.lapse_leases()
    store.recover(POLICY, RNG)
    assert (rows.attempts(pruned), rows.attempts(ended)) == ([], [])
    assert rows.message(alive).attempts == 1


def test_two_workers_that_recover_at_once_settle_each_call_once(rows: Rows, engine: Engine) -> None:
    rows.add(200)
    claimed(Store(engine, worker="gone", lease_seconds=60), replace(LIMITS, batch_size=10, slots=20))
    rows.lapse_leases()
    barrier = threading.Barrier(2)

    def recover(name: str) -> list[int]:
        store = Store(engine, worker=name, lease_seconds=60)
        barrier.wait(10)
        return [settlement.call_id for settlement in store.recover(POLICY, random.Random(name))]

    with ThreadPoolExecutor(2) as pool:
        recovered = [id_ for ids in pool.map(recover, ["a", "b"]) for id_ in ids]
    assert len(recovered) == len(set(recovered)) == 20
    assert rows.one("select count(*) from relay.attempt") == 200
    assert rows.one("select max(attempts) from relay.outbox") == 1


def test_a_hundred_calls_at_once_so_that_one_transaction_stays_short(rows: Rows, store: Store) -> None:
    rows.add(130)
    claimed(store, replace(LIMITS, batch_size=1, slots=130))
    rows.lapse_leases()
    assert [len(store.recover(POLICY, RNG)) for _ in range(3)] == [100, 30, 0]


def test_the_worker_that_comes_back_has_lost_its_call(rows: Rows, store: Store) -> None:
    rows.add(2)
    (batch,) = claimed(store)
    rows.lapse_leases()
    store.recover(POLICY, RNG)
    answer = decide(batch, Answered((ACCEPTED, ACCEPTED)), POLICY, RNG)
    assert store.settle([answer], {}).lost == {batch.key}
    assert store.extend([batch.key]) == frozenset()
    assert rows.counts() == {"pending": 2}


def test_extending_keeps_a_call_and_touches_no_other(rows: Rows, store: Store) -> None:
    rows.add(3)
    kept, other, closed = claimed(store, replace(LIMITS, batch_size=1))
    store.settle([released(closed)], {})
    rows.lapse_leases()
    assert store.extend([kept.key, closed.key, CallKey(10**9, 1)]) == {kept.key}
    (settlement,) = store.recover(POLICY, RNG)
    assert settlement.call_id == other.call_id
    assert rows.call(kept.call_id).outcome is None
    assert rows.one("select extract(epoch from lease_until - now()) > 55 from relay.call where outcome is null") is True


@pytest.fixture
def own(own_postgres: EmbeddedPostgres) -> Iterator[Engine]:
    """An engine on a server of this test alone, migrated."""
    relay.migrate(own_postgres.url())
    engine = create_engine(own_postgres.url(), poolclass=QueuePool)
    yield engine
    engine.dispose()


def everything(store: Store, batch: Batch) -> dict[str, Callable[[], object]]:
    return {
        "claim": lambda: store.claim(LIMITS),
        "settle": lambda: store.settle([released(batch)], {}),
        "extend": lambda: store.extend([batch.key]),
        "recover": lambda: store.recover(POLICY, RNG),
        "pauses": store.pauses,
        "lift_pause": lambda: store.lift_pause("account:a", "x"),
        "still_moving": store.still_moving,
        "pending": store.pending,
        "now": store.now,
        "reserve": lambda: store.reserve("77", 1.0),
    }


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_database_that_is_gone_is_unreachable_and_then_it_goes_on(
    own_postgres: EmbeddedPostgres, own: Engine, mode: str
) -> None:
    rows, store = Rows(own), Store(own, worker="w", lease_seconds=60)
    (id_,) = rows.add()
    (batch,) = claimed(store)
    own_postgres.stop("immediate" if mode == "immediate" else "fast")
    for name, work in everything(store, batch).items():
        with pytest.raises(UnreachableError) as told:
            work()
        assert "PostgreSQL" in str(told.value), name
    own_postgres.start()
    store.settle([decide(batch, Answered((ACCEPTED,)), POLICY, RNG)], {})
    assert rows.message(id_).status == "done"


def test_a_standby_is_unreachable_not_a_mistake(own: Engine) -> None:
    rows, store = Rows(own), Store(own, worker="w", lease_seconds=60)
    rows.add(2)
    (batch,) = claimed(store, replace(LIMITS, slots=1, batch_size=1))
    rows.run("alter role postgres set default_transaction_read_only = on")
    own.dispose()
    for name in ("claim", "settle", "extend", "lift_pause", "reserve"):
        with pytest.raises(UnreachableError):
            everything(store, batch)[name]()
    with own.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("set default_transaction_read_only = off"))
        connection.execute(text("alter role postgres reset default_transaction_read_only"))
    own.dispose()
    store.settle([decide(batch, Answered((ACCEPTED,)), POLICY, RNG)], {})
    assert rows.counts() == {"done": 1, "pending": 1}


@pytest.mark.parametrize("limit", ["statement_timeout", "lock_timeout"])
def test_a_statement_that_takes_too_long_may_be_tried_again(
    rows: Rows, engine: Engine, database_url: str, limit: str
) -> None:
    rows.add()
    hurried = create_engine(database_url)
    store = Store(hurried, worker="w", lease_seconds=60)

    @event.listens_for(hurried, "connect")  # after the store's own, which takes the limits of a role away
    def limited(raw: Any, _record: object) -> None:
        raw.execute(f"set {limit} = 100")
        raw.commit()

    with engine.begin() as blocking:
        blocking.execute(text("lock table relay.call in access exclusive mode"))
        with pytest.raises(UnreachableError):
            store.claim(LIMITS)
    assert len(claimed(store)) == 1
    hurried.dispose()


def test_a_mistake_of_ours_is_not_called_unreachable(rows: Rows, store: Store) -> None:
    rows.run("drop table relay.attempt cascade")
    rows.add()
    claimed(store)
    rows.lapse_leases()
    with pytest.raises(ProgrammingError):
        store.recover(POLICY, RNG)


def test_a_pool_without_a_free_connection_is_unreachable(database_url: str) -> None:
    engine = create_engine(database_url, pool_size=1, max_overflow=0, pool_timeout=0.05)
    with engine.connect(), pytest.raises(UnreachableError):
        Store(engine, worker="w", lease_seconds=60).pauses()
    engine.dispose()


def test_a_transaction_without_an_answer_can_be_cut_off(rows: Rows, store: Store, engine: Engine) -> None:
    rows.add()
    waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
    with ThreadPoolExecutor(1) as pool, engine.begin() as blocking:
        blocking.execute(text("lock table relay.call in access exclusive mode"))
        hanging = pool.submit(store.claim, LIMITS)
        eventually(lambda: rows.one(waiting))
        store.cut_off()
        with pytest.raises(UnreachableError):
            hanging.result(10)
    store.cut_off()
    assert len(claimed(store)) == 1


def test_nothing_of_a_settle_stays_when_it_is_cut_in_the_middle(own_postgres: EmbeddedPostgres, own: Engine) -> None:
    rows, store = Rows(own), Store(own, worker="w", lease_seconds=60)
    rows.add(100)
    batches = claimed(store)
    before_marking = threading.Event()

    def crash(_: object, statement: str) -> None:
        if "set status = 'done'" in statement and not before_marking.is_set():
            before_marking.set()
            own_postgres.restart("immediate")

    tell_statements(own, crash)
    settlements = [decide(batch, Answered((ACCEPTED,) * len(batch)), POLICY, RNG) for batch in batches]
    with pytest.raises(UnreachableError):
        store.settle(settlements, {})
    assert rows.counts() == {"pending": 100}
    assert rows.one("select count(*) from relay.call where settled_at is null") == 2
    assert store.settle(settlements, {}).lost == frozenset()
    assert rows.counts() == {"done": 100}
