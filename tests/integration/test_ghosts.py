"""Accounts that have messages and no credentials: they are paused together, cost no call, and nobody waits for them.

What is counted are claims, look-ups, transactions and calls, never time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest
from sqlalchemy import Engine

from relay import events
from relay.message import Answer, Batch
from relay.store import Claim, ClaimLimits
from tests.fixtures.floors import Clock, resting_floors
from tests.fixtures.rows import Rows
from tests.fixtures.scripted import Bench, Phonebook, Scripted, accept
from tests.fixtures.waiting import eventually_async

GHOSTS = 5000
CLAIMS = 12  # until a claim comes to a healthy account, however many ghosts there are
HAUNT = """
insert into relay.outbox (topic, content, account)
select 't', '{}', 'ghost-' || lpad(n::text, 6, '0') from generate_series(1, :count) n
"""


class Platform(Scripted):
    """Like the TMC producer: without credentials no call can be made."""

    needs_credentials = True


@dataclass
class CountingBook(Phonebook):
    """How often it was asked, and how often for whom."""

    looks: int = 0
    asked: Counter[str] = field(default_factory=Counter)

    def refresh(self, accounts: Iterable[str]) -> None:
        self.looks += 1
        self.asked.update(accounts)


@pytest.fixture
def rows(engine: Engine) -> Rows:
    return Rows(engine)


@pytest.fixture
def book() -> CountingBook:
    return CountingBook({"zoo": ("77", "f")})


class Counted(Bench):
    """Counts the claims, and at how many of them an account's messages were produced."""

    def __init__(self, engine: Engine, directory: CountingBook, **options: Any) -> None:
        self.claims = self.pausings = 0
        self.at: dict[str, int] = {}
        self.producer = Platform(self._produced)
        super().__init__(engine, self.producer, directory=directory, **options)
        claim, pause_all = self.store.claim, self.store.pause_all

        def counting(limits: ClaimLimits) -> Claim:
            self.claims += 1
            return claim(limits)

        def pausing(orders: Any) -> None:
            self.pausings += 1
            pause_all(orders)

        self.store.claim, self.store.pause_all = counting, pausing  # type: ignore[method-assign]

    def _produced(self, batch: Batch) -> Answer:
        self.at[batch.account] = self.claims
        return accept(batch)


def done(rows: Rows, account: str) -> Callable[[], Any]:
    async def is_done() -> bool:
        return bool(rows.one("select bool_and(status = 'done') from relay.outbox where account = :a", a=account))

    return is_done


def paused(rows: Rows, count: int) -> Callable[[], Any]:
    async def are_paused() -> bool:
        return bool(rows.one("select count(*) from relay.pause where error_code = 'relay.no_credentials'") == count)

    return are_paused


def either(one: Callable[[], Any], other: Callable[[], Any]) -> Callable[[], Any]:
    async def is_one() -> bool:
        return await one() or await other()

    return is_one


async def test_five_thousand_ghosts_cost_a_healthy_account_a_few_claims_and_no_call_is_made_for_them(
    rows: Rows, engine: Engine, book: CountingBook
) -> None:
    bench = Counted(engine, book)
    async with bench.running():
        rows.add(account="zoo")
        await eventually_async(done(rows, "zoo"))
        before, looks = bench.claims, book.looks
        with engine.begin() as connection:
            connection.exec_driver_sql(HAUNT.replace(":count", str(GHOSTS)))
            connection.exec_driver_sql("insert into relay.outbox (topic, content, account) values ('t', '{}', 'zoo')")
        await eventually_async(done(rows, "zoo"))
        assert bench.at["zoo"] - before <= CLAIMS
        await eventually_async(paused(rows, GHOSTS), deadline_seconds=30)
        assert bench.pausings <= GHOSTS / 100
        assert book.looks - looks <= GHOSTS / 50

        # One more message of the healthy account, now that all of them are paused.
        before = bench.claims
        rows.add(account="zoo")
        await eventually_async(done(rows, "zoo"))
        assert bench.at["zoo"] - before <= CLAIMS

        # Two ghosts get credentials: what they have flows, and the others stay where they are.
        book.identities |= {"ghost-000001": ("88", "x"), "ghost-004999": ("88", "y")}
        for account in ("ghost-000001", "ghost-004999"):
            await eventually_async(done(rows, account))
        await eventually_async(paused(rows, GHOSTS - 2))

    assert {batch.account for batch in bench.producer.calls} == {"zoo", "ghost-000001", "ghost-004999"}
    assert rows.one("select count(*) from relay.call where account like 'ghost-%'") == 2
    assert rows.one("select sum(attempts) from relay.outbox where status = 'pending'") == 0
    (why,) = rows.read("select distinct until, credential, by, replace(reason, substr(scope, 9), 'X') from relay.pause")
    said = "credentials refused: no app key and secret are configured for the account 'X'"
    assert tuple(why) == (None, "none", "w", said)
    told = bench.told(events.Paused)
    assert sum(1 + (event.more or 0) for event in told) == GHOSTS
    assert len(told) <= GHOSTS / 50
    assert {e.scope for e in bench.told(events.PauseLifted)} == {"account:ghost-000001", "account:ghost-004999"}


