"""The calls a process holds: every call accepted ends as exactly one Finished, whatever happens to it."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

import pytest

from relay.errors import RefusedError, UnreachableError
from relay.events import Event, Events, ProducerFailed, ProducerRaised
from relay.message import ACCEPTED, Answer, Answered, Batch, CallKey, Fault, Message, Outcome, Refused
from relay.outcomes import PauseOrder, Policy
from relay.producers import NotSent
from relay.worker.deadlines import Deadlines
from relay.worker.flights import Finished, Flights
from relay.worker.lanes import Lane, Lanes
from relay.worker.limits import Limits
from relay.worker.pauses import Pauses

Play = Callable[[Batch], Answer]


class Scripted:
    """Answers when told to: ``entered`` are the calls that began, ``gate`` lets them end, ``play`` says how."""

    max_batch, max_bytes = 50, 10**6

    def __init__(self) -> None:
        self.entered: list[int] = []
        self.entering = asyncio.Condition()
        self.gate = asyncio.Event()
        self.play: Play = lambda batch: Answered((ACCEPTED,) * len(batch))

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def produce(self, batch: Batch) -> Answer:
        async with self.entering:
            self.entered.append(batch.call_id)
            self.entering.notify_all()
        await self.gate.wait()
        return self.play(batch)


class FreePace(Pauses):
    """Nothing is paused and every call's turn is now, unless a test says otherwise."""

    def __init__(self) -> None:
        self.paused = False
        self.turn: Callable[[], Awaitable[object]] | None = None

    async def wait_for_pace(self, account: str) -> None:
        if self.turn is not None:
            await self.turn()

    def is_paused(self, account: str) -> bool:
        return self.paused

    def ordered(self, order: PauseOrder) -> None:
        self.paused = True


class NoDeadlines(Deadlines):
    """Everything is still wanted, but for messages a test has let expire."""

    def __init__(self) -> None:
        self.expired: set[int] = set()
        self.refuses = False

    async def still_wanted(self, batch: Batch) -> Batch | None:
        if self.refuses:
            raise RefusedError("no")
        messages = tuple(message for message in batch.messages if message.id not in self.expired)
        return replace(batch, messages=messages) if messages else None


class Room:
    def __init__(self, slots: int = 2, lease_seconds: float = 60.0) -> None:
        self.events: list[Event] = []
        self.producer = Scripted()
        self.pace = FreePace()
        self.deadlines = NoDeadlines()
        rng = random.Random(1)
        self.flights = Flights(
            Lanes(Lane(self.producer, Limits(slots=slots, batch_size=50, max_bytes=10**6, rng=rng))),
            self.pace,
            self.deadlines,
            lease_seconds=lease_seconds,
            policy=Policy(),
            events=Events([self.events.append]),
            rng=rng,
        )

    def accept(self, *call_ids: int, claimed_seconds_ago: float = 0.0) -> None:
        batches = [
            Batch(id_, "a", (Message(10 * id_, "t", "{}"), Message(10 * id_ + 1, "t", "{}"))) for id_ in call_ids
        ]
        self.flights.accept(batches, time.monotonic() - claimed_seconds_ago)

    async def in_flight(self, count: int) -> None:
        async with asyncio.timeout(5), self.producer.entering:
            await self.producer.entering.wait_for(lambda: len(self.producer.entered) >= count)

    async def finished(self, count: int) -> dict[int, Finished]:
        """All that has finished, once there is this much; closes it."""
        taken: list[Finished] = []
        async with asyncio.timeout(5):
            while len(taken) < count:
                await self.flights.answered.wait()
                taken += self.flights.take_finished()
        self.flights.close(taken)
        by_call = {each.batch.call_id: each for each in taken}
        assert len(by_call) == len(taken) == count
        return by_call


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    made = Room()
    yield made
    await made.flights.cancel()


def outcomes(finished: Finished) -> list[Outcome]:
    return [verdict.outcome for verdict in finished.settlement.verdicts]


async def test_a_call_is_launched_and_ends_with_its_answer(room: Room) -> None:
    room.accept(1)
    room.flights.launch()
    await room.in_flight(1)
    room.producer.gate.set()
    finished = (await room.finished(1))[1]
    assert (finished.settlement.outcome, finished.settlement.done) == ("ok", ((10, 0), (11, 1)))
    assert finished.sent_monotonic is not None
    assert 0 <= finished.duration_seconds < 5
    assert room.flights.idle


