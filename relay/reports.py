"""What the tables say to a person: the backlog, the messages, and the history of one of them. Reads only.

Nothing here scans finished rows: every row is kept, and counting them would take longer each month. It is all read
through the windows, so that operators and auditors need no right on a table, and what the platform or a person says is
masked. Contents never leave the database through this module; a message shows its length and a digest that an auditor
can compare.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Any

from sqlalchemy import (
    BigInteger,
    Connection,
    Double,
    Select,
    and_,
    any_,
    cast,
    func,
    literal,
    literal_column,
    or_,
    select,
    union,
    union_all,
)
from sqlalchemy.sql import ColumnElement, FromClause

from relay.lingering import Lingering, lingering
from relay.windows import read_attempt as attempt
from relay.windows import read_attempt_archive as attempt_archive
from relay.windows import read_call as call
from relay.windows import read_call_archive as call_archive
from relay.windows import read_outbox as outbox
from relay.windows import read_outbox_archive as outbox_archive
from relay.windows import read_pause as pause

# Written out, not bound: a prepared statement's plan could not know that a partial index fits.
_STATUS = {name: outbox.c.status == literal_column(f"'{name}'") for name in ("pending", "done", "failed")}
# Each half has the condition of one partial index; a plain ``status = 'pending'`` would fit neither of them.
_PENDING = tuple(
    _STATUS["pending"] & keyed for keyed in (outbox.c.ordering_key.is_(None), outbox.c.ordering_key.is_not(None))
)
_OPEN = call.c.settled_at.is_(None)
_NEWEST_CALLS, _BARREN_CALLS = 100, 5
_RECENT = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class FailedCode:
    error_code: str | None
    messages: int


@dataclass(frozen=True, slots=True)
class Pause:
    """``until`` None: until somebody resumes it."""

    scope: str
    until: datetime | None
    reason: str
    error_code: str | None
    since: datetime
    by: str


@dataclass(frozen=True, slots=True)
class Worker:
    """A process with open calls; ``lease_until`` is the earliest of theirs, in the past if nobody extends it."""

    worker: str
    calls: int
    messages: int
    lease_until: datetime


@dataclass(frozen=True, slots=True)
class Trouble:
    """The last ``calls`` all came to nothing, the first of them at ``since``; the rest is what the last one said."""

    calls: int
    since: datetime
    http_status: int | None
    error_code: str | None
    error_message: str | None


@dataclass(frozen=True, slots=True)
class Status:
    """``pending`` = ``due`` + ``waiting`` + ``held``; what is in flight is still pending.

    ``oldest_due_seconds`` counts from the time the message was allowed to go; None when none is due. ``far``: of those
    that wait, how many will for more than a year, and ``farthest_due`` until when: milliseconds were taken for seconds.
    """

    pending: int
    due: int
    waiting: int
    held: int
    oldest_due_seconds: float | None
    far: int
    farthest_due: datetime | None
    in_flight_calls: int
    in_flight_messages: int
    failed: tuple[FailedCode, ...]
    pauses: tuple[Pause, ...]
    workers: tuple[Worker, ...]
    trouble: Trouble | None = None  # of the platform, or of the way to it
    lingering: tuple[Lingering, ...] = ()  # who may have locked messages, while some have been due for long


@dataclass(frozen=True, slots=True)
class MessageLine:
    """``available_at`` None: held until a person releases it."""

    id: int
    status: str
    topic: str
    account: str
    ordering_key: str | None
    attempts: int
    error_code: str | None
    created_at: datetime
    available_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class Attempt:
    call_id: int
    result_index: int
    outcome: str
    error_code: str | None
    error_message: str | None
    at: datetime
    retry_at: datetime | None


@dataclass(frozen=True, slots=True)
class Call:
    """``result_index``: where the message stood in it; ``created_by``: the login; ``outcome`` None: it is open."""

    id: int
    parent_id: int | None
    result_index: int
    messages: int
    worker: str
    created_by: str | None
    outcome: str | None
    http_status: int | None
    request_id: str | None
    error_code: str | None
    sub_code: str | None
    error_message: str | None
    claimed_at: datetime
    sent_at: datetime | None
    settled_at: datetime | None
    duration_ms: int | None


@dataclass(frozen=True, slots=True)
class MessageReport:
    """``content_sha256`` is the one of ``audit_message``; ``calls`` and ``attempts`` are in the order they happened."""

    id: int
    status: str
    topic: str
    account: str
    target_group: str | None
    target_app_key: str | None
    ordering_key: str | None
    dedupe_key: str | None
    producer: str | None
    content_characters: int
    content_sha256: str | None
    attempts: int
    call_id: int | None
    result_index: int | None
    error_code: str | None
    error_message: str | None
    available_at: datetime | None
    deliver_before: datetime | None
    created_at: datetime
    created_by: str
    finished_at: datetime | None
    archived: bool
    history: tuple[Attempt, ...]
    calls: tuple[Call, ...]


@dataclass(frozen=True, slots=True)
class Filter:
    """Which messages; None: all. ``since`` is the age of the oldest insert still wanted."""

    status: str | None = None
    topic: str | None = None
    account: str | None = None
    ordering_key: str | None = None
    error_code: str | None = None
    since: timedelta | None = None


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a message is, with its attempts and calls."""

    messages: FromClause
    attempts: FromClause
    calls: FromClause


