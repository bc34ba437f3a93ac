"""Messages a page at a time, the newest first."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, func, select, union_all

from relay.reports.columns import PENDING, STATUS, all_of, columns_of
from relay.windows import read_outbox as outbox


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
    held: bool = False


@dataclass(frozen=True, slots=True)
class Filter:
    """Which messages; None: all. ``status`` may be ``held`` too, which is a part of pending.

    ``since`` is the age of the oldest insert still wanted.
    """

    status: str | None = None
    topic: str | None = None
    account: str | None = None
    ordering_key: str | None = None
    error_code: str | None = None
    since: timedelta | None = None


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
    if wanted.status == "held":
        conditions.append(outbox.c.held)
    lines = columns_of(MessageLine, outbox).where(*conditions)
    if wanted.status in ("pending", "held"):
        halves = PENDING if wanted.ordering_key is None else PENDING[1:]
        ends = (lines.where(half).order_by(outbox.c.id.desc()).limit(limit + 1) for half in halves)
        lines = select(union_all(*ends).subquery())
    elif wanted.status is not None:
        lines = lines.where(STATUS[wanted.status])
    lines = lines.order_by(lines.selected_columns.id.desc()).limit(limit + 1)
    found = all_of(connection, MessageLine, lines)
    return list(found[:limit]), found[limit - 1].id if len(found) > limit else None
