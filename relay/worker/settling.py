"""Settling: everything that finished meanwhile, in one transaction.

What cannot be written because PostgreSQL is away is kept and tried again: an answer of the platform is not thrown
away. Should the leases lapse first, the guard in the database decides whose outcome counts.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence

from relay.errors import UnreachableError
from relay.events import CallLost, CallSettled, DatabaseLost, Events, Paused
from relay.store import Settled, Store
from relay.worker.flights import Finished, Flights
from relay.worker.pauses import Pauses
from relay.worker.report import Report
from relay.worker.threads import Outage, Threads


class Settling:
    def __init__(
        self, store: Store, threads: Threads, flights: Flights, pauses: Pauses, *, observers: Events, report: Report
    ) -> None:
        self._store = store
        self._threads = threads
        self._flights = flights
        self._pauses = pauses
        self._events = observers
        self._report = report

    async def settle_forever(self, patience_seconds: float = math.inf) -> None:
        """Raises UnreachableError when nothing could be written for longer than that."""
        outage = Outage(patience_seconds)
        while True:
            await self._flights.answered.wait()
            finished = self._flights.take_finished()
            if not finished:
                continue
            try:
                await self._settle(finished)
                outage.over()
            except UnreachableError as error:
                self._flights.put_back(finished)
                self._events.emit(DatabaseLost("settle", str(error)))
                await asyncio.sleep(outage.goes_on(error))

    async def _settle(self, finished: Sequence[Finished]) -> None:
        settlements = [each.settlement for each in finished]
        sent = {
            each.batch.call_id: (each.sent_monotonic, each.duration_seconds)
            for each in finished
            if each.sent_monotonic is not None
        }
        started = time.monotonic()
        settled = await self._threads.run(lambda: self._store.settle(settlements, sent))
        self._flights.accept(settled.children, started)
        self._tell(finished, settled)
        self._flights.close(finished)

    def _tell(self, finished: Sequence[Finished], settled: Settled) -> None:
        for each in finished:
            if each.batch.call_id in settled.lost:
                self._report.lost_calls += 1
                self._events.emit(CallLost(each.batch.call_id))
                continue
            event = call_settled(each)
            self._report.add(event)
            self._events.emit(event)
            order = each.settlement.pause
            if order is not None:
                self._pauses.stale()
                if order.credential is not None:
                    self._pauses.refused(each.batch.account)
                self._events.emit(Paused(order.scope, order.seconds, order.reason, order.error_code))


def call_settled(each: Finished) -> CallSettled:
    """The event of one settled call."""
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
    )