async def test_no_more_calls_run_at_once_than_there_are_slots(room: Room) -> None:
    room.accept(1, 2, 3)
    assert room.flights.free == -1
    room.flights.launch()
    await room.in_flight(2)
    assert (room.flights.running, room.flights.free, room.producer.entered) == (2, -1, [1, 2])
    room.producer.gate.set()
    await room.finished(2)
    assert room.flights.free == 1
    room.flights.launch()
    assert set(await room.finished(1)) == {3}
    assert (room.flights.idle, room.flights.free) == (True, 2)


async def test_a_producer_that_raises_leaves_an_unknown_and_says_so_without_the_text(room: Room) -> None:
    def fail(_: Batch) -> Answer:
        raise RuntimeError("the secret is swordfish")

    room.producer.play = fail
    room.producer.gate.set()
    room.accept(1)
    room.flights.launch()
    finished = (await room.finished(1))[1]
    assert outcomes(finished) == [Outcome.UNKNOWN] * 2
    assert finished.settlement.error_code == "relay.producer_failed"
    assert [event.name for event in room.events] == ["producer.raised", "producer.failed"]
    raised, failed = room.events
    assert failed == ProducerFailed(1, "raised RuntimeError")
    assert isinstance(raised, ProducerRaised)
    assert (raised.call_id, raised.error) == (1, "raised RuntimeError")
    line = fail.__code__.co_firstlineno + 1
    assert raised.frames[-1] == f"{__file__}:{line} in fail"
    assert "swordfish" not in repr((finished, room.events))


async def test_a_producer_that_cannot_reach_its_platform_has_sent_all_the_same(room: Room) -> None:
    def fail(_: Batch) -> Answer:
        raise UnreachableError("gone")

    room.producer.play = fail
    room.producer.gate.set()
    room.accept(1)
    room.flights.launch()
    assert outcomes((await room.finished(1))[1]) == [Outcome.UNKNOWN] * 2


@pytest.mark.parametrize(
    ("answer", "mistake"),
    [
        (Answered((ACCEPTED,)), "gave 1 results for 2 messages"),
        (Answered((ACCEPTED,) * 3), "gave 3 results for 2 messages"),
        (None, "answered with NoneType"),
    ],
)
async def test_an_answer_that_does_not_fit_proves_nothing(room: Room, answer: Answer, mistake: str) -> None:
    room.producer.play = lambda _: answer
    room.producer.gate.set()
    room.accept(1)
    room.flights.launch()
    finished = (await room.finished(1))[1]
    assert (outcomes(finished), finished.settlement.done) == ([Outcome.UNKNOWN] * 2, ())
    assert room.events == [ProducerFailed(1, mistake)]


async def test_cut_off_in_flight_is_unknown_and_in_the_backlog_released(room: Room) -> None:
    room.accept(1, 2, 3)
    room.flights.launch()
    await room.in_flight(2)
    room.flights.release_unsent()
    await room.flights.cancel()
    finished = await room.finished(3)
    assert [finished[id_].settlement.error_code for id_ in (1, 2)] == ["relay.stopped"] * 2
    assert outcomes(finished[1]) == [Outcome.UNKNOWN] * 2
    assert (finished[3].settlement.outcome, finished[3].sent_monotonic) == ("released", None)
    assert room.flights.idle


async def test_what_waits_for_its_turn_is_given_back_when_the_process_stops(room: Room) -> None:
    """Whether it sleeps until its turn, has not begun to, or its turn has just come."""
    room.producer.gate.set()
    turn = asyncio.Event()
    room.pace.turn = turn.wait
    room.accept(1, 2)
    room.flights.launch()
    await asyncio.sleep(0)
    turn.set()
    room.flights.release_unsent()
    finished = await room.finished(2)
    assert [each.settlement.outcome for each in finished.values()] == ["released"] * 2
    assert (room.producer.entered, room.flights.idle) == ([], True)


