"""A commit whose acknowledgement is lost: everything was written, and the worker that wrote it never heard so.

It writes once more, finds its own call settled, and must not take that for somebody else's work.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine, create_engine

from relay.errors import UnreachableError
from relay.events import CallLost, CallSettled, Event, Events
from relay.message import ACCEPTED, Answer, Answered, Batch, CallKey, Fault, Refused
from relay.outcomes import Policy, Settlement, decide, released
from relay.store import ClaimLimits, Sent, Settled, Store
from relay.worker import Nobody, Options, Until, Worker
from tests.fixtures.rows import Rows

UNHEARD = "PostgreSQL was lost: the connection ended."


class Deaf(Store):
    """Commits, and every other time does not hear of it."""

    deaf = True

    def settle(self, settlements: Sequence[Settlement], sent: Sent, tried: Collection[CallKey] = ()) -> Settled:
        settled = super().settle(settlements, sent, tried)
        self.deaf = not self.deaf
        if not self.deaf:
            raise UnreachableError(UNHEARD)
        return settled


class Picky:
    """Refuses any batch with the one bad message in it, and accepts the rest."""

    max_batch, max_bytes = 50, 1_000_000

    def __init__(self, bad: int | None) -> None:
        self.produced: list[int] = []
        self._bad = bad

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def produce(self, batch: Batch) -> Answer:
        if any(message.id == self._bad for message in batch.messages):
            return Refused(Fault.CONTENT, "41", "isv.bad")
        self.produced += [message.id for message in batch.messages]
        return Answered((ACCEPTED,) * len(batch))


@pytest.fixture
def connected(engine: Engine) -> Iterator[Engine]:
    made = create_engine(engine.url, isolation_level="READ COMMITTED")
    yield made
    made.dispose()


@pytest.mark.parametrize("bad", [None, 7], ids=["accepted", "split"])
async def test_what_was_settled_unheard_is_counted_once_and_not_as_lost(
    bad: int | None, engine: Engine, connected: Engine
) -> None:
    rows, seen, producer = Rows(engine), list[Event](), Picky(bad)
    rows.add(20)
    worker = Worker(
        Deaf(connected, worker="w", lease_seconds=60),
        producer,
        name="w",
        policy=Policy(),
        options=Options(concurrency=2),
        events=Events([seen.append]),
        directory=Nobody(),
    )
    async with asyncio.timeout(40):
        report = await worker.run(Until.DRAINED)
    good = 20 if bad is None else 19
    assert rows.counts() == ({"done": 20} if bad is None else {"done": 19, "failed": 1})
    assert sorted(producer.produced) == [id_ for id_ in range(1, 21) if id_ != bad], "something was sent twice"
    assert not [event for event in seen if isinstance(event, CallLost)]
    settled = [event.call_id for event in seen if isinstance(event, CallSettled)]
    assert len(settled) == len(set(settled)) == rows.one("select count(*) from relay.call")
    assert (report.done, report.lost_calls, report.unknown) == (good, 0, 0)


def test_what_somebody_else_settled_meanwhile_is_lost_also_when_tried_before(engine: Engine, connected: Engine) -> None:
    rows, store = Rows(engine), Store(connected, worker="w", lease_seconds=60)
    rows.add(2)
    (batch,) = store.claim(ClaimLimits(slots=1)).batches
    rows.lapse_leases()
    assert len(store.recover(Policy(), random.Random(1))) == 1
    for answer in (Answered((ACCEPTED,) * 2), Refused(Fault.UNKNOWN, "relay.timeout"), Refused(Fault.CONTENT, "41")):
        settlement = decide(batch, answer, Policy(), random.Random(1))
        assert store.settle([settlement], {}, tried=[batch.key]) == Settled(frozenset({batch.key}), ())
    assert store.settle([released(batch)], {}, tried=[batch.key]).lost == {batch.key}


def test_halves_that_were_named_unheard_are_taken_with_leases_that_run_anew(engine: Engine, connected: Engine) -> None:
    rows, store = Rows(engine), Store(connected, worker="w", lease_seconds=60)
    rows.add(4)
    (batch,) = store.claim(ClaimLimits(slots=1)).batches
    settlement = decide(batch, Refused(Fault.CONTENT, "41"), Policy(), random.Random(1))
    children = store.settle([settlement], {}).children
    rows.run("update relay.call set lease_until = lease_until - interval '50 seconds' where settled_at is null")
    again = store.settle([settlement], {}, tried=[batch.key])
    assert again.lost == frozenset()
    assert sorted(again.children, key=lambda child: child.call_id) == list(children)
    assert rows.one("select min(lease_until - now()) > interval '55 seconds' from relay.call where settled_at is null")
    assert store.extend([child.key for child in children]) == {child.key for child in children}


@pytest.fixture
def deaf(connected: Engine, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Put ``before`` or ``after`` in: the connection is lost before or after the next commit is made."""
    trouble, commit = list[str](), connected.dialect.do_commit

    def do_commit(raw: Any) -> None:
        when = trouble.pop() if trouble else ""
        if when == "before":
            raw.rollback()
        else:
            commit(raw)
        if when:
            raise psycopg.OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(connected.dialect, "do_commit", do_commit)
    return trouble


