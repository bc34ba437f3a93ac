"""Spans around calls, by the semantic conventions of messaging: ``send TOPIC``, a link for each message.

A call is a trace of its own: its messages come from many, and are linked. Spans carry ids, topics, the account, codes
and outcomes; no content, no header but the trace context, and nothing that the platform says in words.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from opentelemetry.context import Context
from opentelemetry.trace import (
    Span,
    SpanKind,
    Status,
    StatusCode,
    get_current_span,
    get_tracer,
    use_span,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from relay import __version__
from relay.message import Batch
from relay.outcomes import Settlement
from relay.showing import escaped
from relay.traces import Origin, TraceIds

_EVENTS = 50  # for messages that were not accepted: SDKs keep a hundred or so
_LONGEST = 64  # characters of a name that others chose
_FINE = ("ok", "released")
_PROPAGATOR = TraceContextTextMapPropagator()


class CallSpans:
    """Begins a span for each call of this worker that somebody records."""

    def __init__(self, worker: str) -> None:
        self._worker = worker
        self._tracer = get_tracer("outbox-relay", __version__)

    def begin(self, batch: Batch, system: str) -> CallSpan | None:
        """None where it is not recorded: there is no SDK, or it is not sampled."""
        topics = {message.topic for message in batch.messages}
        single = topics.pop() if len(topics) == 1 else None
        attributes: dict[str, Any] = {
            "messaging.system": system,
            "messaging.operation.name": "send",
            "messaging.operation.type": "send",
            "messaging.client.id": self._worker,
            "relay.account": _short(batch.account),
            "relay.call_id": batch.call_id,
        }
        if len(batch) > 1:
            attributes["messaging.batch.message_count"] = len(batch)
        else:
            attributes["messaging.message.id"] = str(batch.messages[0].id)
        if single is not None:
            attributes["messaging.destination.name"] = escaped(single)
        name = "send" if single is None else f"send {escaped(single)}"
        span = self._tracer.start_span(name, Context(), SpanKind.CLIENT, attributes)
        return CallSpan(span, batch) if span.is_recording() else None


class CallSpan:
    """To be entered while the call is made, and then to be finished, once."""

    def __init__(self, span: Span, batch: Batch) -> None:
        self._span = span
        self._batch = batch
        found = span.get_span_context()
        self.ids = TraceIds(f"{found.trace_id:032x}", f"{found.span_id:016x}")

    def __enter__(self) -> None:
        self._using = use_span(self._span, record_exception=False, set_status_on_exception=False)
        self._using.__enter__()

    def __exit__(self, *failure: Any) -> None:
        self._using.__exit__(*failure)
        if failure[0] is not None:  # nothing was sent, and nobody finishes it
            self._span.end()

    def finish(self, settlement: Settlement, origins: Sequence[Origin], ended_ns: int) -> None:
        """What became of each message, where each came from, and when the answer came (since 1970)."""
        self._link(origins)
        self._tell(settlement)
        self._span.end(ended_ns)

    def _link(self, origins: Sequence[Origin]) -> None:
        index_of = {message.id: index for index, message in enumerate(self._batch.messages)}
        for origin in origins:
            carrier = {"traceparent": origin.traceparent or "", "tracestate": origin.tracestate or ""}
            context = get_current_span(_PROPAGATOR.extract(carrier, Context())).get_span_context()
            if context.is_valid:
                index = index_of[origin.message_id]
                attributes: dict[str, Any] = {
                    "messaging.message.id": str(origin.message_id),
                    "messaging.destination.name": escaped(self._batch.messages[index].topic),
                    "relay.result_index": index,
                    "relay.outbox_seconds": round(origin.seconds, 3),
                }
                self._span.add_link(context, attributes)
        if origins:
            self._span.set_attribute("relay.oldest_outbox_seconds", round(max(one.seconds for one in origins), 3))

    def _tell(self, settlement: Settlement) -> None:
        outcomes = ["split" if settlement.halves else settlement.outcome] * len(self._batch)
        for _, index in settlement.done:
            outcomes[index] = "done"
        for verdict in settlement.verdicts:
            outcomes[verdict.result_index] = verdict.outcome.value
        self._span.set_attribute("relay.outcome", settlement.outcome)
        self._span.set_attribute("relay.outcomes", outcomes)
        if settlement.http_status is not None:
            self._span.set_attribute("http.response.status_code", settlement.http_status)
        if settlement.request_id is not None:
            self._span.set_attribute("relay.request_id", _short(settlement.request_id))
        for verdict in settlement.verdicts[:_EVENTS]:
            said: dict[str, Any] = {
                "messaging.message.id": str(verdict.message_id),
                "relay.result_index": verdict.result_index,
                "relay.outcome": verdict.outcome.value,
            }
            if verdict.code:
                said["error.type"] = _short(verdict.code)
            self._span.add_event("relay.not_accepted", said)
        if settlement.outcome not in _FINE:
            code = settlement.sub_code or settlement.error_code or settlement.outcome
            self._span.set_attribute("error.type", _short(code))
            accepted = len(settlement.done)
            self._span.set_status(
                Status(StatusCode.ERROR, f"{len(outcomes) - accepted} of {len(outcomes)} messages were not accepted")
            )


def _short(name: str) -> str:
    return escaped(name)[:_LONGEST]
