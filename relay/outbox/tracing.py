"""The trace of an application, carried along with its messages: the W3C context in ``headers``, and a span of its own.

Nothing of OpenTelemetry is loaded here unless the application has loaded it: who has not, has no span. So an
application that traces nothing pays a look into a dictionary, and no extra is needed. Where a span is current::

    add, add_async             a span ``create TOPIC``; its context goes with the message
    add_many, add_many_async   one such span for all of them
    insert, OutboxMessage      no span, for who executes it and when is not known; the context is the current one

A message whose headers have a ``traceparent`` keeps it, and has no span. Spans carry topic, account, ids and the kind
of an error: no content, no key, and nothing that a driver says, which may quote a row.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from relay.outbox.content import ExactText, keys_of, utf8_length
from relay.schema import MAX_BYTES

_LOADED = "opentelemetry.trace"
_SYSTEM = "outbox_relay"  # what the application writes to; where it is sent, the worker knows
_PARENT, _STATE = "traceparent", "tracestate"

NewRow = dict[str, Any]
Inserted = TypeVar("Inserted")


class Creation:
    """Of messages. As long as no span is current it changes nothing, and gives back what it is given."""

    def __enter__(self) -> Creation:
        return self

    def __exit__(self, *failure: Any) -> None:
        return None

    def over(self, chunks: Iterator[list[NewRow]]) -> Iterator[list[NewRow]]:
        """The same rows, chunk by chunk."""
        return chunks

    def wrote(self, written: Inserted) -> Inserted:
        """The same, an id or a list of them."""
        return written


_UNTRACED = Creation()


def creating(row: NewRow | None = None) -> Creation:
    """Around an insert of this row, or of many: to be entered. The row's headers are completed."""
    current = _current_span() if _LOADED in sys.modules else None
    if current is None or (row is not None and not _takes_context(row)):
        return _UNTRACED
    return _Traced(row)


def carry(row: NewRow) -> None:
    """Let this message go with the context of the current span, where there is one."""
    if _LOADED in sys.modules and _current_span() is not None:
        _stamp(row, _carrier())


class _Traced(Creation):
    """A span that is current while messages are inserted. Of many it learns the topics as they come."""

    def __init__(self, row: NewRow | None) -> None:
        from opentelemetry import trace

        from relay import __version__

        self._topics: set[str] = {row["topic"]} if row else set()
        self._many = row is None
        self._span = trace.get_tracer("outbox-relay", __version__).start_span(
            _named(self._topics),
            kind=trace.SpanKind.PRODUCER,
            attributes={
                "messaging.system": _SYSTEM,
                "messaging.operation.name": "create",
                "messaging.operation.type": "create",
            },
        )
        self._using = trace.use_span(
            self._span, end_on_exit=True, record_exception=False, set_status_on_exception=False
        )
        self._row = row
        self._messages = 0

    def __enter__(self) -> Creation:
        self._using.__enter__()
        self._carried = _carrier()
        if self._row is not None:
            _stamp(self._row, self._carried)
            self._span.set_attribute("relay.account", self._row.get("account", "default"))
        return self

    def __exit__(self, *failure: Any) -> None:
        if self._topics:
            self._span.update_name(_named(self._topics))
        if len(self._topics) == 1:
            self._span.set_attribute("messaging.destination.name", *self._topics)
        if self._many:
            self._span.set_attribute("messaging.batch.message_count", self._messages)
        if failure[0] is not None:
            self._failed(failure[0])
        self._using.__exit__(*failure)

    def over(self, chunks: Iterator[list[NewRow]]) -> Iterator[list[NewRow]]:
        for chunk in chunks:
            for row in chunk:
                if len(self._topics) <= 1:
                    self._topics.add(row["topic"])
                if _takes_context(row):
                    _stamp(row, self._carried)
            self._messages += len(chunk)
            yield chunk

    def wrote(self, written: Inserted) -> Inserted:
        if isinstance(written, int):
            self._span.set_attribute("messaging.message.id", str(written))
        elif written is None:
            self._span.set_attribute("relay.dedupe_key_was_there", True)
        return written

    def _failed(self, kind: type[BaseException]) -> None:
        from opentelemetry.trace import Status, StatusCode

        self._span.set_attribute("error.type", kind.__name__)
        self._span.set_status(Status(StatusCode.ERROR))


def _current_span() -> Any:
    """The span that is current and has an identity; None where there is none."""
    span = sys.modules[_LOADED].get_current_span()
    return span if span.get_span_context().is_valid else None


def _carrier() -> dict[str, str]:
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier


def _takes_context(row: NewRow) -> bool:
    headers = row.get("headers")
    return headers is None or _PARENT not in keys_of(headers)


def _stamp(row: NewRow, carrier: dict[str, str]) -> None:
    """What is there already stays letter for letter; where there is no room for more, all of it does."""
    headers = row.get("headers")
    there: Iterable[str] = () if headers is None else keys_of(headers)
    if _PARENT in there or _PARENT not in carrier:
        return
    ours = json.dumps({name: value for name, value in carrier.items() if name not in there}, separators=(",", ":"))
    rest = "" if headers is None else headers.lstrip(" \t\r\n")[1:]
    text = ours[:-1] + ("," + rest if there else "}")
    if utf8_length(text) <= MAX_BYTES["headers"]:
        row["headers"] = ExactText(text)


def _named(topics: set[str]) -> str:
    return f"create {next(iter(topics))}" if len(topics) == 1 else "create"
