"""Traces as values: where a message comes from, and what a trace is called in headers and addresses."""

from __future__ import annotations

import re
from typing import NamedTuple

TRACE_ID = "{trace_id}"  # in the address of a trace's page
_PARENT = re.compile(
    r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}.*", re.DOTALL
)  # https://www.w3.org/TR/trace-context/


class Origin(NamedTuple):
    """Of a message: the trace context it came with, and for how many seconds it has been in the outbox."""

    message_id: int
    traceparent: str | None
    tracestate: str | None
    seconds: float


class TraceIds(NamedTuple):
    """Of a span, in hexadecimal digits, as logs and pages have them."""

    trace_id: str
    span_id: str


def trace_id_of(traceparent: str | None) -> str | None:
    """None where that is no such header, or names no trace."""
    found = _PARENT.fullmatch(traceparent or "")
    return found[1] if found and found[1].strip("0") else None


def trace_address(template: str, trace_id: str) -> str:
    """The address of the trace's page."""
    return template.replace(TRACE_ID, trace_id)