async def test_a_new_account_is_found_by_its_new_message_behind_thousands_that_are_paused(
    rows: Rows, engine: Engine, book: CountingBook
) -> None:
    """Nobody has met it, and its name comes last; a worker that has just started has not met anybody."""
    rows.run(HAUNT, count=2000)
    rows.run("insert into relay.pause (scope, reason, by) select 'account:' || account, 'x', 'me' from relay.outbox")
    bench = Counted(engine, book)
    async with bench.running():
        rows.add(account="zoo", key="k")
        await eventually_async(done(rows, "zoo"))
    assert bench.at["zoo"] <= CLAIMS
    assert rows.one("select count(*) from relay.call") == 1
    assert book.asked.keys() <= {"zoo", "default"}


async def test_what_is_resumed_behind_thousands_that_are_paused_is_found_again(
    rows: Rows, engine: Engine, book: CountingBook
) -> None:
    """It is on no roster any more, and nothing new says so: somebody has to walk there."""
    book.identities["ghost-000777"] = ("77", "f")
    rows.run(HAUNT, count=2000)
    rows.run("insert into relay.pause (scope, reason, by) select 'account:' || account, 'x', 'me' from relay.outbox")
    rows.add(5000, account="zoo")  # so that no new message is a ghost's
    bench = Counted(engine, book)
    async with bench.running():
        await eventually_async(done(rows, "zoo"), deadline_seconds=30)
        rows.run("delete from relay.pause where scope = 'account:ghost-000777'")
        await eventually_async(done(rows, "ghost-000777"))


async def test_a_drain_ends_beside_ghosts_and_finds_whoever_has_credentials(
    rows: Rows, engine: Engine, book: CountingBook
) -> None:
    rows.run(HAUNT, count=300)
    rows.add(120, account="zoo")
    book.identities["ghost-000150"] = ("88", "x")
    report = await Counted(engine, book).drain()
    assert (report.done, report.left, len(report.pauses)) == (121, 299, 299)
    book.identities |= {f"ghost-{n:06}": ("88", "x") for n in range(1, 301)}
    second = Counted(engine, book)
    assert (await second.drain()).done == 299
    assert sum(1 + (event.more or 0) for event in second.told(events.PauseLifted)) == 299


async def test_a_credential_that_goes_away_ends_the_calls_and_they_go_on_when_it_is_back(
    rows: Rows, engine: Engine, book: CountingBook
) -> None:
    bench = Counted(engine, book)
    async with bench.running():
        rows.add(account="zoo")
        await eventually_async(done(rows, "zoo"))
        gone = book.identities.pop("zoo")
        rows.add(account="zoo")
        # Looked up a second ago: only the next look says that it is gone, and then the call is given back unmade.
        are_paused = paused(rows, 1)
        while not await are_paused():
            rows.add(account="zoo")
            await eventually_async(either(done(rows, "zoo"), are_paused))
        made = len(bench.producer.calls)
        rows.add(account="zoo")
        book.identities["zoo"] = gone
        await eventually_async(done(rows, "zoo"))
    assert len(bench.producer.calls) > made
    assert rows.one("select count(*) from relay.call where error_code is not null") == 0


async def test_ghosts_cost_nothing_where_claims_are_told_where_to_look(
    rows: Rows, engine: Engine, book: CountingBook
) -> None:
    """As under a held vacuum horizon."""
    rows.run(HAUNT, count=500)
    rows.add(account="zoo")
    bench = Counted(engine, book, floors=resting_floors(Clock()))
    async with bench.running():
        await eventually_async(done(rows, "zoo"))
        await eventually_async(paused(rows, 500))
        before = bench.claims
        rows.add(account="zoo")
        await eventually_async(done(rows, "zoo"))
        assert bench.at["zoo"] - before <= CLAIMS
    assert {batch.account for batch in bench.producer.calls} == {"zoo"}
