"""Sessions that leave a transaction open in which they may have locked messages, calls, paces or pauses.

A claim steps over a row that another session has locked, so such messages are never sent, and nothing fails; of the
others a worker waits for the lock, in vain. Which session that may be is asked in ``holders.py``. A login that may only
insert cannot lock a row, however long its transaction is, but it has the ordering keys that it writes. What a session
does meanwhile does not matter: who means harm sleeps in a statement. It is worth telling only while messages wait that
could have been sent.

Of another role's session it may be hidden from us since when it is so. Then it counts if it is still there a moment
later: a worker's transactions are shorter than that.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection

from relay.holders import ROWS_OF, Holder, holders_sql
from relay.showing import escaped
from relay.sql import run

SECONDS = 60.0  # at least: how long messages have waited, and the transaction has been open
LOOK_AGAIN_SECONDS = 1.0

_WORDS = ROWS_OF | {"keys": "ordering keys"}

# A session that writes a message with an ordering key has one of 256 locks until its transaction ends. Meanwhile all
# keys of that lock wait, of all accounts. It counts where messages of such a key have been due for long, of those next
# in turn.
_HAS_KEYS = """c.relname = 'outbox' and held.mode = 'RowExclusiveLock' and exists (
        select from pg_locks taken
        where taken.locktype = 'advisory' and taken.objsubid = 2 and taken.granted and taken.classid = held.relation
          and taken.virtualtransaction = held.virtualtransaction and cast(taken.objid as integer) in (
              select (hashtext(message.account) # hashtext(message.ordering_key)) & 255
              from (select account, ordering_key, available_at, created_at from {schema}.read_outbox
                    where status = 'pending' and ordering_key is not null and not held
                    order by account, ordering_key, id limit 1000) as message
              where greatest(message.available_at, message.created_at)
                  < statement_timestamp() - make_interval(secs => cast(:seconds as double precision))))"""

LINGERING = holders_sql(_HAS_KEYS)

# For a worker: of the first of each kind, whether one could have been sent long ago. Of all that wait none is counted.
WAITING_FOR_LONG = """
select exists (
    select from (
        (select id, account, available_at, created_at from {schema}.outbox
         where status = 'pending' and ordering_key is null order by account, available_at, id limit 1000)
        union all
        (select id, account, available_at, created_at from {schema}.outbox
         where status = 'pending' and ordering_key is not null order by account, ordering_key, id limit 1000)
    ) as message
    where greatest(available_at, created_at) < now() - make_interval(secs => cast(:seconds as double precision))
      and not exists (
          select from {schema}.pause
          where scope = 'account:' || message.account and (until is null or until > now()))
      and not exists (
          select from {schema}.call
          where settled_at is null and lease_until > now() and message.id = any (message_ids)))
"""


@dataclass(frozen=True, slots=True)
class Lingering:
    """``seconds`` None: hidden from us. ``pid`` None: a prepared transaction, which is ``gid``. ``tables``: of ours.

    ``who`` and ``remedy``: in the words of ``holders.py``.
    """

    transaction: str
    pid: int | None
    role: str
    application: str
    seconds: float | None
    gid: str | None
    tables: tuple[str, ...]
    who: str
    remedy: str

    def __str__(self) -> str:
        since = "" if self.seconds is None else f" for {self.seconds:.0f} s"
        locked = " and ".join(word for table, word in _WORDS.items() if table in self.tables)
        leaves = "is open" if self.pid is None else "leaves a transaction open"
        return escaped(
            f"{self.who}, {leaves}{since} and may have locked {locked}, which keeps messages from being sent"
        )


def asked(seconds: float) -> dict[str, object]:
    """The parameters of LINGERING."""
    return {"tables": list(ROWS_OF), "lock": "", "seconds": seconds}


def of(found: Iterable[Holder], seconds: float) -> tuple[Lingering, ...]:
    """Those who have been there for this long, or are hidden from us."""
    return tuple(
        Lingering(
            one.transaction, one.pid, one.role, one.application, one.seconds, one.gid, tuple(one.tables),
            one.who, one.remedy,
        )
        for one in found
        if one.tables and (one.seconds is None or one.seconds > seconds)
    )  # fmt: skip


def lingering(connection: Connection, oldest_due_seconds: float | None) -> tuple[Lingering, ...]:
    """Those there are now, if messages have been due for this long."""
    if (oldest_due_seconds or 0.0) < SECONDS:
        return ()

    def look() -> tuple[Lingering, ...]:
        rows = run(connection, LINGERING, **asked(SECONDS)).all()
        return of((Holder(*row) for row in rows), SECONDS)

    found = look()
    if all(one.seconds is not None for one in found):
        return found
    time.sleep(LOOK_AGAIN_SECONDS)
    later = {one.transaction for one in look()}
    return tuple(one for one in found if one.transaction in later)
