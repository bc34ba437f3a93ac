"""Promise 4: two workers never hold one message. Many workers at the same moment, again and again."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine, create_engine

from relay.errors import UnreachableError
from relay.message import ACCEPTED, Answered, Batch, Fault, Refused, Result
from relay.outcomes import Policy, Settlement, decide, released
from relay.store import ClaimLimits, Store
from tests.fixtures.rows import Rows
from tests.fixtures.telling import tell_statements

NAMED_TWICE = """
select id, count(*) from (select unnest(message_ids) id from relay.call where settled_at is null) open
group by id having count(*) > 1
"""
AT_ONCE = Policy(max_attempts=1000, retry_base_seconds=0.0)


@pytest.fixture
def crowd(database_url: str) -> Iterator[Engine]:
    """An engine with a connection for each of many workers."""
    engine = create_engine(database_url, pool_size=12)
    yield engine
    engine.dispose()


def together(workers: int, work: Callable[[int], Any]) -> list[Any]:
    """Runs ``work(0)``, ``work(1)``, … at the same moment; their results."""
    barrier = threading.Barrier(workers)

    def started(number: int) -> Any:
        barrier.wait(10)
        return work(number)

    with ThreadPoolExecutor(workers) as pool:
        return [each.result(60) for each in [pool.submit(started, number) for number in range(workers)]]


def ids(batches: tuple[Batch, ...]) -> list[int]:
    return [message.id for batch in batches for message in batch.messages]


@pytest.mark.parametrize("workers", [2, 8])
def test_workers_that_claim_at_the_same_moment_name_no_message_twice(crowd: Engine, workers: int) -> None:
    rows = Rows(crowd)
    rows.add(150)
    rows.add(50, key_each="k")
    stores = [Store(crowd, worker=f"w{n}", lease_seconds=60) for n in range(workers)]
    for _ in range(25):
        claims = together(workers, lambda n: stores[n].claim(ClaimLimits(slots=2)))
        named = [id_ for claim in claims for id_ in ids(claim.batches)]
        assert len(named) == len(set(named))
        assert named
        assert rows.read(NAMED_TWICE) == []
        open_batches = [batch for claim in claims for batch in claim.batches]
        stores[0].settle([released(batch) for batch in open_batches], {})


class Holders:
    """Who holds which message. A worker takes after its claim was committed and gives before its settle begins."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[int, int] = {}
        self.held_twice: list[tuple[int, int, int]] = []

    def take(self, worker: int, message_ids: list[int]) -> None:
        with self._lock:
            self.held_twice += [(id_, self._held[id_], worker) for id_ in message_ids if id_ in self._held]
            self._held.update(dict.fromkeys(message_ids, worker))

    def give(self, message_ids: list[int]) -> None:
        with self._lock:
            for id_ in message_ids:
                self._held.pop(id_, None)


def some_outcome(batch: Batch, rng: random.Random) -> Settlement:
    if rng.random() < 0.2:
        return released(batch)
    if rng.random() < 0.2:
        return decide(batch, Refused(Fault.PROVIDER, "10"), AT_ONCE, rng)
    results = tuple(ACCEPTED if rng.random() < 0.5 else Result(Fault.UNKNOWN, "x") for _ in batch.messages)
    return decide(batch, Answered(results), AT_ONCE, rng)


@pytest.mark.parametrize("workers", [2, 8])
def test_settling_in_between_changes_nothing(crowd: Engine, workers: int) -> None:
    rows = Rows(crowd)
    rows.add(400)
    for key in range(10):
        rows.add(20, key=f"k{key}")
    holders = Holders()

    def work(number: int) -> dict[int, int]:
        rng = random.Random(number)
        store = Store(crowd, worker=f"w{number}", lease_seconds=60)
        accepted: dict[int, int] = {}
        for _ in range(400):
            claim = store.claim(ClaimLimits(slots=2, batch_size=10))
            holders.take(number, ids(claim.batches))
            if claim.exhausted and not rows.counts().get("pending"):
                break
            settlements = [some_outcome(batch, rng) for batch in claim.batches]
            for id_, _ in (pair for settlement in settlements for pair in settlement.done):
                accepted[id_] = accepted.get(id_, 0) + 1
            holders.give(ids(claim.batches))
            if settlements:
                settled(store, settlements)
        return accepted

    per_worker = together(workers, work)
    assert holders.held_twice == []
    assert rows.counts() == {"done": 600}
    assert sum(sum(accepted.values()) for accepted in per_worker) == 600
    overtaken = """
        select later.id from relay.outbox earlier join relay.outbox later using (account, ordering_key)
        where earlier.id < later.id and earlier.call_id > later.call_id"""
    assert rows.read(overtaken) == []


def settled(store: Store, settlements: list[Settlement]) -> None:
    """As the worker does it: what PostgreSQL asks to run once more is run once more."""
    while True:
        try:
            assert store.settle(settlements, {}).lost == frozenset()
        except UnreachableError:
            continue
        return


@pytest.fixture
def repeatable(database_url: str) -> Iterator[Engine]:
    """An engine whose transactions are REPEATABLE READ unless they say otherwise."""
    set_by_somebody = {"options": r"-c default_transaction_isolation=repeatable\ read"}
    engine = create_engine(database_url, connect_args=set_by_somebody)
    yield engine
    engine.dispose()


def test_a_snapshot_older_than_anothers_claim_does_not_name_its_messages(repeatable: Engine) -> None:
    """Under REPEATABLE READ it would, without any error: so the store never runs in it, whatever the default is."""
    rows = Rows(repeatable)
    assert rows.one("show transaction_isolation") == "repeatable read"
    added = rows.add(10)
    first, second = (Store(repeatable, worker=name, lease_seconds=60) for name in ("first", "second"))
    meanwhile: list[int] = []

    def anothers_claim(connection: psycopg.Connection[Any], statement: str) -> None:
        if "with recursive" in statement and not meanwhile:
            meanwhile.extend(*connection.execute("select 0"))  # from here on, a snapshot could be kept
            meanwhile.extend(ids(first.claim(ClaimLimits(slots=1)).batches))

    tell_statements(repeatable, anothers_claim)
    claim = second.claim(ClaimLimits(slots=1))
    assert (meanwhile, ids(claim.batches)) == ([0, *added], [])


def test_two_workers_fail_an_expired_message_once(crowd: Engine) -> None:
    rows = Rows(crowd)
    rows.add(50, deliver_within_seconds=-1)
    stores = [Store(crowd, worker=f"w{n}", lease_seconds=60) for n in range(2)]
    claims = together(2, lambda n: stores[n].claim(ClaimLimits(slots=1)))
    assert sum(claim.expired for claim in claims) == 50
    assert rows.counts() == {"failed": 50}
