"""``deliver_before`` at the moment of sending: behind the pace, in the backlog, in the halves of a split call."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import Engine

from relay import events
from relay.message import Fault, Refused
from relay.store import ClaimLimits, Store
from tests.fixtures.rows import Rows
from tests.fixtures.scripted import Bench, Phonebook, Scripted, accept

pytestmark = pytest.mark.usefixtures("independent")  # a float of few digits would put every deadline far off

WANTED_FOR_A_MOMENT = (
    "update relay.outbox set deliver_before = clock_timestamp() + interval '0.7 s' where id = any (:ids)"
)
EXPIRE = "update relay.outbox set deliver_before = now() where id = any (:ids)"


@pytest.fixture
def rows(engine: Engine) -> Rows:
    made = Rows(engine)
    made.run("alter table relay.outbox disable trigger outbox_facts_stay")  # so that a test can let messages expire
    return made


def assert_truthful(rows: Rows, producer: Scripted, expired: set[int]) -> None:
    """What expired was never sent; every other row names the position at which it was."""
    assert not set(producer.produced) & expired
    failed = rows.read("select id, error_code, attempts from relay.outbox where status <> 'done'")
    assert {tuple(row) for row in failed} == {(id_, "relay.expired", 0) for id_ in expired}
    for call in producer.calls:
        assert rows.call(call.call_id).message_ids == [message.id for message in call.messages]
    wrong = "select count(*) from relay.outbox o join relay.call c on c.id = o.call_id where o.status = 'done'"
    assert rows.one(wrong + " and c.message_ids[o.result_index + 1] <> o.id") == 0


async def test_behind_the_pace(rows: Rows, engine: Engine) -> None:
    late = set(rows.add(10, deliver_within_seconds=0.4))
    added = rows.add(40)
    rows.run(  # somebody else's calls have the next turns
        "insert into relay.pace (app_key, next_at) values ('key', clock_timestamp() + interval '0.8 s')"
    )
    producer = Scripted()
    bench = Bench(engine, producer, directory=Phonebook({"default": ("key", "f")}), calls_per_second=100.0)
    report = await bench.drain()
    assert (report.done, report.failed) == (len(added), len(late))
    assert_truthful(rows, producer, late)
    assert sum(told.expired for told in bench.told(events.Claimed)) == len(late)


@pytest.mark.parametrize("slow", [1, 2], ids=["in the halves of a split call", "in the backlog behind the first half"])
@pytest.mark.parametrize("which", ["some", "all"])
async def test_while_another_call_takes_its_time(rows: Rows, engine: Engine, slow: int, which: str) -> None:
    added = rows.add(20, deliver_within_seconds=3600)
    late = set(added[12:15]) if which == "some" else set(added[10:])
    producer = Scripted(lambda batch: Refused(Fault.CONTENT, "41") if len(batch) == 20 else accept(batch))

    async def slowly() -> None:
        if len(producer.calls) == slow:
            await asyncio.sleep(0.9)  # what passes is what is tested

    rows.run(WANTED_FOR_A_MOMENT, ids=sorted(late))
    producer.inside = slowly
    await Bench(engine, producer, concurrency=1).drain()
    assert not {m.id for call in producer.calls[1:] for m in call.messages} & late
    assert rows.counts() == {"done": 20 - len(late), "failed": len(late)}
    assert rows.one("select array_agg(distinct error_code) from relay.outbox where status = 'failed'") == [
        "relay.expired"
    ]
    for call in producer.calls:
        assert rows.call(call.call_id).message_ids == [message.id for message in call.messages]


def test_the_database_decides_what_has_expired(rows: Rows, engine: Engine) -> None:
    """A worker whose clock is ahead asks, and is told that everything is still wanted."""
    added = rows.add(3, deliver_within_seconds=3600) + rows.add(1)
    store = Store(engine, worker="w", lease_seconds=60)
    (batch,) = store.claim(ClaimLimits(slots=1)).batches
    assert store.leave_out_expired(batch.key) == set(added)
    rows.run(EXPIRE, ids=added[:1])
    assert store.leave_out_expired(batch.key) == set(added[1:])
    assert rows.call(batch.call_id).message_ids == added[1:]
    assert store.leave_out_expired(batch.key._replace(nonce=7)) == set()
    rows.run(EXPIRE, ids=added)
    assert store.leave_out_expired(batch.key) == set()
    assert rows.call(batch.call_id).message_ids == added[1:]  # it is given back as it was claimed


def test_a_deadline_that_is_infinite_or_strange_is_claimed(rows: Rows, engine: Engine) -> None:
    rows.add(3)
    for number, value in enumerate(("infinity", "55000-01-01 00:00+00", "9999-12-31 23:59:59+00"), start=1):
        rows.run(
            "update relay.outbox set deliver_before = cast(:value as timestamptz) where id = :id",
            id=number,
            value=value,
        )
    (batch,) = Store(engine, worker="w", lease_seconds=60).claim(ClaimLimits(slots=1)).batches
    assert [message.deliver_before is not None for message in batch.messages] == [True] * 3
    assert batch.messages[0].deliver_before == float("inf")
