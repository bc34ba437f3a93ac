"""What the tables say to a person: the backlog, the messages, and the history of one of them. Reads only.

Read models for the command, the checks and the pages of the dashboard: functions over a connection, which knows its
schema (see ``relay.database``), and frozen values.

Nothing here scans finished rows: every row is kept, and counting them would take longer each month. What got through
of late is counted from the newest calls, up to a bound. It is all read
through the windows, so that operators and auditors need no right on a table, and what the platform or a person says is
masked. Contents never leave the database through this package; a message shows its length and a digest that an auditor
can compare.
"""

from __future__ import annotations

from relay.reports.attention import (
    MaskedContent,
    OpenCalls,
    PutOffPace,
    masked_content,
    open_calls,
    put_off,
)
from relay.reports.backlog import (
    BusyWorker,
    PauseListed,
    Status,
    Trouble,
    far_told,
    foremost,
    status,
    trouble,
)
from relay.reports.calls import (
    MOST_POSITIONS,
    CallLine,
    CallPosition,
    CallReport,
    calls,
    calls_of_request,
    one_call,
)
from relay.reports.duplicates import (
    UnclearOutcome,
    duplicates,
    unclear_among,
)
from relay.reports.failed_heads import FailedHead, FailedHeads, failed_heads
from relay.reports.failures import (
    MOST_LISTED_CODES,
    FailedCode,
    FailedCodes,
    FailureCount,
    failed_codes,
    failures,
)
from relay.reports.history import Attempt, Call, MessageReport, message, trace_id, unmasked
from relay.reports.keys import (
    MOST_BEHIND,
    BlockedKeyLine,
    blocked_keys,
)
from relay.reports.past import (
    LedgerLine,
    PastPause,
    PauseLine,
    attempt_at,
    ledger,
    ledger_of_message,
    past_pauses,
    pause_in_force,
    pauses_in_force,
)
from relay.reports.rights import Rights, rights
from relay.reports.search import (
    DISCARDED,
    MOST_LOOKED,
    STATES,
    FoundMessage,
    changeable,
    find,
    of_dedupe_key,
)
from relay.reports.series import (
    OUTCOMES,
    CallStretch,
    last,
    now,
    series,
)
from relay.reports.sources import Search
from relay.reports.stretches import (
    NEWEST,
    Cursor,
    Position,
    Stretch,
)
from relay.reports.throughput import DAY, HOUR, Spread, Throughput, throughput
from relay.reports.waiting import AGES, MOST_COUNTED, BlockedKeys, Pending, waiting

__all__ = [
    "AGES",
    "DAY",
    "DISCARDED",
    "HOUR",
    "MOST_BEHIND",
    "MOST_COUNTED",
    "MOST_LISTED_CODES",
    "MOST_LOOKED",
    "MOST_POSITIONS",
    "NEWEST",
    "OUTCOMES",
    "STATES",
    "Attempt",
    "BlockedKeyLine",
    "BlockedKeys",
    "BusyWorker",
    "Call",
    "CallLine",
    "CallPosition",
    "CallReport",
    "CallStretch",
    "Cursor",
    "FailedCode",
    "FailedCodes",
    "FailedHead",
    "FailedHeads",
    "FailureCount",
    "FoundMessage",
    "LedgerLine",
    "MaskedContent",
    "MessageReport",
    "OpenCalls",
    "PastPause",
    "PauseLine",
    "PauseListed",
    "Pending",
    "Position",
    "PutOffPace",
    "Rights",
    "Search",
    "Spread",
    "Status",
    "Stretch",
    "Throughput",
    "Trouble",
    "UnclearOutcome",
    "attempt_at",
    "blocked_keys",
    "calls",
    "calls_of_request",
    "changeable",
    "duplicates",
    "failed_codes",
    "failed_heads",
    "failures",
    "far_told",
    "find",
    "foremost",
    "last",
    "ledger",
    "ledger_of_message",
    "masked_content",
    "message",
    "now",
    "of_dedupe_key",
    "one_call",
    "open_calls",
    "past_pauses",
    "pause_in_force",
    "pauses_in_force",
    "put_off",
    "rights",
    "series",
    "status",
    "throughput",
    "trace_id",
    "trouble",
    "unclear_among",
    "unmasked",
    "waiting",
]
