"""The state of the relay now: what waits, who works, what is paused, and what the platform seems to say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Any

from sqlalchemy import Connection, Select, func, or_, select
from sqlalchemy.sql import ColumnElement

from relay.lingering import Lingering, lingering
from relay.message import NO_CREDENTIALS
from relay.reports.columns import OPEN, all_of, columns_of
from relay.reports.failures import FailedCode, FailedCodes, failed_codes
from relay.reports.waiting import Pending, waiting
from relay.windows import read_call as call
from relay.windows import read_pause as pause

_NEWEST_CALLS, _BARREN_CALLS = 100, 5
_MOST_APPS = 3
_RECENT = timedelta(minutes=15)
_OF_THE_BACKLOG = (
    "pending", "due", "waiting", "held", "oldest_due_seconds", "due_paused", "due_perhaps_paused",
    "oldest_free_seconds", "far", "farthest_due",
)  # fmt: skip


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

    @property
    def of_an_app(self) -> bool:
        """Whether it is that of an app key: every account that has it waits."""
        return self.scope.startswith("app:")


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
    ``due_paused``: of those that are due, how many belong to an account that is paused by its name.
    ``due_perhaps_paused``: how many others may wait for the pause of an app key: while one is paused, those of accounts
    for which no call was made since. ``oldest_free_seconds``: for how long the oldest of all others is due.
    ``failed``: the codes with the most messages; of the rest, how many they are. Where ``exact`` is False more wait
    than were counted, and the numbers are at least that; ``failed_exact`` likewise.
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
    due_perhaps_paused: int = 0
    paused: int = 0
    busy_workers: int = 0
    oldest_free_seconds: float | None = None
    failed_other_codes: int = 0
    failed_other_messages: int = 0
    exact: bool = True
    failed_exact: bool = True

    @property
    def failed_messages(self) -> int:
        """Of all codes."""
        return self.failed_other_messages + sum(code.messages for code in self.failed)


def status(
    connection: Connection,
    *,
    most: int | None = None,
    backlog: Pending | None = None,
    failed: FailedCodes | None = None,
) -> Status:
    """The state of the relay now; the cost grows with what waits and what failed, not with what is done.

    ``most``: how many pauses and workers are listed at most; of accounts without credentials last. ``backlog`` and
    ``failed``: where they have been counted already, up to a bound.
    """
    backlog = backlog or waiting(connection, most=None)
    failed = failed or failed_codes(connection, most=None)
    workers = _workers()
    busy = workers.subquery().c
    flying = connection.execute(select(func.count(), func.sum(busy.calls), func.sum(busy.messages))).one()
    return Status(
        **{name: getattr(backlog, name) for name in _OF_THE_BACKLOG},
        in_flight_calls=int(flying[1] or 0),
        in_flight_messages=int(flying[2] or 0),
        failed=failed.codes,
        failed_other_codes=failed.other_codes,
        failed_other_messages=failed.other_messages,
        exact=backlog.exact,
        failed_exact=failed.exact,
        pauses=all_of(connection, PauseListed, _listed(most)),
        workers=all_of(connection, BusyWorker, workers.limit(most)),
        paused=connection.execute(select(func.count()).select_from(pause).where(_in_force())).scalar_one(),
        busy_workers=flying[0],
        trouble=trouble(connection),
        lingering=lingering(connection, backlog.oldest_due_seconds),
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


def app_pauses(connection: Connection) -> tuple[PauseListed, ...]:
    """Some of the app keys that are paused, those that were first."""
    lines = columns_of(PauseListed, pause).where(_of_an_app(), _in_force())
    return all_of(connection, PauseListed, lines.order_by(pause.c.since, pause.c.scope).limit(_MOST_APPS))


def far_told(found: Status) -> str | None:
    """What is due so late that it may be a mistake, in words."""
    if found.farthest_due is None:
        return None
    year = found.farthest_due.isoformat().partition("-")[0]
    return f"{found.far}, the last in the year {year}: milliseconds taken for seconds?"


def foremost(pauses: Sequence[PauseListed], most: int) -> Sequence[PauseListed]:
    """What fits on a page: accounts without credentials may be a hundred thousand, so they come last; an app key holds
    up many accounts, so it comes first.
    """
    if len(pauses) <= most:
        return pauses
    return sorted(pauses, key=lambda pause: (pause.error_code == NO_CREDENTIALS, not pause.of_an_app, pause.scope))[
        :most
    ]


def _in_force() -> ColumnElement[bool]:
    return or_(pause.c.until.is_(None), pause.c.until > func.now())


def _of_an_app() -> ColumnElement[bool]:
    return pause.c.scope.startswith("app:")


def _listed(most: int | None) -> Select[Any]:
    listed = columns_of(PauseListed, pause).where(_in_force())
    if most is None:
        return listed.order_by(~_of_an_app(), pause.c.scope)
    last = pause.c.error_code.is_not_distinct_from(NO_CREDENTIALS)
    return listed.order_by(last, ~_of_an_app(), pause.c.scope).limit(most)


def _workers() -> Select[Any]:
    size = func.cardinality(call.c.message_ids)
    summary = select(
        call.c.worker,
        func.count().label("calls"),
        func.sum(size).label("messages"),
        func.min(call.c.lease_until).label("lease_until"),
    )
    return summary.where(OPEN).group_by(call.c.worker).order_by(call.c.worker)