async def test_cut_off_when_the_producer_knows_that_nothing_was_sent_is_given_back(room: Room) -> None:
    class Resolving(Scripted):
        async def produce(self, batch: Batch) -> Answer:
            try:
                return await super().produce(batch)
            except asyncio.CancelledError:
                raise NotSent from None

    room.producer.__class__ = Resolving
    room.accept(1)
    room.flights.launch()
    await room.in_flight(1)
    room.flights.release_unsent()  # it is being produced: that alone does not end it
    await asyncio.sleep(0)
    assert room.flights.running == 1
    await room.flights.cancel()
    finished = (await room.finished(1))[1]
    assert (finished.settlement.outcome, finished.sent_monotonic) == ("released", None)


async def test_cut_off_before_it_began_was_never_made(room: Room) -> None:
    room.accept(1)
    room.flights.launch()
    await room.flights.cancel()
    assert (await room.finished(1))[1].settlement.outcome == "released"
    assert room.producer.entered == []
    assert (room.flights.idle, room.flights.running) == (True, 0)


async def test_cut_off_while_waiting_for_its_turn_was_never_made(room: Room) -> None:
    waiting = asyncio.Event()

    async def for_ever() -> None:
        waiting.set()
        await asyncio.Event().wait()

    room.pace.turn = for_ever
    room.accept(1)
    room.flights.launch()
    await waiting.wait()
    await room.flights.cancel()
    assert (await room.finished(1))[1].settlement.outcome == "released"


async def test_a_call_whose_lease_may_be_over_is_given_back(room: Room) -> None:
    room.accept(1, claimed_seconds_ago=61)
    room.accept(2, claimed_seconds_ago=59)
    room.producer.gate.set()
    room.flights.launch()
    finished = await room.finished(2)
    assert [finished[id_].settlement.outcome for id_ in (1, 2)] == ["released", "ok"]
    assert room.producer.entered == [2]


async def test_a_call_that_got_the_id_of_one_in_flight_is_another_call(room: Room) -> None:
    """A database that went back in time gives ids out again; both calls end, each with its own messages."""
    room.producer.gate.set()
    old = Batch(7, "a", (Message(70, "t", "{}"),), nonce=1)
    new = Batch(7, "a", (Message(70, "t", "{}"), Message(71, "t", "{}")), nonce=2)
    room.flights.accept([old, new], time.monotonic())
    room.flights.launch()
    async with asyncio.timeout(5):
        taken: list[Finished] = []
        while len(taken) < 2:
            await room.flights.answered.wait()
            taken += room.flights.take_finished()
    assert sorted((each.settlement.key, len(each.settlement.done)) for each in taken) == [(old.key, 1), (new.key, 2)]
    room.flights.close(taken)
    assert room.flights.idle


async def test_an_extended_lease_is_good_again(room: Room) -> None:
    room.accept(1, claimed_seconds_ago=61)
    room.flights.extended([CallKey(1, 0), CallKey(1, 9), CallKey(99, 0)], time.monotonic())
    room.producer.gate.set()
    room.flights.launch()
    assert (await room.finished(1))[1].settlement.outcome == "ok"
    assert room.flights.open_calls == []


async def test_a_call_whose_app_was_paused_meanwhile_is_given_back(room: Room) -> None:
    room.pace.paused = True
    room.accept(1)
    room.flights.launch()
    assert (await room.finished(1))[1].settlement.outcome == "released"
    assert room.producer.entered == []


async def test_what_waits_behind_a_call_that_is_throttled_is_given_back(room: Room) -> None:
    room.producer.play = lambda _: Refused(Fault.THROTTLED, "7")
    room.producer.gate.set()
    room.accept(1)
    room.flights.launch()
    await room.finished(1)
    room.accept(2)
    room.flights.launch()
    assert (await room.finished(1))[2].settlement.outcome == "released"
    assert room.producer.entered == [1]


async def test_without_a_turn_because_the_database_is_away_a_call_is_given_back(room: Room) -> None:
    async def away() -> None:
        raise UnreachableError("PostgreSQL was lost.")

    room.pace.turn = away
    room.accept(1)
    room.flights.launch()
    assert (await room.finished(1))[1].settlement.outcome == "released"
    assert room.events == []


async def test_what_could_not_be_settled_comes_again_and_stays_open(room: Room) -> None:
    room.producer.gate.set()
    room.accept(1, 2)
    room.flights.launch()
    await room.flights.landed(asyncio.Event(), seconds=5)
    finished = room.flights.take_finished()
    assert not room.flights.answered.is_set()
    room.flights.put_back(finished)
    assert sorted(call.id for call in room.flights.open_calls) == [1, 2]
    assert set(await room.finished(2)) == {1, 2}


