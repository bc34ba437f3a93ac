"""The state of the relay now: what waits, who works, what is paused, and what the platform seems to say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Any

from sqlalchemy import Connection, Double, Select, and_, cast, func, or_, select, union_all
from sqlalchemy.sql import ColumnElement

from relay.lingering import Lingering, lingering
from relay.message import NO_CREDENTIALS
from relay.reports.columns import OPEN, PENDING, STATUS, all_of, columns_of
from relay.windows import read_call as call
from relay.windows import read_outbox as outbox
from relay.windows import read_pause as pause

_NEWEST_CALLS, _BARREN_CALLS = 100, 5
_RECENT = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class FailedCode:
    """How many messages failed with this code."""

    error_code: str | None
    messages: int


@dataclass(frozen=True, slots=True)
class PauseListed:
    """``until`` None: until a person resumes it."""

    scope: str
    until: datetime | None
    reason: str
    error_code: str | None
    since: datetime
    by: str

    @property
    def for_a_credential(self) -> bool:
        """Whether a worker ordered it for one that was refused or is missing: a new one ends it, and no other pause."""
        return self.until is None and self.error_code is not None


@dataclass(frozen=True, slots=True)
class BusyWorker:
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
    ``paused`` and ``busy_workers``: how many pauses are in force and workers busy, where not all of them are listed.
    ``due_paused``: of those that are due, how many belong to an account that is paused by its name, and
    ``oldest_free_seconds`` for how long the oldest of the others is due. Whose app key is paused is not known here.
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
    pauses: tuple[PauseListed, ...]
    workers: tuple[BusyWorker, ...]
    trouble: Trouble | None = None  # of the platform, or of the way to it
    lingering: tuple[Lingering, ...] = ()  # who may have locked messages, while some have been due for long
    due_paused: int = 0
    paused: int = 0
    busy_workers: int = 0
    oldest_free_seconds: float | None = None


def status(connection: Connection, *, most: int | None = None) -> Status:
    """The state of the relay now; the cost grows with the backlog, not with what is finished.

    ``most``: how many pauses and workers are listed at most; of accounts without credentials last.
    """
    backlog: dict[str, Any] = dict(connection.execute(_backlog()).mappings().one())
    workers = _workers()
    busy = workers.subquery().c
    flying = connection.execute(select(func.count(), func.sum(busy.calls), func.sum(busy.messages))).one()
    failures = select(outbox.c.error_code, func.count()).where(STATUS["failed"])
    return Status(
        **backlog,
        in_flight_calls=int(flying[1] or 0),
        in_flight_messages=int(flying[2] or 0),
        failed=all_of(connection, FailedCode, failures.group_by(outbox.c.error_code).order_by(func.count().desc())),
        pauses=all_of(connection, PauseListed, _listed(most)),
        workers=all_of(connection, BusyWorker, workers.limit(most)),
        paused=connection.execute(select(func.count()).select_from(pause).where(_in_force())).scalar_one(),
        busy_workers=flying[0],
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


def pause_of(connection: Connection, account: str) -> PauseListed | None:
    """The pause in force of this account by its name, not that of its app key."""
    lines = columns_of(PauseListed, pause).where(pause.c.scope == f"account:{account}", _in_force())
    return next(iter(all_of(connection, PauseListed, lines)), None)


def far_told(found: Status) -> str | None:
    """What is due so late that it may be a mistake, in words."""
    if found.farthest_due is None:
        return None
    year = found.farthest_due.isoformat().partition("-")[0]
    return f"{found.far}, the last in the year {year}: milliseconds taken for seconds?"


def foremost(pauses: Sequence[PauseListed], most: int) -> Sequence[PauseListed]:
    """What fits on a page: accounts without credentials may be a hundred thousand, so they come last."""
    if len(pauses) <= most:
        return pauses
    return sorted(pauses, key=lambda pause: (pause.error_code == NO_CREDENTIALS, pause.scope))[:most]


def _backlog() -> Select[Any]:
    """A pending message that is not held and has no time was due since ever."""
    columns = (outbox.c.held, outbox.c.available_at, outbox.c.created_at, outbox.c.account)
    pending = union_all(*(select(*columns).where(half) for half in PENDING)).subquery().c
    later = pending.available_at > func.now()
    due = and_(~pending.held, later.is_not(True))
    far = pending.available_at > func.now() + timedelta(days=366)
    since = func.greatest(pending.available_at, pending.created_at)
    paused = pending.account.in_(
        select(func.substr(pause.c.scope, 9)).where(pause.c.scope.startswith("account:"), _in_force())
    )
    numbers: tuple[ColumnElement[Any], ...] = (
        func.count().label("pending"),
        func.count().filter(due).label("due"),
        func.count().filter(later).label("waiting"),
        func.count().filter(pending.held).label("held"),
        _seconds_since(func.min(since).filter(due)).label("oldest_due_seconds"),
        func.count().filter(due, paused).label("due_paused"),
        _seconds_since(func.min(since).filter(due, ~paused)).label("oldest_free_seconds"),
        func.count().filter(far).label("far"),
        func.max(pending.available_at).filter(far).label("farthest_due"),
    )
    return select(*numbers)


def _in_force() -> ColumnElement[bool]:
    return or_(pause.c.until.is_(None), pause.c.until > func.now())


def _seconds_since(moment: ColumnElement[datetime]) -> ColumnElement[float]:
    return cast(func.extract("epoch", func.now() - moment), Double)


def _listed(most: int | None) -> Select[Any]:
    listed = columns_of(PauseListed, pause).where(_in_force())
    if most is None:
        return listed.order_by(pause.c.scope)
    return listed.order_by(pause.c.error_code.is_not_distinct_from(NO_CREDENTIALS), pause.c.scope).limit(most)


def _workers() -> Select[Any]:
    size = func.cardinality(call.c.message_ids)
    summary = select(
        call.c.worker,
        func.count().label("calls"),
        func.sum(size).label("messages"),
        func.min(call.c.lease_until).label("lease_until"),
    )
    return summary.where(OPEN).group_by(call.c.worker).order_by(call.c.worker)