@pytest.mark.parametrize("key", [None, "k"], ids=["free", "in order"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_what_was_claimed_unheard_is_given_back_by_the_next_claim_and_is_not_unknown(
    when: str, key: str | None, engine: Engine, connected: Engine, deaf: list[str]
) -> None:
    rows, store = Rows(engine), Store(connected, worker="w", lease_seconds=60)
    ids = rows.add(3, key_each=key) if key else rows.add(3)
    deaf.append(when)
    with pytest.raises(UnreachableError):
        store.claim(ClaimLimits(slots=1))
    named = rows.calls()
    assert len(named) == (when == "after")
    (batch,) = store.claim(ClaimLimits(slots=1)).batches
    assert [message.id for message in batch.messages] == ids
    assert [call.outcome for call in rows.calls()] == ["released"] * len(named) + [None]
    store.settle([decide(batch, Answered((ACCEPTED,) * 3), Policy(), random.Random(1))], {})
    assert (rows.counts(), rows.one("select count(*) from relay.attempt")) == ({"done": 3}, 0)


def test_what_was_claimed_unheard_is_found_also_when_the_commit_comes_through_later(
    engine: Engine, connected: Engine, deaf: list[str]
) -> None:
    """And what is given back is never a call that somebody holds."""
    rows, store = Rows(engine), Store(connected, worker="w", lease_seconds=60)
    rows.add(1)
    deaf.append("before")
    with pytest.raises(UnreachableError):
        store.claim(ClaimLimits(slots=1))
    (nonce,) = store.memory.unheard.nonces()
    (held,) = store.claim(ClaimLimits(slots=1)).batches
    rows.run(
        "insert into relay.call (account, worker, message_ids, lease_until, nonce) "
        "values ('default', 'w', array[99], now() + interval '1 minute', :nonce)",
        nonce=nonce,
    )
    assert store.claim(ClaimLimits(slots=1)).batches == ()
    outcomes = {call.id: call.outcome for call in rows.calls()}
    assert outcomes == {held.call_id: None, held.call_id + 1: "released"}


def test_calls_of_the_version_before_have_no_nonce_and_go_on(engine: Engine, connected: Engine) -> None:
    """Its workers name neither the column nor the nonce; what they leave behind is recovered as ever."""
    rows, store = Rows(engine), Store(connected, worker="w", lease_seconds=60)
    (id_,) = rows.add()
    rows.run(
        "insert into relay.call (account, worker, message_ids, lease_until) "
        "values ('default', 'before', array[:id], now())",
        id=id_,
    )
    (settlement,) = store.recover(Policy(), random.Random(1))
    assert settlement.nonce == 0
    assert (rows.calls()[0].outcome, rows.attempts(id_)[0].outcome) == ("unknown", "unknown")
    assert store.settle([settlement], {}, tried=[settlement.key]).lost == {settlement.key}