# While one of its messages is in the outbox, a call is not archived; afterwards it may be in either place.
_HOT = _Place(outbox, attempt, call)
_ARCHIVE = _Place(
    outbox_archive,
    attempt_archive,
    union_all(select(call), select(*(call_archive.c[column.name] for column in call.c))).subquery(),
)


def status(connection: Connection) -> Status:
    """The state of the relay now; the cost grows with the backlog, not with what is finished."""
    backlog: dict[str, Any] = dict(connection.execute(_backlog()).mappings().one())
    workers = _all(connection, Worker, _workers())
    unresumed = or_(pause.c.until.is_(None), pause.c.until > func.now())
    failures = select(outbox.c.error_code, func.count()).where(_STATUS["failed"])
    return Status(
        **backlog,
        in_flight_calls=sum(worker.calls for worker in workers),
        in_flight_messages=sum(worker.messages for worker in workers),
        failed=_all(connection, FailedCode, failures.group_by(outbox.c.error_code).order_by(func.count().desc())),
        pauses=_all(connection, Pause, _columns_of(Pause, pause).where(unresumed).order_by(pause.c.scope)),
        workers=workers,
        trouble=trouble(connection),
        lingering=lingering(connection, backlog["oldest_due_seconds"]),
    )


def trouble(connection: Connection) -> Trouble | None:
    """What the platform's silence looks like, where no call of the last minutes brought a message any further.

    The newest ids are looked at and no more; a call that was split is judged by its halves.
    """
    newest = select(call).order_by(call.c.id.desc()).limit(_NEWEST_CALLS).subquery().c
    half = select(call).order_by(call.c.id.desc()).limit(_NEWEST_CALLS).subquery().c
    closed = newest.settled_at.is_not(None) & (newest.outcome != "released")
    split = select(half.id).where(half.parent_id == newest.id).exists()
    code = func.coalesce(newest.sub_code, newest.error_code)
    lines = select(newest.outcome, newest.settled_at, newest.http_status, code, newest.error_message)
    recent = newest.settled_at > func.now() - _RECENT
    found = connection.execute(lines.where(closed, recent, ~split).order_by(newest.id.desc())).all()
    barren = list(takewhile(lambda line: line.outcome not in ("ok", "partial"), found))
    if len(barren) < _BARREN_CALLS:
        return None
    return Trouble(len(barren), barren[-1].settled_at, *barren[0][2:])


def far_told(found: Status) -> str | None:
    """What is due so late that it may be a mistake, in words."""
    if found.farthest_due is None:
        return None
    year = found.farthest_due.isoformat().partition("-")[0]
    return f"{found.far}, the last in the year {year}: milliseconds taken for seconds?"


def messages(
    connection: Connection, wanted: Filter, *, limit: int, after: int | None = None
) -> tuple[list[MessageLine], int | None]:
    """The newest messages first, and the id to give as ``after`` for the next page (None: this was the last)."""
    conditions = [
        outbox.c[name] == value
        for name in ("topic", "account", "ordering_key", "error_code")
        if (value := getattr(wanted, name)) is not None
    ]
    if wanted.since is not None:
        conditions.append(outbox.c.created_at >= func.now() - wanted.since)
    if after is not None:
        conditions.append(outbox.c.id < after)
    lines = _columns_of(MessageLine, outbox).where(*conditions)
    if wanted.status == "pending":
        halves = _PENDING if wanted.ordering_key is None else _PENDING[1:]
        ends = (lines.where(half).order_by(outbox.c.id.desc()).limit(limit + 1) for half in halves)
        lines = select(union_all(*ends).subquery())
    elif wanted.status is not None:
        lines = lines.where(_STATUS[wanted.status])
    lines = lines.order_by(lines.selected_columns.id.desc()).limit(limit + 1)
    found = _all(connection, MessageLine, lines)
    return list(found[:limit]), found[limit - 1].id if len(found) > limit else None


