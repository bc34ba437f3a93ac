"""Every metric there is: name, kind, labels, unit, meaning, and what to alert on. ``docs/metrics.md`` is made of this.

Labels are from closed lists, but for ``account``: of those only the largest few are named, and few within an hour.
Never a topic, an id, a key or a code of the platform. What is true of the whole database is told by every worker alike:
``max``, not ``sum``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

SECONDS = "seconds"


class MetricKind(StrEnum):
    """As Prometheus calls them."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Figure:
    """One metric. ``of_all``: it is read from the database, for the whole fleet. ``only_with``: when it is there."""

    name: str
    kind: MetricKind
    unit: str
    meaning: str
    labels: tuple[str, ...] = ()
    alert: str = ""
    of_all: bool = False
    only_with: str = ""

    @property
    def sample(self) -> str:
        """As a query writes it: a counter ends in ``_total``."""
        return self.name + {MetricKind.COUNTER: "_total", MetricKind.INFO: "_info"}.get(self.kind, "")


def _all(name: str, unit: str, meaning: str, *labels: str, alert: str = "", only_with: str = "") -> Figure:
    return Figure(name, MetricKind.GAUGE, unit, meaning, labels, alert, of_all=True, only_with=only_with)


_ARCHIVING = "RELAY_ARCHIVE_AFTER_DAYS"

BACKLOG = _all(
    "relay_backlog_messages",
    "messages",
    "Pending messages: due, waiting for a later time or a retry, held for a person.",
    "state",
    "account",
    alert='`sum(max by (account) (relay_backlog_messages{state="held"})) > 0`: somebody has to decide',
)
OLDEST_DUE = _all(
    "relay_backlog_oldest_due_seconds",
    SECONDS,
    "For how long the oldest due message has been due, be it paused or not; 0: none is due.",
    alert="`max(relay_backlog_oldest_due_seconds) > 300`, for 5 minutes: the one to be woken by",
)
EXACT = _all(
    "relay_backlog_exact",
    "0 or 1",
    "Whether everything that waits was counted; 0: the numbers of messages and keys, and the age, are at least that.",
)
BLOCKED_KEYS = _all(
    "relay_backlog_blocked_keys",
    "keys",
    "Ordering keys whose first message waits for a retry or a person: the others wait behind it.",
    alert="it grows for an hour: `SELECT * FROM relay.blocked_keys`",
)
OPEN_CALLS = _all(
    "relay_open_calls",
    "calls",
    "Calls that are claimed and not settled: leased, or lapsed because their worker is gone.",
    "lease",
    alert='`max(relay_open_calls{lease="lapsed"}) > 0`, for 5 minutes: no worker recovers them',
)
IN_FLIGHT = _all("relay_messages_in_flight", "messages", "Messages that open calls name.")
PAUSES_IN_FORCE = _all(
    "relay_pauses_in_force",
    "pauses",
    "Pauses of accounts and apps, by why: credentials, no_credentials, throttled, requests, person, other.",
    "scope",
    "reason",
    alert='`max(relay_pauses_in_force{reason="credentials"}) > 0`: a session has to be renewed',
)
ARCHIVE_LAG = _all(
    "relay_archive_lag_seconds",
    SECONDS,
    "By how much the oldest finished message in the outbox is older than it should get; 0: not at all.",
    alert="`max(relay_archive_lag_seconds) > 86400`: archiving does not keep up, or fails",
    only_with=_ARCHIVING,
)
BACKLOG_UP = _all(
    "relay_backlog_up",
    "0 or 1",
    "Whether the database answered the last question about all of these; without an answer they are absent.",
    alert="`max(relay_backlog_up) == 0`, for 5 minutes: nobody knows what waits",
)
BACKLOG_AGE = _all("relay_backlog_age_seconds", SECONDS, "How old what was read from the database is.")

