"""A database that goes back in time under a live worker: a backup is restored, or a standby that was behind takes over.

What was written since is gone, and its ids are given out again. Nothing that a worker still holds in its hands or in
its memory may be taken for the message or the call that got such an id.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import pytest
from sqlalchemy import Engine, create_engine, make_url, text

from relay.errors import UnreachableError
from relay.message import ACCEPTED, Answered, Batch, Fault, Refused
from relay.outcomes import Policy, Settlement, decide, released
from relay.store import ClaimLimits, Settled, Store
from relay.store.claim.floors import Floors
from tests.fixtures.database import Server
from tests.fixtures.floors import Clock, resting_floors
from tests.fixtures.rows import Rows

T = TypeVar("T")
ACCEPT = Answered((ACCEPTED,) * 2, request_id="old")
ONE = ClaimLimits(slots=1, batch_size=2)


@dataclass
class Past:
    """``keep`` takes a backup of the test's database, ``restore`` puts it back under whoever is connected."""

    server: Server
    name: str
    backup: str

    def keep(self, *engines: Engine) -> None:
        for engine in engines:
            engine.dispose()
        self._copy(self.name, self.backup)

    def restore(self) -> None:
        self._copy(self.backup, self.name)

    def _copy(self, source: str, target: str) -> None:
        with self.server.admin() as connection:
            connection.execute(text(f'drop database if exists "{target}" with (force)'))
            connection.execute(text(f'create database "{target}" template "{source}"'))


@pytest.fixture
def past(postgres: Server, database_url: str) -> Iterator[Past]:
    name = str(make_url(database_url).database)
    made = Past(postgres, name, f"{name}_backup")
    yield made
    with postgres.admin() as connection:
        connection.execute(text(f'drop database if exists "{made.backup}" with (force)'))


@pytest.fixture
def connected(database_url: str) -> Iterator[Engine]:
    """The connections of a worker, which live through the restore as long as they can."""
    made = create_engine(database_url, isolation_level="READ COMMITTED")
    yield made
    made.dispose()


@pytest.fixture
def rows(database_url: str) -> Iterator[Rows]:
    """On connections of its own, made anew after each restore."""
    made = create_engine(database_url, pool_pre_ping=True)
    yield Rows(made)
    made.dispose()


def again(work: Callable[[], T]) -> T:
    """As a worker does it: connections that were lost are made anew, and the work is done once more."""
    for _ in range(5):
        try:
            return work()
        except UnreachableError:
            continue
    return work()


def claimed(store: Store) -> Batch:
    (batch,) = store.claim(ONE).batches
    return batch


OUTCOMES: dict[str, Callable[[Batch], Settlement]] = {
    "accepted": lambda batch: decide(batch, ACCEPT, Policy(), random.Random(1)),
    "refused": lambda batch: decide(batch, Refused(Fault.UNKNOWN, "27"), Policy(), random.Random(1)),
    "split": lambda batch: decide(batch, Refused(Fault.CONTENT, "41"), Policy(), random.Random(1)),
    "given back": released,
}


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_an_old_answer_changes_no_call_that_got_its_id(
    outcome: str, past: Past, connected: Engine, rows: Rows, database_url: str
) -> None:
    past.keep(rows.engine)
    rows.add(2)
    store = Store(connected, worker="old", lease_seconds=60)
    old = claimed(store)
    past.restore()
    ids = rows.add(2)
    other = create_engine(database_url, isolation_level="READ COMMITTED")
    new = claimed(Store(other, worker="new", lease_seconds=60))
    assert (new.call_id, [m.id for m in new.messages]) == (old.call_id, [m.id for m in old.messages]) == (1, ids)
    before = rows.read("select * from relay.call"), rows.read("select * from relay.outbox order by id")
    settlement = OUTCOMES[outcome](old)
    assert again(lambda: store.extend([old.key])) == frozenset()
    assert again(lambda: store.settle([settlement], {old.key: (time.monotonic(), 0.1)})) == Settled({old.key}, ())
    assert store.settle([settlement], {}, tried=[old.key]) == Settled({old.key}, ())
    assert (rows.read("select * from relay.call"), rows.read("select * from relay.outbox order by id")) == before
    assert store.settle([OUTCOMES["accepted"](new)], {}).lost == frozenset()
    assert rows.counts() == {"done": 2}
    other.dispose()


def test_what_was_remembered_of_lost_ids_hides_nothing(past: Past, connected: Engine, rows: Rows) -> None:
    """Floors, newest ids, known keys: everything a worker that is told where to look has learnt."""
    floors = resting_floors(Clock())
    store = Store(connected, worker="old", lease_seconds=60, floors=floors)
    past.keep(rows.engine)
    rows.add(40)
    rows.add(3, key="k")
    _learn(store, floors)
    past.restore()
    ids = rows.add(3) + rows.add(2, key="k")
    assert max(ids) < 10
    assert again(lambda: _drained(store)) == 5
    assert rows.counts() == {"done": 5}


def test_two_workers_never_name_one_message_whatever_one_remembers(
    past: Past, connected: Engine, rows: Rows, database_url: str
) -> None:
    """Open calls with ids before the one that was known to be the first open one are seen."""
    floors = resting_floors(Clock())
    store = Store(connected, worker="old", lease_seconds=60, floors=floors)
    past.keep(rows.engine)
    rows.add(40)
    _learn(store, floors)
    past.restore()
    rows.add(2)
    other = create_engine(database_url, isolation_level="READ COMMITTED")
    new = claimed(Store(other, worker="new", lease_seconds=60))
    assert new.call_id == 1
    assert again(lambda: store.claim(ONE)).batches == ()
    other.dispose()


def _learn(store: Store, floors: Floors) -> None:
    """Everything there is to remember: that nothing is left, up to which id, and before which call all are settled."""
    assert _drained(store) >= 40
    floors.open_from_is_old = True
    assert _drained(store) == 0
    assert (floors.resting, floors.open_from > 20) == (True, True)


def _drained(store: Store) -> int:
    """How many messages were claimed and accepted until there was nothing left."""
    count = 0
    for _ in range(200):
        claim = store.claim(ONE)
        settlements = [
            decide(batch, Answered((ACCEPTED,) * len(batch)), Policy(), random.Random(1)) for batch in claim.batches
        ]
        if settlements:
            store.settle(settlements, {})
        count += claim.messages
        if claim.exhausted:
            return count
    raise AssertionError("never exhausted")
