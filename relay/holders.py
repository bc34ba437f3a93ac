"""Who has locks on the relay's tables, for a session that did not get one in time: found, told, and how to end it.

Everybody sees who has which lock, and whose session it is; since when and in what state, only who may. What is known is
told. Locks of rows are in no list; but the holder of one also has a lock of the table and an id of a transaction, which
are. So where rows were waited for, the first one named is the likeliest: what locks the whole table goes before what
may lock rows, one that waits for another comes after it, and one that came later than we did comes last.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Row, text
from sqlalchemy.exc import DBAPIError

from relay.database_errors import LOCKED, state_of
from relay.errors import RelayError
from relay.sessions import undisturbed
from relay.showing import escaped
from relay.sql import VERSION_TABLE, migrate_lock, quoted

NOTHING_CHANGED = "nothing was changed"

_HOLDERS = """
select held.virtualtransaction as transaction, held.pid, s.usename as role, s.application_name as application, s.state,
    p.gid, p.owner, extract(epoch from statement_timestamp() - coalesce(s.xact_start, p.prepared)) as seconds,
    extract(epoch from statement_timestamp() - s.query_start) as query_seconds, current_user as me,
    coalesce(bool_or(held.relation = to_regclass(:versions) and held.mode = 'ExclusiveLock'
        or held.locktype = 'advisory'), false) as migrates,
    bool_or(held.mode in ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')) as whole,
    bool_or(held.mode in ('RowShareLock', 'RowExclusiveLock')) and exists (
        select from pg_locks id where id.virtualtransaction = held.virtualtransaction
          and id.locktype = 'transactionid' and id.granted) as rows,
    exists (select from pg_locks wanted where wanted.pid = held.pid and not wanted.granted) as waits
from pg_locks held
left join pg_stat_activity s on s.pid = held.pid
left join (pg_locks x join pg_prepared_xacts p on p.transaction = x.transactionid)
    on held.pid is null and x.locktype = 'transactionid' and x.virtualtransaction = held.virtualtransaction
where held.granted and held.pid is distinct from pg_backend_pid()
  and held.database = (select oid from pg_database where datname = current_database())
  and (held.locktype = 'relation'
       and held.relation in (select oid from pg_class where relnamespace = to_regnamespace(:quoted)
            and (relname = any (cast(:tables as text[])) or cast(:tables as text[]) is null))
    or held.locktype = 'advisory' and held.objsubid = 1 and cast(:tables as text[]) is null
       and (cast(held.classid as bigint) << 32) | cast(held.objid as bigint) = cast(hashtext(:lock) as bigint))
group by 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
order by migrates desc, seconds desc nulls last, held.pid
"""


class InTheWay(RelayError):  # noqa: N818 the name says what is the case
    """Another session has what a migration needs, or a person who acts; ``undone`` says what was not done.

    ``transactions`` tells them apart in the next try.
    """

    def __init__(
        self, holders: Sequence[Row[Any]], known: frozenset[str] = frozenset(), *, undone: str = NOTHING_CHANGED
    ) -> None:
        self.transactions = frozenset(holder.transaction for holder in holders)
        first = min(holders, key=lambda holder: holder.transaction not in known, default=None)  # who was there before
        if first is None:
            super().__init__(f"another session was using the relay's tables; {undone}", "Run it again.")
            return
        others = len(holders) - 1
        does = "is migrating" if first.migrates else "is using the relay's tables"
        super().__init__(
            f"{_told(first)} {does}" + (f", and so do {others} more" if others else "") + f"; {undone}",
            f"Wait until it has ended, or end it: {_remedy(first)}; and run this again.",
        )


@contextmanager
def named_if_in_the_way(connection: Connection, schema: str, tables: Sequence[str]) -> Iterator[None]:
    """Raises InTheWay, which names who holds one of these tables, where a lock on them is not free in time.

    What was done inside is undone then, and the caller's transaction lasts.
    """
    try:
        with connection.begin_nested():
            yield
    except (DBAPIError, RelayError) as error:
        if state_of(error) not in LOCKED:
            raise
        raise InTheWay(holders(connection, schema, tables)) from error


def holders(connection: Connection, schema: str, tables: Sequence[str] | None = None) -> Sequence[Row[Any]]:
    """Who has locks on these tables; None: on any of the relay's, or the lock of those who migrate."""
    versions = f"{quoted(schema)}.{VERSION_TABLE}"
    asked = {"quoted": quoted(schema), "versions": versions, "lock": migrate_lock(schema)}
    with undisturbed(connection):
        return connection.execute(text(_HOLDERS), asked | {"tables": tables and list(tables)}).all()


def keeping_writers(connection: Connection, schema: str, *, waited_seconds: float) -> Sequence[Row[Any]]:
    """Those of them that can keep a session waiting that reads and writes rows, the likeliest first."""
    found = (holder for holder in holders(connection, schema) if holder.whole or holder.rows)
    return sorted(found, key=lambda holder: _likelihood(holder, waited_seconds))


def _likelihood(holder: Row[Any], waited_seconds: float) -> tuple[Any, ...]:
    """The smaller, the likelier. Who has been there for how long may be hidden from us."""
    came_later = holder.seconds is not None and holder.seconds < waited_seconds
    runs = not (holder.gid or (holder.state or "").startswith("idle in transaction"))
    return not holder.whole, bool(holder.waits), came_later, runs, -(holder.seconds or 0)


def _told(holder: Row[Any]) -> str:
    return escaped(_words(holder))  # names of roles and of prepared transactions are chosen by strangers


def _words(holder: Row[Any]) -> str:
    if holder.gid is not None:
        return f"the transaction {holder.gid} of {holder.owner}, prepared {holder.seconds:.0f} s ago,"
    who = f"process {holder.pid}, role {holder.role or 'unknown'}, application {holder.application or 'unnamed'},"
    if holder.seconds is None:
        return f"{who} since when and with what {holder.me} may not see (a member of pg_monitor may),"
    return (
        f"{who} {holder.state}, in a transaction for {holder.seconds:.0f} s "
        f"(its last statement began {holder.query_seconds or 0:.0f} s ago),"
    )


def _remedy(holder: Row[Any]) -> str:
    if holder.gid is not None:
        return f"rollback prepared '{holder.gid}'"
    return f"select pg_terminate_backend({holder.pid}), as {holder.role} or a member of pg_signal_backend"
