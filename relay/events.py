"""The closed list of what can be observed, and an emitter that never raises: observers may fail, delivery may not.

Events carry counts, codes and identifiers; never a content, a secret or a session. ``name`` is the stable key of the
log line. ``trace_id`` and ``span_id`` are those of a call's span, in hexadecimal digits, where somebody records it.
Listeners are in ``observers/``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class WorkerStarted:
    """``worker`` as in its call rows; ``producer`` is the name it is registered by; ``concurrency`` calls at once.

    The rest says what it works with, as far as whoever wired it knows: the ``version`` of the relay, the ``database``
    without a password, the version of ``postgresql``, where calls go (``platform``), and where ``metrics`` are.
    """

    name: ClassVar[str] = "worker.started"
    worker: str
    producer: str
    concurrency: int
    version: str | None = None
    database: str | None = None
    postgresql: str | None = None
    schema: str | None = None
    platform: str | None = None
    metrics: str | None = None


@dataclass(frozen=True, slots=True)
class Warned:
    """Something that keeps nobody from sending messages, and had better be mended: ``reason`` is a sentence."""

    name: ClassVar[str] = "warning"
    reason: str


@dataclass(frozen=True, slots=True)
class PollingOnly:
    """No wake-up by the database: a message waits up to the poll interval. ``reason`` says why."""

    name: ClassVar[str] = "wakeup.unavailable"
    reason: str


@dataclass(frozen=True, slots=True)
class Claimed:
    """A claim. ``expired``: messages past their ``deliver_before``; ``seconds``: how long the claim itself took."""

    name: ClassVar[str] = "claim"
    calls: int
    messages: int
    expired: int
    seconds: float


@dataclass(frozen=True, slots=True)
class CallSettled:
    """One call whose outcomes are committed: the one line per call. ``producer``: its name in the settings."""

    name: ClassVar[str] = "call"
    call_id: int
    account: str
    outcome: str
    messages: int
    done: int
    retry: int
    failed: int
    unknown: int
    split: int
    http_status: int | None
    request_id: str | None
    error_code: str | None
    sub_code: str | None
    error_message: str | None
    request_bytes: int | None
    duration_ms: int | None
    producer: str = ""
    trace_id: str | None = None
    span_id: str | None = None


@dataclass(frozen=True, slots=True)
class CallLost:
    """Someone else settled this call first (its lease had run out): nothing was changed by us."""

    name: ClassVar[str] = "call.lost"
    call_id: int
    trace_id: str | None = None
    span_id: str | None = None


@dataclass(frozen=True, slots=True)
class CallRefused:
    """The call was made, and PostgreSQL refuses what is to be written about it. It stays open and is tried again."""

    name: ClassVar[str] = "call.refused"
    call_id: int
    account: str
    messages: int
    error: str
    again_in_seconds: float
    trace_id: str | None = None
    span_id: str | None = None


@dataclass(frozen=True, slots=True)
class MessageUnreadable:
    """PostgreSQL cannot hand out this message. It failed with ``relay.unreadable``, and the others go on."""

    name: ClassVar[str] = "message.unreadable"
    message_id: int
    error: str


@dataclass(frozen=True, slots=True)
class LeasesRecovered:
    """Calls of a worker that is gone: now unknown. Any at all means that a relay died while calls were open."""

    name: ClassVar[str] = "lease.recovered"
    calls: int
    messages: int


@dataclass(frozen=True, slots=True)
class Paused:
    """An answer ordered a pause: ``scope`` is ``account:NAME`` or ``app:KEY``; ``seconds`` None: until it is resumed or
    there is another credential.
    """

    name: ClassVar[str] = "paused"
    scope: str
    seconds: float | None
    reason: str
    error_code: str | None
    more: int | None = None  # how many other accounts, for the same reason at the same moment


@dataclass(frozen=True, slots=True)
class PauseLifted:
    """A pause ended: there is another credential, or nothing waits of an account that has none.

    ``more``: how many other pauses ended with it.
    """

    name: ClassVar[str] = "pause.lifted"
    scope: str
    more: int | None = None


@dataclass(frozen=True, slots=True)
class AccountsTroubled:
    """A source of credentials, or what it has for an account, is of no use; what it said last stays in force.

    Told when that begins or changes, not at each look-up.
    """

    name: ClassVar[str] = "accounts.troubled"
    error: str


@dataclass(frozen=True, slots=True)
class AccountsMended:
    """Every source of credentials is of use again."""

    name: ClassVar[str] = "accounts.mended"


@dataclass(frozen=True, slots=True)
class DatabaseLost:
    """A statement could not be run; it will be tried again. ``stage``: claim, settle, extend, recover, pace.

    ``cause`` is the stable key of what ``error`` says in words (see ``database_errors.py``).
    """

    name: ClassVar[str] = "database.lost"
    stage: str
    error: str
    cause: str | None = None


@dataclass(frozen=True, slots=True)
class DatabaseRefused:
    """PostgreSQL refuses a statement for another reason than being away. ``call_id``: where it is about one call."""

    name: ClassVar[str] = "database.refused"
    stage: str
    error: str
    call_id: int | None = None


@dataclass(frozen=True, slots=True)
class LocksTaken:
    """A stranger holds locks of ordering keys: inserts with such a key may have to wait, or fail. Or somebody may have
    locked messages in a transaction that stays open: those are not claimed. All else goes on.
    """

    name: ClassVar[str] = "locks.taken"
    holder: str


@dataclass(frozen=True, slots=True)
class LocksSeen:
    """How many transactions may keep messages from being sent just now: of sessions, and prepared ones."""

    name: ClassVar[str] = "locks.seen"
    sessions: int
    prepared: int


@dataclass(frozen=True, slots=True)
class ProducerFailed:
    """The producer raised instead of answering: a mistake in the producer. Its call counts as unknown."""

    name: ClassVar[str] = "producer.failed"
    call_id: int
    error: str
    trace_id: str | None = None
    span_id: str | None = None


@dataclass(frozen=True, slots=True)
class ProducerRaised:
    """Where the producer raised: ``frames``, the innermost last, each "file:line in function"; no text, no values."""

    name: ClassVar[str] = "producer.raised"
    call_id: int
    error: str
    frames: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Archived:
    """What one round of this worker moved to the archive."""

    name: ClassVar[str] = "archived"
    messages: int
    attempts: int
    calls: int


@dataclass(frozen=True, slots=True)
class ArchivingFailed:
    """A round of archiving ended early; the next one tries again. Messages are not concerned."""

    name: ClassVar[str] = "archiving.failed"
    error: str


@dataclass(frozen=True, slots=True)
class WorkerStopping:
    """Nothing more is claimed; the calls in flight have ``grace_seconds`` to land."""

    name: ClassVar[str] = "worker.stopping"
    calls_in_flight: int
    grace_seconds: float


@dataclass(frozen=True, slots=True)
class WorkerStopped:
    """The run is over. What it did in all: ``calls`` settled, messages ``done`` and ``failed``."""

    name: ClassVar[str] = "worker.stopped"
    calls: int
    done: int
    failed: int


Event = (
    WorkerStarted
    | Warned
    | PollingOnly
    | Claimed
    | CallSettled
    | CallLost
    | CallRefused
    | MessageUnreadable
    | LeasesRecovered
    | Paused
    | PauseLifted
    | AccountsTroubled
    | AccountsMended
    | DatabaseLost
    | DatabaseRefused
    | LocksTaken
    | LocksSeen
    | ProducerFailed
    | ProducerRaised
    | Archived
    | ArchivingFailed
    | WorkerStopping
    | WorkerStopped
)
Observer = Callable[[Event], None]


class Events:
    """Tells every observer; an observer that raises is left out of that event and nobody else notices."""

    def __init__(self, observers: Sequence[Observer] = ()) -> None:
        self._observers = tuple(observers)

    def emit(self, event: Event) -> None:
        """Tell every observer, in their order. Never raises."""
        for observer in self._observers:
            try:
                observer(event)
            except Exception:  # noqa: S112  whatever an observer does, messages go on
                continue
