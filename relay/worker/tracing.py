"""A span around each call, where somebody records them; this room knows none of OpenTelemetry.

Where the messages come from is asked while the call is in flight, so no call is sent later for it. An answer that does
not come in time, or not at all, costs the links and nothing else.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Protocol

from relay.message import Batch
from relay.outcomes import Settlement
from relay.traces import Origin, TraceIds

Ask = Callable[[Sequence[int]], Awaitable[tuple[Origin, ...]]]

_LINKS_SECONDS = 0.5  # after the answer came


class SpanRecord(Protocol):
    """Entered while the call is made. ``ids`` are for log lines."""

    ids: TraceIds

    def __enter__(self) -> None: ...

    def __exit__(self, *failure: object) -> None: ...

    def finish(self, settlement: Settlement, origins: Sequence[Origin], ended_ns: int) -> None:
        """What became of it, and when, in nanoseconds since 1970; called once, unless the block ended with an error."""
        ...


class Spans(Protocol):
    """Who makes spans."""

    def begin(self, batch: Batch, system: str) -> SpanRecord | None:
        """A span for this call, sent to that messaging system; None: nobody records it."""
        ...


class CallTrace:
    """Of one call. As it is, nobody records it."""

    ids: TraceIds | None = None

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        return None

    def finish(self, settlement: Settlement) -> None:
        """At once: whoever has an answer waits for nothing any more."""


_UNTRACED = CallTrace()


class Tracing:
    """``spans`` None: nobody traces. ``origins`` asks the database. Belongs to one event loop."""

    def __init__(self, spans: Spans | None = None, origins: Ask | None = None) -> None:
        self._spans = spans
        self._origins = origins
        self._finishing: set[asyncio.Task[None]] = set()

    def begin(self, batch: Batch, system: str) -> CallTrace:
        """To be entered around the call, and to be finished with what is decided. Whatever fails here, it is sent."""
        try:
            span = self._spans.begin(batch, system) if self._spans else None
        except Exception:  # of an SDK, a sampler, an exporter
            span = None
        return _UNTRACED if span is None else _Traced(self, span, batch)

    async def origins(self, batch: Batch) -> tuple[Origin, ...]:
        """Where its messages come from."""
        return await self._origins([message.id for message in batch.messages]) if self._origins else ()

    def begin_finishing(self, finishing: Coroutine[None, None, None]) -> None:
        """Let a span be finished when its links are there."""
        task = asyncio.create_task(finishing)
        self._finishing.add(task)
        task.add_done_callback(self._finishing.discard)

    async def close(self) -> None:
        """Wait for the last spans."""
        await asyncio.gather(*self._finishing, return_exceptions=True)


class _Traced(CallTrace):
    def __init__(self, tracing: Tracing, span: SpanRecord, batch: Batch) -> None:
        self._tracing = tracing
        self._span = span
        self._asking = asyncio.create_task(tracing.origins(batch))
        self.ids = span.ids

    def __enter__(self) -> None:
        self._span.__enter__()

    def __exit__(self, *failure: object) -> None:
        self._span.__exit__(*failure)
        if failure[0] is not None:
            self._asking.cancel()

    def finish(self, settlement: Settlement) -> None:
        ended_ns = time.time_ns()
        self._tracing.begin_finishing(self._finished(settlement, ended_ns))

    async def _finished(self, settlement: Settlement, ended_ns: int) -> None:
        origins: Sequence[Origin] = ()
        with suppress(Exception):
            async with asyncio.timeout(_LINKS_SECONDS):
                origins = await self._asking
        with suppress(Exception):
            self._span.finish(settlement, origins, ended_ns)
