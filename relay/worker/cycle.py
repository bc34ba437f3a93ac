"""The worker: claims while slots are free, until told to stop, or until the run ends by itself.

What it is told is ``options.py``, how it stops ``stopping.py``; here is who works beside the claims, and the claims.
"""

from __future__ import annotations

import asyncio
import math
import random
import time

from relay import events
from relay.errors import RefusedError, UnreachableError
from relay.events import WorkerStarted
from relay.outcomes import Policy
from relay.producers import Grouping, Measuring, Producer
from relay.store import Claim, ClaimLimits, Store
from relay.wakeups import Arming, Polling, Wakeup
from relay.worker.acquaintance import Acquaintance
from relay.worker.clock import Clock
from relay.worker.deadlines import Deadlines
from relay.worker.directory import Directory, needs_credentials
from relay.worker.flights import Flights
from relay.worker.housekeeping import Housekeeping
from relay.worker.isolation import CLAIM_MAX_SECONDS, Isolation
from relay.worker.lanes import Lane, Lanes, Route, Routing
from relay.worker.leases import Leases
from relay.worker.limits import Limits
from relay.worker.lingering import Lookout
from relay.worker.options import Options, Until
from relay.worker.pauses import Pauses
from relay.worker.readiness import Readiness
from relay.worker.report import Report
from relay.worker.settling import Settling
from relay.worker.stopping import Stopping
from relay.worker.tasks import cancel, until_first, within
from relay.worker.threads import Outage, Threads, retry_seconds
from relay.worker.tracing import Spans, Tracing
from relay.worker.waiting import Waiting

_PATIENCE_SECONDS = 10.0  # a transaction without an answer for this long (or a third of the lease) is cut off
_LOOK_AGAIN_SECONDS = 0.25
_REFUSALS = 8  # of claims in a row, some 25 s, after which a run that is to end by itself gives up
_LAST_CLAIM_SECONDS = 1.0  # for a claim under way to end: nobody else could give back what it takes
_LAST_CLOSE_SECONDS = 2.0  # a farewell is no reason to stay


