"""Spans of a worker's calls, where its process traces: ``spans.py`` is loaded then, and OpenTelemetry never by us."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relay.observers.spans import CallSpans

_LOADED = "opentelemetry.trace"


def call_spans(worker: str) -> CallSpans | None:
    """None where nobody has set tracing up by now (``opentelemetry-instrument``, or the application around us)."""
    if _LOADED not in sys.modules:
        return None
    from relay.observers.spans import CallSpans

    return CallSpans(worker)
