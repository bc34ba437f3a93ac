"""The calls this process holds: claimed and waiting for a slot, in flight, finished and not yet settled.

    accept ──> backlog ──launch──> running ──> finished ──taken by the settler──> closed

Every call accepted ends as exactly one ``Finished``, also when the producer raises or the process stops. A call whose
lease may be over, or that would run into a pause, is never started: it is given back. So is, when the process stops, a
call that waits for the pace or has not begun to send.

What was sent and is not settled is sent again should this process die. So it is bounded: a few calls a
slot however slowly they are settled, nothing more once that is known to fail, and a number of those that are refused.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from relay.errors import UnreachableError
from relay.events import DatabaseRefused, Events, ProducerFailed, ProducerRaised
from relay.message import Answer, Answered, Batch, CallKey, Fault, Refused
from relay.outcomes import History, Policy, Settlement, decide, exhausted_ids, released, spared
from relay.producers import NotSent
from relay.store import told
from relay.traces import TraceIds
from relay.worker.deadlines import Deadlines
from relay.worker.frames import frames_of
from relay.worker.lanes import Lane, Lanes
from relay.worker.pauses import Pauses
from relay.worker.tracing import Tracing

_REFUSED_SECONDS = 1.0

# Open at once: in flight, waiting for it, not yet settled. Where settling keeps up it is three a slot at most (of a
# producer that answers at once, while two rounds are being settled); from four on only a settle that lags is felt.
_OPEN_PER_SLOT = 4
_REFUSED_AT_MOST = 64  # calls that PostgreSQL takes no outcome of: they are tried again one by one, all their time


@dataclass(frozen=True, slots=True)
class Finished:
    """A call that has its answer. ``sent_monotonic`` is None when it was never made.

    ``tried``: it was to be settled, but nobody knows whether that was committed.
    """

    batch: Batch
    settlement: Settlement
    sent_monotonic: float | None = None
    duration_seconds: float = 0.0
    tried: bool = False


class Flights:
    """Bounded by ``lanes.calls`` running at once. Belongs to one event loop."""

    def __init__(
        self,
        lanes: Lanes,
        pauses: Pauses,
        deadlines: Deadlines,
        *,
        lease_seconds: float,
        policy: Policy,
        events: Events,
        rng: random.Random,
        tracing: Tracing | None = None,
    ) -> None:
        self._tracing = tracing or Tracing()
        self._lanes = lanes
        self._pauses = pauses
        self._deadlines = deadlines
        self._most_open = _OPEN_PER_SLOT * lanes.slots
        self._lease_seconds = lease_seconds
        self._policy = policy
        self._events = events
        self._rng = rng
        self._backlog: deque[Batch] = deque()
        self._running: dict[CallKey, asyncio.Task[Finished]] = {}
        self._waiting: set[CallKey] = set()  # running, but still waiting for the pace
        self._finished: list[Finished] = []
        self._held_until: dict[CallKey, float] = {}  # every open call of ours → monotonic seconds we surely hold it
        self.choked = False  # what has finished cannot be settled, or not all at once, just now
        self.refused = 0  # open calls that were to be settled and were refused, each for itself
        self._account_of: dict[CallKey, str] = {}
        self._lane_of: dict[CallKey, Lane] = {}
        self._traces: dict[CallKey, TraceIds] = {}  # of calls whose spans somebody records
        self.unsettled_in_a_row = 0  # calls that could not be settled since the last one that could
        self.bell = asyncio.Event()  # the cycle looks again: a slot is free, or a call was closed
        self.answered = asyncio.Event()  # there is something to settle

    @property
    def free(self) -> int:
        """How many more calls may be claimed now: none, while nothing that comes of them can be written down."""
        calls = self._lanes.calls
        slots = min(calls, 1) if self.unsettled_in_a_row >= calls else calls - self.unsettled_in_a_row
        free = min(slots - len(self._running), self._room) - len(self._backlog)
        return min(free, 0) if self.choked or self.refused >= _REFUSED_AT_MOST else free

    @property
    def in_doubt(self) -> bool:
        """Whether it may be that nothing can be settled: then it is tried with one call at a time, of accounts new to
        this trouble."""
        return self.unsettled_in_a_row >= self._lanes.calls

    @property
    def _room(self) -> int:
        """How many more calls may be sent before others are settled."""
        return self._most_open - (len(self._held_until) - len(self._backlog) - self.refused)

    @property
    def running(self) -> int:
        """How many calls are in flight, or wait for their pace."""
        return len(self._running)

    @property
    def idle(self) -> bool:
        """Nothing is claimed, in flight or waiting to be settled."""
        return not self._held_until

    @property
    def open_calls(self) -> list[CallKey]:
        """Every call that this process holds, from its claim until it is settled."""
        return list(self._held_until)

    @property
    def accounts(self) -> set[str]:
        """Whose calls are open."""
        return set(self._account_of.values())

    def producer_of(self, call: CallKey) -> str:
        """Who makes this open call, by the name in the settings."""
        return self._lane_of[call].name

    def trace_of(self, call: CallKey) -> TraceIds | None:
        """Of the span of this open call; None where nobody records it."""
        return self._traces.get(call)

    def accept(
        self, batches: Iterable[Batch], claimed_monotonic: float, by_account: Mapping[str, Lane] | None = None
    ) -> None:
        """Take over claimed calls; their leases count from before the claim was made, to be on the safe side.

        ``by_account``: the lanes for which they were cut; the others are those of the settings.
        """
        lanes, default = self._lanes.by_account if by_account is None else by_account, self._lanes.default
        for batch in batches:
            self._lane_of[batch.key] = lanes.get(batch.account, default)
            self._backlog.append(batch)
            self._held_until[batch.key] = claimed_monotonic + self._lease_seconds
            self._account_of[batch.key] = batch.account

    def extended(self, calls: Iterable[CallKey], since_monotonic: float) -> None:
        """The leases of these calls have been running anew since then."""
        for call in calls:
            if call in self._held_until:
                self._held_until[call] = since_monotonic + self._lease_seconds

    def launch(self) -> None:
        """Start what waits, while slots are free and what comes of it can be written down."""
        while self._backlog and len(self._running) < self._lanes.calls and self._room > 0 and not self.choked:
            batch = self._backlog.popleft()
            lane = self._lane_of[batch.key]
            if not self._lanes.may_send(batch.account, lane):
                self._finish(Finished(batch, released(batch)))
                continue
            lane.running += 1
            self._waiting.add(batch.key)
            flight = self._running[batch.key] = asyncio.create_task(self._fly(batch))
            flight.add_done_callback(partial(self._flown, batch))

    def release_unsent(self) -> None:
        """Give back what was claimed and not sent; the slots of the pace that were reserved for it are lost."""
        for call in self._waiting:
            self._running[call].cancel()
        while self._backlog:
            batch = self._backlog.popleft()
            self._finish(Finished(batch, released(batch)))

    async def change(self, seconds: float) -> None:
        """Sleep, but no longer than until the bell rings."""
        try:
            async with asyncio.timeout(seconds):
                await self.bell.wait()
        except TimeoutError:
            return

    async def landed(self, stop: asyncio.Event, seconds: float) -> None:
        """Wait until no call is running, or ``stop`` is set, or the time is over."""
        stopped = asyncio.create_task(stop.wait())
        deadline = time.monotonic() + seconds
        while self._running and not stop.is_set() and (left := deadline - time.monotonic()) > 0:
            waiting = {*self._running.values(), stopped}
            await asyncio.wait(waiting, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()

    async def cancel(self) -> None:
        """Cut off what is still running: nobody will know what became of what was sent."""
        running = list(self._running.values())
        for flight in running:
            flight.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def take_finished(self) -> list[Finished]:
        """What is to be settled. The caller closes it, or puts it back."""
        self.answered.clear()
        finished, self._finished = self._finished, []
        return finished

    def ending(self, finished: Sequence[Finished]) -> list[int]:
        """The messages that would end because their attempts are used up, where an outage may spare them."""
        return exhausted_ids(each.settlement for each in finished) if self._policy.outage_seconds else []

    def spared(self, finished: Sequence[Finished], histories: Mapping[int, History]) -> list[Finished]:
        """The same calls; see ``outcomes.spared``."""
        return [
            replace(each, settlement=spared(each.settlement, histories, self._policy, self._rng)) for each in finished
        ]

    def put_back(self, finished: Sequence[Finished]) -> None:
        """These could not be settled; nobody knows whether they were, so they count as tried."""
        self._finished = [*(replace(each, tried=True) for each in finished), *self._finished]
        self.answered.set()

    def set_aside(self, finished: Finished, seconds: float) -> None:
        """This call cannot be settled now; it will be among the finished ones again after this long."""
        asyncio.get_running_loop().call_later(seconds, self._finish, finished)

    def close(self, finished: Sequence[Finished]) -> None:
        """These calls are settled."""
        for each in finished:
            del self._held_until[each.batch.key]
            del self._account_of[each.batch.key]
            del self._lane_of[each.batch.key]
            self._traces.pop(each.batch.key, None)
        self.bell.set()

    async def _fly(self, batch: Batch) -> Finished:
        """The call with its answer. Cancelling passes through as long as nothing was sent."""
        wanted = await self._ready(batch)
        if wanted is None:
            return Finished(batch, released(batch))
        batch = wanted
        lane, account = self._lane_of[batch.key], batch.account
        gone_another_way = self._lanes.of(account) is not lane
        if time.monotonic() >= self._held_until[batch.key] or gone_another_way or self._pauses.is_paused(account):
            return Finished(batch, released(batch))
        self._waiting.discard(batch.key)
        span = self._tracing.begin(batch, lane.messaging_system)
        if span.ids is not None:
            self._traces[batch.key] = span.ids
        sent = time.monotonic()
        with span:
            answer = await self._answer(batch, lane)
        seconds = time.monotonic() - sent
        self._lanes.learn(lane, batch, answer, seconds)
        if lane is not self._lanes.default:
            answer = self._pauses.named(account, answer)
        settlement = decide(batch, answer, self._policy, self._rng)
        span.finish(settlement)
        if settlement.pause is not None:
            self._pauses.ordered(settlement.pause)
        return Finished(batch, settlement, sent, seconds)

    async def _ready(self, batch: Batch) -> Batch | None:
        """What of this call is to be sent, once its pace allows it; None: nothing, it is given back."""
        try:
            await self._pauses.wait_for_pace(batch.account)
            return await self._deadlines.still_wanted(batch)
        except UnreachableError:
            return None  # no slot of the pace: PostgreSQL is away
        except Exception as error:
            self._events.emit(DatabaseRefused("send", told(error), batch.call_id))
            await asyncio.sleep(_REFUSED_SECONDS)  # it will be claimed again, and that had better not be at once
            return None

    async def _answer(self, batch: Batch, lane: Lane) -> Answer:
        """What the producer answers. Where that is no answer, nobody knows what became of the call."""
        try:
            answer = await lane.producer.produce(batch)
        except NotSent:
            raise
        except asyncio.CancelledError:
            return Refused(Fault.UNKNOWN, "relay.stopped", message="the relay was stopped before the platform answered")
        except Exception as error:
            self._events.emit(ProducerRaised(batch.call_id, f"raised {type(error).__name__}", frames_of(error)))
            return self._no_answer(batch, f"raised {type(error).__name__}")
        mistake = _mistake(answer, len(batch))
        return self._no_answer(batch, mistake) if mistake else answer

    def _no_answer(self, batch: Batch, mistake: str) -> Refused:
        self._events.emit(ProducerFailed(batch.call_id, mistake, *(self.trace_of(batch.key) or ())))
        return Refused(Fault.UNKNOWN, "relay.producer_failed", message=f"the producer {mistake}")

    def _flown(self, batch: Batch, flight: asyncio.Task[Finished]) -> None:
        """A flight that was cancelled before it sent anything, or before it began, was never made."""
        del self._running[batch.key]
        self._lane_of[batch.key].running -= 1
        self._waiting.discard(batch.key)
        if flight.cancelled():
            self._finish(Finished(batch, released(batch)))
        elif (error := flight.exception()) is None:
            self._finish(flight.result())
        else:  # nobody can make anything of the answer, and it may have been sent
            answer = self._no_answer(batch, f"led to {type(error).__name__}")
            self._finish(Finished(batch, decide(batch, answer, self._policy, self._rng)))

    def _finish(self, finished: Finished) -> None:
        self._finished.append(finished)
        self.answered.set()
        self.bell.set()


def _mistake(answer: object, count: int) -> str | None:
    """How a producer from elsewhere broke its contract, or None."""
    if isinstance(answer, Answered) and len(answer.results) != count:
        return f"gave {len(answer.results)} results for {count} messages"
    return None if isinstance(answer, Answer) else f"answered with {type(answer).__name__}"
