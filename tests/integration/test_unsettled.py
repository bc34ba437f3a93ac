"""What was sent and is not settled stays bounded, whatever keeps it from being settled: it may be sent again."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import pytest
from sqlalchemy import Engine, text

from relay import events
from relay.errors import UnreachableError
from relay.message import CallKey
from relay.outcomes import Settlement
from relay.store import Claim, ClaimLimits, Sent, Settled, Store
from relay.worker import flights, settling
from tests.fixtures.rows import Rows
from tests.fixtures.scripted import Bench, Scripted
from tests.fixtures.waiting import eventually_async

SLOTS = 2
AT_MOST = flights._OPEN_PER_SLOT * SLOTS  # calls


@pytest.fixture
def rows(engine: Engine) -> Rows:
    return Rows(engine)


async def test_what_is_sent_while_a_lock_keeps_all_from_being_settled_is_bounded(rows: Rows, engine: Engine) -> None:
    """As ``create index`` takes it: what is pending can be claimed, what was sent cannot be marked."""
    added = rows.add(3000)
    producer = Scripted()
    bench = Bench(engine, producer, concurrency=SLOTS, batch_size=10, lease_seconds=3.0)

    async def lost_twice() -> bool:
        return len([lost for lost in bench.told(events.DatabaseLost) if lost.stage == "settle"]) > 1

    async def all_is_done() -> bool:
        return rows.counts() == {"done": len(added)}

    with engine.connect() as holder:
        holder.execute(text("lock table relay.outbox in share mode"))
        async with bench.running():
            await eventually_async(lost_twice)
            sent = len(producer.calls)
            assert "holds a lock on outbox" in await bench.worker.readiness.trouble()
            holder.rollback()
            await eventually_async(all_is_done, deadline_seconds=20)
            assert await bench.worker.readiness.trouble() == ""
    assert SLOTS <= sent <= AT_MOST
    assert producer.produced == dict.fromkeys(added, 1)
    assert rows.one("select count(*) from relay.attempt") == 0


async def test_a_message_that_somebody_has_locked_keeps_no_other_from_being_settled(rows: Rows, engine: Engine) -> None:
    """An open transaction in somebody's terminal: its message waits, and is not sent again."""
    added = rows.add(60)
    producer = Scripted(gated=True)
    bench = Bench(engine, producer, concurrency=SLOTS, batch_size=5, lease_seconds=3.0)

    async def done(count: int) -> bool:
        return rows.counts().get("done") == count

    with engine.connect() as holder:
        async with bench.running():
            await producer.entered.wait()
            locked = producer.calls[0].messages[0].id
            holder.execute(text("select from relay.outbox where id = :id for update"), {"id": locked})
            producer.gate.set()
            await eventually_async(lambda: done(55), deadline_seconds=20)
            await eventually_async(bench.worker.readiness.trouble)
            assert "1 made and not settled: " in await bench.worker.readiness.trouble()
            holder.rollback()
            await eventually_async(lambda: done(60), deadline_seconds=20)
    assert producer.produced == dict.fromkeys(added, 1)
    assert rows.one("select count(*) from relay.attempt") == 0


class Away(Store):
    """It can claim and it cannot settle, until somebody says so; ``claims_in_vain``: those begun while it knew."""

    away = True
    known = False
    claims_in_vain = 0

    def claim(self, limits: ClaimLimits) -> Claim:
        self.claims_in_vain += self.known
        return super().claim(limits)

    def settle(self, settlements: Sequence[Settlement], sent: Sent, tried: Collection[CallKey] = ()) -> Settled:
        if self.away:
            raise UnreachableError("PostgreSQL was lost.")
        self.known = False
        return super().settle(settlements, sent, tried)


async def test_nothing_more_is_claimed_or_sent_once_it_is_known_that_nothing_can_be_settled(
    rows: Rows, engine: Engine
) -> None:
    added = rows.add(300)
    producer = Scripted()
    bench = Bench(engine, producer, concurrency=SLOTS, batch_size=10)
    store = bench.worker._store = bench.worker._settling._store = Away(engine, worker="w", lease_seconds=30)

    async def lost(times: int) -> bool:
        return len(bench.told(events.DatabaseLost)) >= times

    async def all_is_done() -> bool:
        return rows.counts() == {"done": len(added)}

    async with bench.running():
        await eventually_async(lambda: lost(1))
        store.known, sent = True, len(producer.calls)
        await eventually_async(lambda: lost(4))
        assert (store.claims_in_vain, len(producer.calls) - sent) == (0, 0)
        store.away = False
        await eventually_async(all_is_done)
    assert sent <= AT_MOST
    assert producer.produced == dict.fromkeys(added, 1)


REFUSING = """
create function refuse() returns trigger language plpgsql as $$
begin
    if new.account like 'poison%' then raise exception 'not this one'; end if;
    return new;
end $$;
create trigger refusing before update on relay.call for each row when (new.settled_at is not null)
    execute function refuse()
"""


async def test_an_account_whose_calls_are_all_refused_is_left_alone_and_others_go_on(
    rows: Rows, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settling, "_REFUSED_MAX_SECONDS", 0.5)
    poison, good = rows.add(100, account="poison"), rows.add(100, account="good")
    rows.run(REFUSING)
    producer = Scripted()
    bench = Bench(engine, producer, concurrency=SLOTS, batch_size=1)

    async def good_is_done() -> bool:
        return rows.counts().get("done") == len(good)

    async def all_is_done() -> bool:
        return rows.counts() == {"done": len(poison) + len(good)}

    async with bench.running():
        await eventually_async(good_is_done, deadline_seconds=20)
        good += rows.add(5, account="good")
        await eventually_async(good_is_done)
        sent = len(producer.produced.keys() & set(poison))
        rows.run("drop trigger refusing on relay.call")
        await eventually_async(all_is_done, deadline_seconds=20)
    assert 16 <= sent <= settling._REFUSED_PER_ACCOUNT + AT_MOST
    assert producer.produced == dict.fromkeys(poison + good, 1)
