"""The archive: what finished moves there in small batches, by whomever; a month of it goes as a whole, by a person.

The moving itself, and the row it leaves in the ledger, are functions of the database (revision 0006), so that a worker
may archive without any right to delete. Each batch is one transaction; a message and its attempts move together, a call
when none of its messages is left in ``relay.outbox``. Nothing is gone by that: the audit views read both places.

Months are those of UTC and of the time at which a message finished. They go in their order, the oldest first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, text

from relay.acting import acting
from relay.errors import RelayError
from relay.holders import Holder, InTheWay, holders, named_if_in_the_way
from relay.operators import statements as sql
from relay.operators.ledger import Order, record
from relay.sql import quoted, run, schema_of, statement

_LOCK_TIMEOUT = "500ms"  # below any usual deadlock_timeout: it is never a reader who has to give way
# Hashes in a row of an answer, and such rows in memory at once: some three megabytes.
_TOGETHER, _ROWS_AT_ONCE = 10_000, 10
_UNFINISHED = "no more is archived, nothing was changed since the last batch, which is in the ledger"
_TABLES = ("outbox_archive", "attempt_archive", "call_archive")


@dataclass(frozen=True, slots=True)
class Moved:
    """What one batch moved. ``busy``: another archiver is at work, so this run ended and leaves the rest to it.

    ``archiver``: which session that is and since when, in words; None: it has ended meanwhile.
    """

    messages: int = 0
    attempts: int = 0
    calls: int = 0
    busy: bool = False
    archiver: str | None = None

    def __add__(self, other: Moved) -> Moved:
        return Moved(
            self.messages + other.messages,
            self.attempts + other.attempts,
            self.calls + other.calls,
            self.busy or other.busy,
            other.archiver or self.archiver,
        )


@dataclass(frozen=True, slots=True)
class Archivable:
    """What would be moved, and how many dedupe keys would be all that stays of it there."""

    messages: int
    dedupe_keys: int
    oldest_seconds: float | None


@dataclass(frozen=True, slots=True)
class Month:
    """What finished in one month. ``hashes_sha256`` is the SHA-256, in hex, of the contents' own (32 bytes each, as
    they were taken at the inserts) one after another in the order of the ids: who kept a copy can compare.
    """

    month: str
    messages: int
    attempts: int
    calls: int
    first_id: int | None
    last_id: int | None
    bytes: int
    hashes_sha256: str


def archivable(connection: Connection, older_than: timedelta, *, failed_holds: bool) -> Archivable:
    """What finished longer ago than that. Reads the whole table."""
    asked = {"older_than": older_than, "failed_holds": failed_holds}
    return Archivable(**run(connection, sql.COUNT_ARCHIVABLE, **asked).mappings().one())


def archive(
    transaction: Callable[[], AbstractContextManager[Connection]],
    older_than: timedelta,
    *,
    actor: str,
    reason: str,
    batch: int = 1000,
    failed_holds: bool = False,
) -> Iterator[Moved]:
    """Move what finished longer ago than that; yields what each batch moved, once it is committed.

    ``transaction`` begins one, such as ``begin`` of the engine of a ``Database``. With ``failed_holds``
    (RELAY_ON_FAILED_HEAD=hold) failed messages that hold an ordering key stay. What another transaction has locked
    stays until the next time.
    """
    with transaction() as connection:
        before: datetime = run(connection, sql.CUTOFF, older_than=older_than).scalar_one()
    undone = "nothing is archived, nothing was changed"
    wanted = {"before": before, "batch": batch, "actor": actor, "reason": reason}
    for batches, asked in (
        (sql.ARCHIVE_MESSAGES, wanted | {"failed_holds": failed_holds}),
        (sql.ARCHIVE_CALLS, wanted),
    ):
        after, more = 0, True
        while more:
            with transaction() as connection, acting(connection, undone):
                page = run(connection, batches, after=after, **asked).one()
            if page.busy:
                with transaction() as connection:
                    yield Moved(
                        busy=True, archiver=next((f"{one.who}{one.since}" for one in _archivers(connection)), None)
                    )
                return
            yield Moved(page.messages, page.attempts, page.calls)
            after, more = page.after, page.more
            if page.messages or page.calls:
                undone = _UNFINISHED


def months(connection: Connection) -> Iterator[Month]:
    """Every month there is, the oldest first. Reads the hashes of all archived messages."""
    for month, size in _archived(connection).items():
        yield _month(connection, month, size)


def droppable(connection: Connection, month: str) -> Month:
    """The month, written 2026-01, that might be dropped now. Raises RelayError as ``drop_month`` does."""
    now: datetime = run(connection, "select now()").scalar_one()
    month = f"{bounds(month)['begins']:%Y-%m}"
    if bounds(month)["ends"] > now:
        raise RelayError(f"The month {month} is not over (in UTC).", "Messages that finish now would belong to it.")
    there = _archived(connection)
    if month not in there:
        raise RelayError(f"There is nothing of {month} in the archive.", "relay archive --list shows which months are.")
    if month != (oldest := min(there)):
        raise RelayError(
            f"{month} is not the oldest month in the archive: calls of messages that stay may be in it.",
            f"Drop {oldest} first: a call is archived with its last message, and the others may be in older months.",
        )
    return _month(connection, month, there[month])


def drop_month(connection: Connection, month: str, *, actor: str, reason: str) -> Month:
    """Remove a month of the archive for good: messages, attempts, calls. Gives back what it was, as the ledger has it.

    Only the oldest one, and that loses no evidence of what stays: a call is archived when none of its messages is left
    in ``relay.outbox``, and with the last of them to finish, so whatever names it is in its month or in an older one.

    Raises RelayError where there is no such month, where it is not over, where an older one is still there, and while
    somebody archives. A reader of the archive is waited for, but not for long, and then named (InTheWay); claims and
    settling never wait for this.
    """
    with acting(connection, f"{month} is not dropped, nothing was changed"):
        return _drop_month(connection, month, actor, reason)


def _drop_month(connection: Connection, month: str, actor: str, reason: str) -> Month:
    if not run(connection, sql.LOCK_OUT_ARCHIVERS).scalar_one():
        raise InTheWay(_archivers(connection), undone="nothing was dropped", does="is archiving")
    found = droppable(connection, month)
    facts = {field: getattr(found, field) for field in found.__dataclass_fields__}
    facts |= run(connection, sql.ARCHIVED_DAYS, **bounds(found.month)).mappings().one()
    record(connection, "drop", Order(actor, reason, facts), None, found.messages)
    schema = schema_of(connection)
    connection.execute(text(f"set local lock_timeout = '{_LOCK_TIMEOUT}'"))
    parts = [f"{table}{_suffix(month)}" for table in _TABLES]
    with named_if_in_the_way(connection, schema, [*_TABLES, *parts]):
        connection.execute(text(f"drop table {', '.join(f'{quoted(schema)}.{part}' for part in parts)}"))
    return found


def _archivers(connection: Connection) -> list[Holder]:
    """The sessions that have the lock of archivers."""
    return holders(connection, schema_of(connection), ["archive_lock"])


def bounds(month: str) -> dict[str, datetime]:
    """When a month, written 2026-01, begins and when the next one does. Raises ValueError for anything else."""
    begins = datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC)
    return {"begins": begins, "ends": (begins + timedelta(days=31)).replace(day=1)}


def _suffix(month: str) -> str:
    return f"_y{bounds(month)['begins']:%Ym%m}"


def _archived(connection: Connection) -> dict[str, int]:
    """The months there are, the oldest first, and how many bytes each takes."""
    rows = run(connection, sql.ARCHIVED_MONTHS).all()
    return {f"{row.suffix[2:6]}-{row.suffix[7:9]}": row.bytes for row in rows}


def _month(connection: Connection, month: str, size: int) -> Month:
    within = bounds(month)
    facts = run(connection, sql.ARCHIVED_MONTH, **within).mappings().one()
    digest = hashlib.sha256()
    asked = within | {"together": _TOGETHER}
    hashes = statement(sql.HASHES, schema_of(connection))
    for row in connection.execute(hashes, asked, execution_options={"yield_per": _ROWS_AT_ONCE}):
        digest.update(row.hashes)
    return Month(month=month, bytes=size, hashes_sha256=digest.hexdigest(), **facts)
