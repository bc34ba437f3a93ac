"""Settling: everything that finished meanwhile, in one transaction.

What cannot be written because PostgreSQL is away is kept and tried again: an answer of the platform is not thrown
away. Should the leases lapse first, the guard in the database decides whose outcome counts.

Nor is it thrown away where PostgreSQL refuses what one call has to say. The others are settled, and that one stays
open, is told, and is tried again and again with its lease running anew. While nothing at all can be settled, nothing
more is claimed of those accounts than there are slots, and nothing at all where PostgreSQL is away: what is sent and
never settled would be sent again by the next worker. An account with many such calls is left alone.

A row that another session has locked is no outage: where all at once waited in vain on a server that is there, they are
settled one by one, and only the call that waits again is set aside like one that is refused.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from relay.database_errors import Kind
from relay.errors import UnreachableError, UnsettledError
from relay.events import CallLost, CallRefused, CallSettled, DatabaseLost, Events, Paused
from relay.message import CallKey
from relay.outcomes import Settlement
from relay.store import Sent, Settled, Store, told
from relay.traces import TraceIds
from relay.worker.flights import Finished, Flights
from relay.worker.pauses import Pauses
from relay.worker.report import Report
from relay.worker.threads import Outage, Threads, retry_seconds

_REFUSED_MAX_SECONDS = 30.0  # between two tries of what PostgreSQL refuses
_WAITED_ENOUGH = 4  # times that a call waits for a lock in vain, of ten seconds each, before a drain gives up
_NAMED = 5  # messages in a reason
_REFUSED_PER_ACCOUNT = 16  # calls; from then on the other accounts alone have what slots there are


@dataclass(frozen=True, slots=True)
class _Refusals:
    """Of one call: how often its outcome was refused, and why the last time; ``enough``: so often that it will be."""

    account: str
    times: int
    reason: str
    enough: int = 1


class Settling:
    """Writes down what finished, as many calls in one transaction as there are."""

    def __init__(
        self, store: Store, threads: Threads, flights: Flights, pauses: Pauses, *, events: Events, report: Report
    ) -> None:
        self._store = store
        self._threads = threads
        self._flights = flights
        self._pauses = pauses
        self._events = events
        self._report = report
        self._refused: dict[CallKey, _Refusals] = {}
        self._left: dict[CallKey, Settlement] = {}  # of calls whose other messages have ended
        self.lost = ""  # why nothing can be settled, in words, while PostgreSQL is away for it
        self._waited = False  # in vain, the last time, on a server that is there

    @property
    def stands_still(self) -> bool:
        """Whether all that is left are calls that could not be settled, and not only had to wait for a moment."""
        given_up = {call for call, refusals in self._refused.items() if refusals.times >= refusals.enough}
        return not self._flights.idle and set(self._flights.open_calls) <= given_up

    @property
    def refused(self) -> list[str]:
        """Why calls that are still open could not be settled, one sentence for each."""
        return [refusals.reason for refusals in self._refused.values()]

    def raise_if_unsettled(self) -> None:
        """At the end of a run: where calls were made whose outcomes PostgreSQL refuses to the end."""
        if reasons := self.refused:
            count = "1 call that was made is" if len(reasons) == 1 else f"{len(reasons)} calls that were made are"
            raise UnsettledError(
                f"{count} not settled: {reasons[0]}.",
                "Mend the reason within the lease and start a worker, or their messages are sent again as unknown.",
            )

    @property
    def left_alone(self) -> list[str]:
        """The accounts with too many calls that were made and cannot be settled: no more are made of them."""
        enough = 1 if self._flights.in_doubt else _REFUSED_PER_ACCOUNT
        counted = Counter(refusals.account for refusals in self._refused.values())
        return [account for account, count in counted.items() if count >= enough]

    async def settle_forever(self, patience_seconds: float = math.inf) -> None:
        """Raises UnreachableError when nothing could be written for longer than that."""
        outage = Outage(patience_seconds)
        while True:
            await self._flights.answered.wait()
            finished = self._flights.take_finished()
            if not finished:
                continue
            try:
                await self._settle(finished)  # takes out of the list what it has dealt with
                outage.over()
                self._waited = False
                self._choke("")
            except UnreachableError as error:
                self._waited = error.cause == Kind.TOO_SLOW
                self._flights.put_back(finished)
                self._choke(str(error))
                self._events.emit(DatabaseLost("settle", str(error), error.cause))
                await asyncio.sleep(outage.goes_on(error))

    def _choke(self, lost: str) -> None:
        self.lost, self._flights.choked = lost, bool(lost)
        self._flights.bell.set()

    async def _settle(self, finished: list[Finished]) -> None:
        """All at once, but for those that failed before; or one by one. What is dealt with leaves the list."""
        finished[:] = sorted(await self._spared(finished), key=self._failed_before)
        fresh = [each for each in finished if not self._failed_before(each)]
        settled_some = False
        if fresh and not self._waited:
            started = time.monotonic()
            try:
                at_once = partial(self._store.settle, _settlements(fresh), _sent(fresh), _tried(fresh))
                settled = await self._threads.run(at_once)
            except UnreachableError:
                raise
            except Exception:  # of whatever kind: these calls were made, and no fault of one may hold up the others
                self._flights.choked = True
            else:
                self._settled(fresh, settled, started)
                settled_some = True
                del finished[: len(fresh)]
        try:
            await self._settle_each(finished, settled_some=settled_some)
        finally:
            self._flights.choked = False

    def _failed_before(self, each: Finished) -> bool:
        return each.batch.key in self._refused

    async def _settle_each(self, finished: list[Finished], *, settled_some: bool) -> None:
        """Raises UnreachableError where PostgreSQL is away, or seems so: two wait in vain, and none was settled."""
        in_vain = 0
        while finished:
            each, started = finished[0], time.monotonic()
            try:
                left = self._left.get(each.batch.key, each.settlement)
                plainly = partial(self._store.settle_plainly, left, _sent([each]), _tried([each]))
                settled = await self._threads.run(plainly)
            except UnreachableError as error:
                if error.cause != Kind.TOO_SLOW:
                    raise
                finished[:1] = [replace(each, tried=True)]
                if not (settled_some or len(finished) == 1 or self._failed_before(each)):
                    finished.append(finished.pop(0))
                    in_vain += 1
                    if in_vain > 1:
                        raise
                    continue
                self._try_again(finished[0], told(error), enough=_WAITED_ENOUGH)
            except Exception as error:
                self._try_again(each, await self._apart(each, left) or told(error))
            else:
                self._settled([each], settled, started)
                settled_some = True
            del finished[0]

    async def _apart(self, each: Finished, settlement: Settlement) -> str:
        """End those of its messages that can end, so that nobody sends them again; who is to blame, and why."""
        try:
            left, refused = await self._threads.run(partial(self._store.settle_apart, settlement))
        except UnreachableError:
            raise
        except Exception:  # of whatever kind: then the call is as it was
            return ""
        if not refused:
            return ""
        self._left[each.batch.key] = left
        named = ", ".join(map(str, sorted(refused)[:_NAMED]))
        return f"message {named}{' and more' if len(refused) > _NAMED else ''}: {next(iter(refused.values()))}"

    def _settled(self, finished: Sequence[Finished], settled: Settled, started_monotonic: float) -> None:
        self._flights.accept(settled.children, started_monotonic)
        self._tell(finished, settled)
        for each in finished:
            self._refused.pop(each.batch.key, None)
            self._left.pop(each.batch.key, None)
        self._flights.refused = len(self._refused)
        self._flights.unsettled_in_a_row = 0
        self._flights.close(finished)

    def _try_again(self, each: Finished, reason: str, *, enough: int = 1) -> None:
        """Later and later, but always within a lease, which goes on running anew."""
        call = each.batch.key
        times = self._refused[call].times + 1 if call in self._refused else 1
        self._refused[call] = _Refusals(each.batch.account, times, reason, enough)
        self._flights.refused = len(self._refused)
        if times == 1:
            self._flights.unsettled_in_a_row += 1
        seconds = retry_seconds(times, at_most=_REFUSED_MAX_SECONDS)
        self._flights.set_aside(each, seconds)
        trace = self._flights.trace_of(call) or ()
        self._events.emit(CallRefused(call.id, each.batch.account, len(each.batch), reason, seconds, *trace))

    async def _spared(self, finished: list[Finished]) -> list[Finished]:
        """No message ends for an outage that has not lasted long enough; how long it has, the database knows.

        Where it refuses to tell, none ends: an attempt more is less than a message that is given up for nothing.
        """
        ending = self._flights.ending(finished)
        if not ending:
            return finished
        try:
            histories = await self._threads.run(partial(self._store.histories, ending))
        except UnreachableError:
            raise
        except Exception:
            histories = {}
        return self._flights.spared(finished, histories)

    def _tell(self, finished: Sequence[Finished], settled: Settled) -> None:
        for each in finished:
            trace = self._flights.trace_of(each.batch.key)
            if each.batch.key in settled.lost:
                self._report.lost_calls += 1
                self._events.emit(CallLost(each.batch.call_id, *(trace or ())))
                continue
            event = call_settled(each, self._flights.producer_of(each.batch.key), trace)
            self._report.add(event)
            self._events.emit(event)
            order = each.settlement.pause
            if order is not None:
                self._pauses.stale()
                if order.fingerprint is not None:
                    self._pauses.refused(each.batch.account)
                self._events.emit(Paused(order.scope, order.seconds, order.reason, order.error_code))


def _settlements(finished: Sequence[Finished]) -> list[Settlement]:
    return [each.settlement for each in finished]


def _sent(finished: Sequence[Finished]) -> Sent:
    """When each call was sent, and how long it took."""
    return {
        each.batch.key: (each.sent_monotonic, each.duration_seconds)
        for each in finished
        if each.sent_monotonic is not None
    }


def _tried(finished: Sequence[Finished]) -> frozenset[CallKey]:
    """Those of which nobody knows whether they are settled already."""
    return frozenset(each.batch.key for each in finished if each.tried)


def call_settled(each: Finished, producer: str = "", trace: TraceIds | None = None) -> CallSettled:
    """The event of one settled call; who made it, and whose span it has."""
    settlement = each.settlement
    outcomes = [verdict.outcome.value for verdict in settlement.verdicts]
    return CallSettled(
        call_id=settlement.call_id,
        account=settlement.account,
        outcome=settlement.outcome,
        messages=len(each.batch),
        done=len(settlement.done),
        retry=outcomes.count("retry"),
        failed=outcomes.count("failed"),
        unknown=outcomes.count("unknown"),
        split=len(each.batch) if settlement.halves else 0,
        http_status=settlement.http_status,
        request_id=settlement.request_id,
        error_code=settlement.error_code,
        sub_code=settlement.sub_code,
        error_message=settlement.error_message,
        request_bytes=settlement.request_bytes,
        duration_ms=None if each.sent_monotonic is None else round(each.duration_seconds * 1000),
        producer=producer,
        trace_id=trace and trace.trace_id,
        span_id=trace and trace.span_id,
    )