class Worker:
    """One relay process. ``run`` is called once; ``stop`` any number of times, before or during ``run``."""

    def __init__(
        self,
        store: Store,
        producer: Producer,
        *,
        name: str,
        policy: Policy,
        options: Options,
        events: events.Events,
        directory: Directory,
        routing: Routing | None = None,
        clock: Clock | None = None,
        wakeup: Wakeup | None = None,
        spans: Spans | None = None,
        rng: random.Random | None = None,
        started: WorkerStarted | None = None,
    ) -> None:
        rng, lease = rng or random.Random(), options.lease_seconds  # noqa: S311 jitter, not secrets
        self._store = store
        self._producer = producer
        self._started = started or WorkerStarted(name, options.producer, options.concurrency)
        self._options = options
        self._events = events
        self._rng = rng
        self._clock = clock or Clock()
        self._wakeup = wakeup or Polling()
        self._report = Report()
        self._threads = Threads(store.cut_off, patience_seconds=min(_PATIENCE_SECONDS, max(1.0, lease / 3)))
        pace, needed = options.calls_per_second, needs_credentials(producer, directory)
        self._limits = self._limits_of(Route(producer, options.batch_size))
        self._lanes = Lanes(Lane(producer, self._limits, name=options.producer), routing, self._limits_of)
        self._pauses = Pauses(
            store, self._threads, directory, events, self._lanes, calls_per_second=pace, known_only=needed
        )
        gates = (self._lanes, self._pauses, Deadlines(store, self._threads, self._clock))
        self._tracing = Tracing(spans, lambda ids: self._threads.run(lambda: store.origins(ids)))
        self._flights = Flights(
            *gates, lease_seconds=lease, policy=policy, events=events, rng=rng, tracing=self._tracing
        )
        self._pauses.in_hand = lambda: self._flights.accounts
        self._acquaintance = Acquaintance(store, self._threads, self._pauses, directory, events, self._flights)
        self._settling = Settling(store, self._threads, self._flights, self._pauses, events=events, report=self._report)
        self._leases = Leases(
            store,
            self._threads,
            self._flights,
            lease_seconds=lease,
            policy=policy,
            events=events,
            report=self._report,
            rng=rng,
        )
        self._isolation = Isolation(store, self._threads, events=events, report=self._report)
        self._waiting = Waiting(store, self._threads, events, skipped=self._pauses.accounts_to_skip)
        self._stranger = self._claims_fail = ""
        self._stopping = Stopping(self._flights, events, grace_seconds=options.grace_seconds)
        self.readiness = Readiness(
            store, self._threads, self._stopping.begun, lambda: self._settling.refused, self._why_nothing_is_sent
        )
        self.heartbeat_monotonic = time.monotonic()  # when the cycle last went round

    def _limits_of(self, route: Route) -> Limits:
        producer = route.producer
        batch_size = min(route.batch_size, producer.max_batch)
        return Limits(
            slots=self._options.concurrency,
            batch_size=batch_size,
            max_bytes=producer.max_bytes,
            rng=self._rng,
            destination=producer.destination if isinstance(producer, Grouping) else None,
            wire_size=producer.wire_size if isinstance(producer, Measuring) else None,
        )

    def stop(self) -> None:
        """Stage one; called again, stage two. Call it on the event loop's thread."""
        self._stopping.stop()

    async def run(self, until: Until = Until.STOPPED) -> Report:
        """Work until stopped, or until ``until`` holds. Raises what only a person can mend, once all is settled.

        Raises UnsettledError where calls were made whose outcomes PostgreSQL refuses to the end.
        """
        self._events.emit(self._started)
        await self._producer.open()
        await self._stopping.before(self._wakeup.open())
        if self._wakeup.trouble is not None:
            self._events.emit(events.PollingOnly(self._wakeup.trouble))
        patience = math.inf if until is Until.STOPPED else self._options.lease_seconds
        settling = asyncio.create_task(self._settling.settle_forever(patience))
        extending = asyncio.create_task(self._leases.extend_forever())
        measuring = asyncio.create_task(self._clock.measure_forever(self._store, self._threads))
        recovering = asyncio.create_task(self._leases.recover_forever())
        claiming = asyncio.create_task(self._claim_until(until, patience))
        aborting = asyncio.create_task(self._stopping.abort_came())
        stopping = asyncio.create_task(self._stopping.came())
        meeting = map(asyncio.create_task, self._acquaintance.tasks())
        looking = asyncio.create_task(Lookout(self._store, self._threads, self._events).look_forever())
        others = [recovering, looking, asyncio.create_task(self._hear_forever()), *meeting, *self._housekeeping()]
        landing_seconds = self._options.grace_seconds
        try:
            await until_first([claiming, aborting, stopping], others=[settling, extending, measuring, *others])
            landing_seconds = await self._stopping.after_a_claim_under_way(claiming, aborting)
        finally:
            self._stopping.begin()
            self._flights.release_unsent()
            await asyncio.wait([claiming], timeout=_LAST_CLAIM_SECONDS)
            await cancel([claiming, aborting, stopping, *others])
            await self._stopping.land(settling, landing_seconds)
            await cancel([settling, extending, measuring])
            await within(_LAST_CLOSE_SECONDS, self._wakeup.close())
            await self._lanes.close()
            await self._tracing.close()
            self._threads.close()
            self._events.emit(events.WorkerStopped(self._report.calls, self._report.done, self._report.failed))
        self._settling.raise_if_unsettled()
        return self._report

    def _housekeeping(self) -> list[asyncio.Task[None]]:
        older_than = self._options.archive_after
        if older_than is None:
            return []
        keeping = Housekeeping(
            lambda: self._store.archive(older_than, failed_holds=self._options.failed_holds),
            self._threads,
            events=self._events,
            rng=self._rng,
        )
        return [asyncio.create_task(keeping.archive_forever())]

    async def _claim_until(self, until: Until, patience_seconds: float) -> None:
        """Claim whenever slots are free; returns when stopped, or when ``until`` holds."""
        outage, refusals = Outage(patience_seconds), 0
        if until is not Until.STOPPED:
            await self._stopping.before(self._acquaintance.looked_once())
        while not self._stopping.begun.is_set():
            self.heartbeat_monotonic = time.monotonic()
            self._flights.bell.clear()
            self._flights.launch()
            if self._flights.free <= 0:
                if until is not Until.STOPPED and self._settling.stands_still:
                    return None
                await self._flights.change(_LOOK_AGAIN_SECONDS)  # not for ever: a limit may end by itself
                continue
            try:
                if not self._clock.measured:  # before anything is signed
                    await self._clock.measure(self._store, self._threads)
                claim = await self._claim(1 if until is Until.ONE_BATCH else self._limits.portion(self._flights.free))
                news = self._acquaintance.offer(claim.unmet)
                if until is Until.ONE_BATCH and (claim.batches or claim.exhausted):
                    if not claim.batches:
                        await self._waiting.tell()
                    return await self._until_idle()
                if claim.exhausted and until is Until.DRAINED:
                    if await self._drained():
                        return None
                    await self._wait_told(claim)
                outage.over()
                if claim.batches or claim.expired or not self._store.aside:
                    refusals, self._claims_fail = 0, ""
            except UnreachableError as error:
                self._claims_fail = str(error)
                self._events.emit(events.DatabaseLost("claim", str(error), error.cause))
                await self._flights.change(outage.goes_on(error))
                continue
            except RefusedError as error:
                if until is not Until.STOPPED and refusals == _REFUSALS:
                    raise
                refusals = await self._refused(error, refusals + 1)
                continue
            if claim.batches:
                if await self._wakeup.found(alone=claim.everywhere and claim.messages == 1):
                    await self._flights.change(self._poll_seconds())
            elif claim.exhausted:
                await self._rest()
            elif (
                claim.unmet and not news
            ):  # they are being looked up; an account nobody has met yet is no reason to wait
                await self._flights.change(self._poll_seconds())
        return None

    async def _wait_told(self, claim: Claim) -> None:
        if claim.batches or not self._flights.idle:
            self._waiting.over()
        else:
            await self._waiting.goes_on()

    async def _refused(self, error: RefusedError, failures: int) -> int:
        """A claim was refused: leave out the reason, or wait; the failures in a row that this makes."""
        self._claims_fail = str(error)
        try:
            if await self._isolation.isolate(error, failures):
                return 0
        except UnreachableError as lost:
            self._events.emit(events.DatabaseLost("claim", str(lost)))
        await self._flights.change(retry_seconds(failures, at_most=CLAIM_MAX_SECONDS))
        return failures

    async def _rest(self) -> None:
        """Nothing is ready: wait until the next look, or until an insert wakes us."""
        seconds = self._poll_seconds()
        match await self._wakeup.arm():
            case Arming.BEGUN:
                return
            case Arming.REFUSED:
                seconds = min(seconds, _LOOK_AGAIN_SECONDS)
        await self._flights.change(seconds)

    async def _hear_forever(self) -> None:
        while True:
            await self._wakeup.wait()
            self._flights.bell.set()

    def _poll_seconds(self) -> float:
        return self._options.poll_interval_seconds * self._rng.uniform(0.5, 1.0)

    async def _claim(self, slots: int) -> Claim:
        skip_accounts = (
            *await self._pauses.accounts_to_skip(),
            *self._settling.left_alone,
            *self._isolation.left_alone,
        )
        lanes = self._lanes.by_account
        limits = ClaimLimits(
            slots=slots,
            batch_size=self._lanes.messages(),
            max_bytes=self._limits.max_bytes,
            skip_accounts=(*skip_accounts, *self._lanes.full(self._pauses.met)),
            linger_seconds=self._options.linger_seconds,
            failed_holds=self._options.failed_holds,
            acquainted=self._pauses.acquainted,
            of_a_call=self._lanes.limits(),
        )
        started = time.monotonic()
        claim = await self._threads.run(lambda: self._store.claim(limits))
        seconds = time.monotonic() - started
        self._tell_of_strangers()
        for message_id, reason in self._store.put_aside().items():
            self._events.emit(events.DatabaseRefused("claim", f"message {message_id} is left alone: {reason}"))
        self._flights.accept(claim.batches, started, lanes)
        accounts = {batch.account for batch in claim.batches}
        await self._pauses.meet(accounts)
        self._acquaintance.offer(list(filter(self._pauses.is_stranger, accounts)))
        if not self._stopping.begun.is_set():
            self._flights.launch()
            for _ in range(2):  # they begin now, and those of a producer that waits for nobody end now
                await asyncio.sleep(0)
        self._report.failed += claim.expired
        if claim.batches or claim.expired:
            self._limits.claimed(seconds)
            self._events.emit(events.Claimed(len(claim.batches), claim.messages, claim.expired, seconds))
        return claim

    def _why_nothing_is_sent(self) -> str:
        return self._claims_fail or self._settling.lost

    def _tell_of_strangers(self) -> None:
        stranger = self._store.stranger
        if stranger and stranger != self._stranger:
            self._events.emit(events.LocksTaken(stranger))
        self._stranger = stranger

    async def _until_idle(self) -> None:
        """Go on with what is claimed, halves of split calls included, until nothing is left of it."""
        while not (self._flights.idle or self._settling.stands_still or self._stopping.begun.is_set()):
            self._flights.bell.clear()
            self._flights.launch()
            await self._flights.change(_LOOK_AGAIN_SECONDS)

    async def _drained(self) -> bool:
        """Whether nothing is pending or in flight anywhere, but for what only a person can set in motion."""
        if not self._flights.idle:
            return self._settling.stands_still
        if aside := self._store.aside:
            raise RefusedError(f"Nothing can be done with {len(aside)} messages, such as {aside[0]}: see the log.")
        skip = (*await self._pauses.accounts_to_skip(only_endless=True), *self._isolation.left_alone)
        holds = self._options.failed_holds
        if await self._threads.run(lambda: self._store.still_moving(skip, failed_holds=holds)):
            return False
        self._report.left = await self._threads.run(self._store.pending)
        self._report.pauses = await self._threads.run(self._store.pauses)
        return True