def message(connection: Connection, message_id: int) -> MessageReport | None:
    """One message with its attempts, the calls that named it, and the calls those were split off from."""
    return _report(connection, message_id, _HOT) or _report(connection, message_id, _ARCHIVE)


def _report(connection: Connection, message_id: int, place: _Place) -> MessageReport | None:
    messages, attempts = place.messages.c, place.attempts.c
    asked = _columns_of(MessageReport, place.messages, archived=literal(place is _ARCHIVE))
    facts: dict[str, Any] | None = connection.execute(asked.where(messages.id == message_id)).mappings().one_or_none()  # type: ignore[assignment]
    if facts is None:
        return None
    history = _columns_of(Attempt, place.attempts)
    return MessageReport(
        **facts,
        history=_all(connection, Attempt, history.where(attempts.message_id == message_id).order_by(attempts.call_id)),
        calls=_all(connection, Call, _calls_of(message_id, place)),
    )


def _backlog() -> Select[Any]:
    """A pending message that is not held and has no time was due since ever."""
    columns = (outbox.c.held, outbox.c.available_at, outbox.c.created_at)
    pending = union_all(*(select(*columns).where(half) for half in _PENDING)).subquery().c
    later = pending.available_at > func.now()
    due = and_(~pending.held, later.is_not(True))
    far = pending.available_at > func.now() + timedelta(days=366)
    since = func.min(func.greatest(pending.available_at, pending.created_at)).filter(due)
    return select(
        func.count().label("pending"),
        func.count().filter(due).label("due"),
        func.count().filter(later).label("waiting"),
        func.count().filter(pending.held).label("held"),
        cast(func.extract("epoch", func.now() - since), Double).label("oldest_due_seconds"),
        func.count().filter(far).label("far"),
        func.max(pending.available_at).filter(far).label("farthest_due"),
    )


def _workers() -> Select[Any]:
    size = func.cardinality(call.c.message_ids)
    summary = select(call.c.worker, func.count(), func.sum(size), func.min(call.c.lease_until))
    return summary.where(_OPEN).group_by(call.c.worker).order_by(call.c.worker)


def _calls_of(message_id: int, place: _Place) -> Select[Any]:
    """Calls are found by what names them, for no index leads from a message to all of its calls.

    Each is looked up by its id (an array, a lateral): as joins, the planner would rather read all calls of the archive.
    """
    named = union(
        select(place.attempts.c.call_id).where(place.attempts.c.message_id == message_id),
        select(place.messages.c.call_id).where(place.messages.c.id == message_id),
        select(call.c.id).where(_OPEN, any_(call.c.message_ids) == message_id),
    )
    calls = place.calls.c
    first = select(calls.id, calls.parent_id).where(calls.id == any_(func.array(named.scalar_subquery())))
    line = first.cte("line", recursive=True)
    parent = select(calls.id, calls.parent_id).where(calls.id == line.c.parent_id).offset(0).lateral()
    line = line.union(select(parent.c.id, parent.c.parent_id).select_from(line).join(parent, literal(True)))
    position = func.array_position(calls.message_ids, literal(message_id, BigInteger)) - 1
    shown = _columns_of(Call, place.calls, result_index=position, messages=func.cardinality(calls.message_ids))
    return shown.where(calls.id == any_(func.array(select(line.c.id).scalar_subquery()))).order_by(calls.id)


def _columns_of(kind: Any, table: Any, **computed: ColumnElement[Any]) -> Select[Any]:
    """One column for each field of the dataclass, by name; those neither stored nor computed are the caller's."""
    names = [name for name in kind.__dataclass_fields__ if name in computed or name in table.c]
    return select(*(computed.get(name, table.c.get(name)).label(name) for name in names))


def _all(connection: Connection, kind: Any, query: Select[Any]) -> tuple[Any, ...]:
    return tuple(kind(*row) for row in connection.execute(query))
