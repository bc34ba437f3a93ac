"""What the tables say to a person: the backlog, the messages, and the history of one of them. Reads only.

Read models for the command, the checks or a page: functions over a connection, which knows its
schema (see ``relay.database``), and frozen values.

Nothing here scans finished rows: every row is kept, and counting them would take longer each month. What got through
of late is counted from the newest calls, up to a bound. It is all read
through the windows, so that operators and auditors need no right on a table, and what the platform or a person says is
masked. Contents never leave the database through this package; a message shows its length and a digest that an auditor
can compare.
"""

from __future__ import annotations

from relay.reports.backlog import (
    BusyWorker,
    FailedCode,
    PauseListed,
    Status,
    Trouble,
    far_told,
    foremost,
    status,
    trouble,
)
from relay.reports.history import Attempt, Call, MessageReport, message, unmasked
from relay.reports.listing import Filter, MessageLine, messages
from relay.reports.throughput import DAY, HOUR, Spread, Throughput, throughput

__all__ = [
    "DAY",
    "HOUR",
    "Attempt",
    "BusyWorker",
    "Call",
    "FailedCode",
    "Filter",
    "MessageLine",
    "MessageReport",
    "PauseListed",
    "Spread",
    "Status",
    "Throughput",
    "Trouble",
    "far_told",
    "foremost",
    "message",
    "messages",
    "status",
    "throughput",
    "trouble",
    "unmasked",
]
