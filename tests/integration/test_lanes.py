"""One worker, several producers: each message arrives where its account says, and trouble in one holds up no other."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from sqlalchemy import Engine

from relay import events
from relay.errors import ConfigurationError
from relay.message import Answer, Batch, Fault, Message, Refused
from relay.worker import Route
from tests.fixtures.rows import Rows
from tests.fixtures.scripted import Bench, Phonebook, Scripted, accept
from tests.fixtures.waiting import eventually_async


@dataclass
class Signposts(Phonebook):
    """A directory that also says where to; a test changes both."""

    routes: dict[str, Route] = field(default_factory=dict)
    why: dict[str, str] = field(default_factory=dict)

    def route(self, account: str) -> Route | None:
        return self.routes.get(account)

    def lost(self, account: str) -> str | None:
        return self.why.get(account)

    def send(self, account: str, producer: Scripted, batch_size: int = 50) -> None:
        route = next((each for each in self.routes.values() if each.producer is producer), None)
        self.routes[account] = route or Route(producer, batch_size, f"way of {account}")
        self.identities[account] = ("", self.routes[account].fingerprint)


class Sized(Scripted):
    def __init__(self, max_batch: int, play: Callable[[Batch], Answer] = accept, *, gated: bool = False) -> None:
        super().__init__(play, gated=gated)
        self.max_batch = max_batch


class Needy(Scripted):
    needs_credentials = True


@pytest.fixture
def rows(engine: Engine) -> Rows:
    return Rows(engine)


@pytest.fixture
def posts() -> Signposts:
    return Signposts()


def bench_of(engine: Engine, producer: Scripted, posts: Signposts, **options: Any) -> Bench:
    return Bench(engine, producer, directory=posts, routing=posts, **options)


def accounts_of(producer: Scripted) -> set[str]:
    return {batch.account for batch in producer.calls}


def done(rows: Rows, account: str) -> Callable[[], Any]:
    async def is_done() -> bool:
        return bool(rows.one("select bool_and(status = 'done') from relay.outbox where account = :a", a=account))

    return is_done


def paused(rows: Rows, account: str) -> Callable[[], Any]:
    async def is_paused() -> bool:
        return bool(rows.one("select count(*) from relay.pause where scope = :s", s=f"account:{account}"))

    return is_paused


@pytest.mark.parametrize("needy", [False, True], ids=["needs nothing", "needs credentials"])
async def test_each_message_arrives_where_its_account_says_in_calls_of_the_size_taken_there(
    rows: Rows, engine: Engine, posts: Signposts, needy: bool
) -> None:
    common: Scripted = Needy() if needy else Scripted()
    large, small = Sized(500), Sized(3)
    posts.identities["shop"] = ("77", "f")
    posts.send("large", large, 400)
    posts.send("small", small)
    posts.send("small too", small)
    counts = {"shop": 450, "large": 1000, "small": 100, "small too": 4}
    expected = {account: set(rows.add(account=account, count=count)) for account, count in counts.items()}
    bench = bench_of(engine, common, posts, batch_size=40)
    report = await bench.drain()
    assert (report.done, report.left) == (1554, 0)
    for producer, accounts, largest in (
        (common, {"shop"}, 40),
        (large, {"large"}, 400),
        (small, {"small", "small too"}, 3),
    ):
        assert accounts_of(producer) == accounts
        assert max(map(len, producer.calls)) == largest
        assert set(producer.produced) == set().union(*(expected[account] for account in accounts))
        assert set(producer.produced.values()) == {1}
        assert (producer.opened, producer.closed) == (1, 1)


class Sorting(Scripted):
    """A call for each topic, at most 100 of what its messages say they weigh; what says nothing goes alone."""

    max_bytes = 100

    def destination(self, message: Message) -> str:
        return message.topic

    def wire_size(self, message: Message) -> int:
        return int(json.loads(message.content)["weight"])


@pytest.mark.parametrize("common", [False, True], ids=["of an account", "of the settings"])
async def test_a_call_has_one_destination_and_is_as_large_as_its_producer_measures(
    rows: Rows, engine: Engine, posts: Signposts, common: bool
) -> None:
    sorting = Sorting()
    if not common:
        posts.send("log", sorting)
    for topic, weight, count in (("a", 30, 20), ("b", 50, 20), ("c", 1000, 3)):
        rows.add(count, account="log", topic=topic, content=json.dumps({"weight": weight}))
    (silent,) = rows.add(account="log", topic="d")
    bench = bench_of(engine, sorting if common else Scripted(), posts)
    assert (await bench.drain()).done == 44
    assert set(sorting.produced.values()) == {1}
    largest = Counter[str]()
    for batch in sorting.calls:
        (topic,) = {message.topic for message in batch.messages}
        largest[topic] = max(largest[topic], len(batch))
    assert largest == {"a": 3, "b": 2, "c": 1, "d": 1}
    assert sorting.produced[silent] == 1


async def test_a_far_end_that_is_down_holds_up_no_other(rows: Rows, engine: Engine, posts: Signposts) -> None:
    down = Sized(1, lambda _: Refused(Fault.PROVIDER, "down"))
    common = Scripted()
    for number in range(3):
        posts.send(f"down{number}", down)
        rows.add(account=f"down{number}", count=40)
    bench = bench_of(engine, common, posts, concurrency=4)
    async with bench.running():
        await eventually_async(lambda: closed(bench, posts))
        rows.add(account="shop", count=500)
        await eventually_async(done(rows, "shop"))
        assert bench.worker._limits.calls == 4, "the gate of the others is open"
    assert accounts_of(common) == {"shop"}
    tried = rows.read("select id from relay.outbox where account like 'down%' and attempts > 0")
    assert set(down.produced) == {row.id for row in tried}


async def closed(bench: Bench, posts: Signposts) -> bool:
    lane = bench.worker._lanes.by_account.get("down0")
    return lane is not None and lane.limits.calls == 0


async def test_the_producer_of_the_settings_that_is_down_holds_up_no_other(
    rows: Rows, engine: Engine, posts: Signposts
) -> None:
    down, other = Scripted(lambda _: Refused(Fault.PROVIDER, "down")), Scripted()
    posts.send("other", other)
    rows.add(account="shop", count=400)
    bench = bench_of(engine, down, posts, concurrency=4, batch_size=10)

    async def gate_closed() -> bool:
        return bench.worker._limits.calls == 0

    async with bench.running():
        await eventually_async(gate_closed)
        rows.add(account="other", count=100)
        await eventually_async(done(rows, "other"))
    assert (accounts_of(down), accounts_of(other)) == ({"shop"}, {"other"})


@pytest.mark.parametrize("needy", [False, True], ids=["needs nothing", "needs credentials"])
async def test_an_account_whose_way_nobody_knows_waits_and_goes_on_by_itself(
    rows: Rows, engine: Engine, posts: Signposts, needy: bool
) -> None:
    common = Needy() if needy else Scripted()
    posts.identities["shop"] = ("77", "f")
    posts.why["log"] = "there is no producer 'stdot'\nand more"
    rows.add(account="log")
    rows.add(account="shop")
    bench = bench_of(engine, common, posts)
    async with bench.running():
        await eventually_async(done(rows, "shop"))
        await eventually_async(paused(rows, "log"))
        (pause,) = rows.read("select reason, error_code, until from relay.pause")
        assert tuple(pause) == (
            "nothing can be sent for the account 'log': there is no producer 'stdot'; and more",
            "relay.no_credentials",
            None,
        )
        assert accounts_of(common) == {"shop"}
        assert rows.one("select attempts from relay.outbox where account = 'log'") == 0
        del posts.why["log"]
        posts.identities["log"] = ("78", "g") if needy else ("", "")
        await eventually_async(done(rows, "log"))
    assert [event.scope for event in bench.told(events.PauseLifted)] == ["account:log"]


async def test_a_producer_that_cannot_be_opened_is_tried_again(
    rows: Rows, engine: Engine, posts: Signposts, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Shut(Scripted):
        refuses = True

        async def open(self) -> None:
            await super().open()
            if self.refuses:
                raise ConfigurationError("the folder is gone")

    monkeypatch.setattr("relay.worker.lanes._AGAIN_SECONDS", 0.1)
    shut, common = Shut(), Scripted()
    posts.send("log", shut)
    rows.add(account="log")
    rows.add(account="shop")
    bench = bench_of(engine, common, posts)
    async with bench.running():
        await eventually_async(done(rows, "shop"))
        await eventually_async(paused(rows, "log"))
        assert rows.one("select reason from relay.pause").endswith("'log': the folder is gone")
        assert [event.error for event in bench.told(events.AccountsTroubled)] == ["the folder is gone"]
        assert shut.calls == []
        shut.refuses = False
        await eventually_async(done(rows, "log"))
    assert accounts_of(shut) == {"log"}
    assert (shut.opened > 1, shut.closed) == (True, 1)


async def test_what_goes_another_way_meanwhile_is_given_back_and_sent_there(
    rows: Rows, engine: Engine, posts: Signposts
) -> None:
    """Two calls are claimed for one slot: the second one waits while its account is sent elsewhere."""
    first, second = Sized(1, gated=True), Sized(1)
    posts.send("log", first)
    ids = rows.add(account="log", count=3)
    bench = bench_of(engine, Scripted(), posts, concurrency=1)
    async with bench.running():
        await first.entered.wait()
        posts.send("log", second)
        bench.worker._pauses.refused("log")  # it is looked up again with the next claim
        await bench.worker._pauses.meet(["log"])
        first.gate.set()
        await eventually_async(done(rows, "log"))
    assert list(first.produced) == ids[:1], "what was sent already is settled"
    assert sorted(second.produced) == ids[1:]
    assert (first.closed, second.closed) == (1, 1)


async def test_a_route_whose_secret_is_refused_waits_for_another_one(
    rows: Rows, engine: Engine, posts: Signposts
) -> None:
    refusing, mended = Scripted(lambda _: Refused(Fault.CREDENTIALS, "line.key")), Scripted()
    posts.send("log", refusing)
    rows.add(account="log")
    bench = bench_of(engine, Scripted(), posts)
    async with bench.running():
        await eventually_async(paused(rows, "log"))
        assert rows.one("select credential from relay.pause") == "way of log"
        posts.routes["log"] = Route(mended, 50, "another")
        posts.identities["log"] = ("", "another")
        await eventually_async(done(rows, "log"))
    assert len(refusing.calls) == 1