BUILD = Figure("relay_build", MetricKind.INFO, "", "Version of the relay.", ("version",))
CALLS = Figure(
    "relay_calls",
    MetricKind.COUNTER,
    "calls",
    "Calls settled: ok, partial, rejected, unknown, or released unsent.",
    ("producer", "outcome"),
    alert='more than a fifth is not `ok` for 10 minutes: `outcome=~"rejected|unknown"`',
)
OUTCOMES = Figure(
    "relay_message_outcomes",
    MetricKind.COUNTER,
    "messages",
    "What calls meant for messages: done, retry, failed, unknown. The producer of a worker that is gone is not known.",
    ("producer", "outcome"),
    alert='`sum(increase(relay_message_outcomes_total{outcome="failed"}[10m])) > 0`: read `relay.audit_failure`',
)
CALL_SECONDS = Figure(
    "relay_call_duration_seconds", MetricKind.HISTOGRAM, SECONDS, "Time from sending a call to its answer."
)
BATCH = Figure("relay_batch_messages", MetricKind.HISTOGRAM, "messages", "Messages in a call.")
CLAIM_SECONDS = Figure(
    "relay_claim_duration_seconds", MetricKind.HISTOGRAM, SECONDS, "Time of a claim that found something."
)
EXPIRED = Figure(
    "relay_messages_expired",
    MetricKind.COUNTER,
    "messages",
    "Messages that failed because deliver_before passed.",
    alert="any: they came too late to be sent",
)
CALLS_LOST = Figure(
    "relay_calls_lost",
    MetricKind.COUNTER,
    "calls",
    "Calls whose outcome came after another worker had settled them as unknown.",
    alert="any: a lease is too short, or a worker stood still",
)
RECOVERED = Figure(
    "relay_leases_recovered",
    MetricKind.COUNTER,
    "calls",
    "Calls of workers that were gone, settled as unknown by this one.",
    alert="any: a worker died while calls were open, and messages may arrive twice",
)
PAUSES = Figure("relay_pauses", MetricKind.COUNTER, "pauses", "Pauses ordered because of an answer.")
DATABASE_LOST = Figure(
    "relay_database_lost",
    MetricKind.COUNTER,
    "transactions",
    "Transactions that have to be run again, for PostgreSQL was away: claim, settle, extend, recover, pace.",
    ("stage",),
)
DATABASE_REFUSED = Figure(
    "relay_database_refused",
    MetricKind.COUNTER,
    "statements",
    "Statements that PostgreSQL refused: see the log.",
    ("stage",),
    alert="any: a right is missing, or a row is in the way",
)
LINGERING = Figure(
    "relay_lingering_transactions",
    MetricKind.GAUGE,
    "transactions",
    "Transactions of others, of a session or prepared, that have been open for a minute and may keep messages locked.",
    ("kind",),
    alert="`max by (kind) (relay_lingering_transactions) > 0`, for 5 minutes: `relay check` names them",
)
ARCHIVED = Figure(
    "relay_messages_archived", MetricKind.COUNTER, "messages", "Messages moved to the archive.", only_with=_ARCHIVING
)
LAST_SUCCESS = Figure(
    "relay_last_success_timestamp_seconds",
    MetricKind.GAUGE,
    SECONDS,
    "When a message of this worker was accepted last, in seconds since 1970; 0: none yet.",
)
LISTENING = Figure(
    "relay_wakeup_listening",
    MetricKind.GAUGE,
    "0 or 1",
    "Whether inserts can wake this worker; 0: it can only poll, and the log says why. Absent with RELAY_WAKEUP=poll.",
    alert="0 for an hour where it used to be 1: messages wait up to the poll interval",
)

OF_ALL = (
    BACKLOG,
    OLDEST_DUE,
    EXACT,
    BLOCKED_KEYS,
    OPEN_CALLS,
    IN_FLIGHT,
    PAUSES_IN_FORCE,
    ARCHIVE_LAG,
    BACKLOG_UP,
    BACKLOG_AGE,
)
OF_A_WORKER = (
    CALLS,
    OUTCOMES,
    CALL_SECONDS,
    BATCH,
    CLAIM_SECONDS,
    EXPIRED,
    CALLS_LOST,
    RECOVERED,
    PAUSES,
    DATABASE_LOST,
    DATABASE_REFUSED,
    LINGERING,
    ARCHIVED,
    LAST_SUCCESS,
    LISTENING,
    BUILD,
)
FIGURES = (*OF_ALL, *OF_A_WORKER)