async def test_what_is_sent_and_not_settled_is_a_few_calls_a_slot(room: Room) -> None:
    room.producer.gate.set()
    for call_id in range(1, 12):
        room.accept(call_id)
        room.flights.launch()
        await room.flights.landed(asyncio.Event(), seconds=5)
        await asyncio.sleep(0)
    assert (room.producer.entered, room.flights.free) == (list(range(1, 9)), -3)  # four a slot
    room.flights.close(room.flights.take_finished())
    room.flights.launch()
    assert (room.flights.running, room.flights.free) == (2, -1)
    assert len(await room.finished(2)) == 2


async def test_calls_that_are_refused_for_themselves_take_no_room_until_they_are_many(room: Room) -> None:
    room.producer.gate.set()
    for call_id in range(1, 65):
        room.flights.refused = call_id - 1
        room.accept(call_id)
        room.flights.launch()
        await room.flights.landed(asyncio.Event(), seconds=5)
        await asyncio.sleep(0)
        assert room.flights.free == 2
    room.flights.refused = 64
    assert (len(room.producer.entered), room.flights.free) == (64, 0)


async def test_nothing_is_sent_while_it_is_known_that_nothing_can_be_settled(room: Room) -> None:
    room.producer.gate.set()
    room.flights.choked = True
    room.accept(1)
    room.flights.launch()
    assert (room.flights.running, room.flights.free, len(room.flights.open_calls)) == (0, 0, 1)
    room.flights.choked = False
    room.flights.launch()
    assert set(await room.finished(1)) == {1}


async def test_landing_ends_with_the_last_call_or_the_stop_or_the_time(room: Room) -> None:
    stop = asyncio.Event()
    room.accept(1)
    room.flights.launch()
    await room.in_flight(1)
    async with asyncio.timeout(5):
        await room.flights.landed(stop, seconds=0.01)
        assert room.flights.running == 1
        landing = asyncio.create_task(room.flights.landed(stop, seconds=60))
        stop.set()
        await landing
        assert room.flights.running == 1
        landing = asyncio.create_task(room.flights.landed(asyncio.Event(), seconds=60))
        room.producer.gate.set()
        await landing
    assert room.flights.running == 0
    await room.finished(1)


async def test_refused_calls_are_settled_too_and_trouble_narrows_the_way(room: Room) -> None:
    room.producer.play = lambda _: Refused(Fault.PROVIDER, "10")
    room.producer.gate.set()
    for call_id in range(1, 6):
        room.accept(call_id)
        room.flights.launch()
        assert outcomes((await room.finished(1))[call_id]) == [Outcome.RETRY] * 2
    assert room.flights.free == 0
    room.accept(6)
    room.flights.launch()
    assert (room.flights.running, room.flights.open_calls) == (0, [CallKey(6, 0)])
    room.flights.release_unsent()
    assert (await room.finished(1))[6].settlement.outcome == "released"


async def test_what_expired_meanwhile_is_not_sent_and_has_no_position(room: Room) -> None:
    room.deadlines.expired = {10, 20, 21}
    room.accept(1, 2)
    room.flights.launch()
    room.producer.gate.set()
    finished = await room.finished(2)
    assert room.producer.entered == [1]
    assert finished[1].settlement.done == ((11, 0),)
    assert (finished[2].settlement.outcome, finished[2].sent_monotonic) == ("released", None)


async def test_a_call_about_which_the_database_refuses_a_word_is_given_back(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.worker.flights._REFUSED_SECONDS", 0.0)
    room.deadlines.refuses = True
    room.accept(1)
    room.flights.launch()
    assert (await room.finished(1))[1].settlement.outcome == "released"
    assert room.producer.entered == []
    assert [event.name for event in room.events] == ["database.refused"]


async def test_an_answer_that_nobody_can_decide_about_is_unknown(room: Room) -> None:
    """A producer that breaks its types must not leave a call that never ends."""
    room.producer.play = lambda batch: Answered((7,) * len(batch))  # type: ignore[arg-type]
    room.accept(1)
    room.flights.launch()
    room.producer.gate.set()
    finished = (await room.finished(1))[1]
    assert outcomes(finished) == [Outcome.UNKNOWN, Outcome.UNKNOWN]
    assert [event.name for event in room.events] == ["producer.failed"]
