"""Events as records of Python's own ``logging``, for a worker inside an application: its log is the application's.

The logger is ``relay``. Without a handler of the application nothing is written anywhere: a library does not print. A
record says the event and its fields in words, and has them as ``record.relay``, a dict, for a formatter of JSON.
"""

from __future__ import annotations

import logging

from relay import events
from relay.observers.logs import fields_of, level_of
from relay.showing import json_text

LOGGER = logging.getLogger("relay")
LOGGER.addHandler(logging.NullHandler())


class LogRecords:
    """An observer. Each record names the worker, for there may be several in one process."""

    def __init__(self, worker: str) -> None:
        self._worker = worker

    def __call__(self, event: events.Event) -> None:
        level = logging.getLevelNamesMapping()[level_of(event).upper()]
        if LOGGER.isEnabledFor(level):
            fields = {"worker": self._worker, **fields_of(event)}
            said = " ".join(f"{name}={json_text(value)}" for name, value in fields.items())
            LOGGER.log(level, "%s %s", event.name, said, extra={"relay": {"event": event.name, **fields}})
