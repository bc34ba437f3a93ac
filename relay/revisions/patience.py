"""Migrating in turns: whoever is too late has changed nothing, lets everybody pass, and tries again.

How long a try waits is in ``locks.py``. When it is over, the sessions that have the tables, or the lock of those who
migrate, are named as far as this login may see them.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, Row, text
from sqlalchemy.exc import DBAPIError

from relay.errors import RelayError
from relay.revisions import VERSION_TABLE, quoted
from relay.revisions.locks import TABLES_SECONDS
from relay.revisions.standing import as_owner
from relay.sessions import undisturbed

WAIT_SECONDS = 60.0
_PAUSE_SECONDS = (0.5, 1.5)  # between two tries
_BUSY = ("55P03", "40P01")  # a lock could not be had in time, a deadlock
_AUTOCOMMIT = "25P01"
_T = TypeVar("_T")

# Everybody sees who has which lock, and whose session it is; since when and in what state, only who may.
_MAY_LOCK = """
select has_schema_privilege(n.oid, 'usage') and has_table_privilege(c.oid, 'update')
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname = :schema and c.relname = :versions
"""
_HOLDERS = """
select held.virtualtransaction as transaction, held.pid, s.usename as role, s.application_name as application, s.state,
    p.gid, p.owner, extract(epoch from statement_timestamp() - coalesce(s.xact_start, p.prepared)) as seconds,
    extract(epoch from statement_timestamp() - s.query_start) as query_seconds, current_user as me,
    coalesce(bool_or(held.relation = to_regclass(:versions) and held.mode = 'ExclusiveLock'
        or held.locktype = 'advisory'), false) as migrates
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
    """Somebody has what a migration needs, or who drops a month; nothing was changed.

    ``transactions`` tells them apart in the next try.
    """

    def __init__(self, holders: Sequence[Row[Any]], known: frozenset[str]) -> None:
        self.transactions = frozenset(holder.transaction for holder in holders)
        first = min(holders, key=lambda holder: holder.transaction not in known, default=None)  # who was there before
        if first is None:
            super().__init__("somebody was using the relay's tables; nothing was changed", "Run it again.")
            return
        others = len(holders) - 1
        does = "is migrating" if first.migrates else "is using the relay's tables"
        super().__init__(
            f"{_told(first)} {does}" + (f", and so do {others} more" if others else "") + "; nothing was changed",
            f"Wait until it has ended, or end it: {_remedy(first)}; and run this again.",
        )


def in_turns(
    engine: Engine,
    work: Callable[[Connection], _T],
    *,
    schema: str,
    wait_seconds: float,
    tables_seconds: float = TABLES_SECONDS,
    tell: Callable[[str], None] = lambda _: None,
) -> _T:
    """What ``work`` gives back, done in a transaction of its own, tried again until it is nobody's turn or too late."""
    deadline = time.monotonic() + wait_seconds
    known: frozenset[str] = frozenset()
    while True:
        left = deadline - time.monotonic()
        try:
            with engine.connect().execution_options(isolation_level="READ COMMITTED") as connection, connection.begin():
                return turn(
                    connection, work, schema=schema, wait_seconds=left, tables_seconds=tables_seconds, known=known
                )
        except InTheWay as error:
            if time.monotonic() >= deadline:
                raise
            tell(f"{error}; trying again")
            known = error.transactions
        time.sleep(random.uniform(*_PAUSE_SECONDS))  # noqa: S311 no secret


def turn(
    connection: Connection,
    work: Callable[[Connection], _T],
    *,
    schema: str,
    wait_seconds: float,
    tables_seconds: float = TABLES_SECONDS,
    known: frozenset[str] = frozenset(),
) -> _T:
    """The same once, in the caller's transaction, which lasts whatever happens: InTheWay leaves nothing behind."""
    try:
        with connection.begin_nested(), undisturbed(connection):
            lock(connection, schema, wait_seconds)
            _set(connection, "relay.lock_timeout", f"{_milliseconds(tables_seconds)}ms")
            return work(connection)
    except (DBAPIError, RelayError) as error:
        if _state(error) == _AUTOCOMMIT:
            raise RelayError(
                "this connection is in autocommit, and a migration is one transaction",
                "Give an Engine, or a connection without AUTOCOMMIT.",
            ) from error
        if _state(error) not in _BUSY:
            raise
        raise InTheWay(holders(connection, schema), known) from error


@contextmanager
def named_if_in_the_way(connection: Connection, schema: str, tables: Sequence[str]) -> Iterator[None]:
    """Raises InTheWay, with who has one of these tables, where a lock on them cannot be had in time.

    What was done inside is undone then, and the caller's transaction lasts.
    """
    try:
        with connection.begin_nested():
            yield
    except (DBAPIError, RelayError) as error:
        if _state(error) not in _BUSY:
            raise
        raise InTheWay(holders(connection, schema, tables), frozenset()) from error


def lock(connection: Connection, schema: str, wait_seconds: float) -> None:
    """Wait until nobody else migrates this schema; held until the transaction ends (so it is safe behind a pooler).

    This keeps nobody else waiting, and so may last. Where there is a table to lock it is that, for which it takes a
    right: anybody can have an advisory lock. Who has no right to it has nothing to migrate, or is told so next.
    """
    _set(connection, "lock_timeout", f"{_milliseconds(wait_seconds)}ms")
    with as_owner(connection, schema, required=False):  # a lock outlasts the role
        if connection.scalar(text(_MAY_LOCK), {"schema": schema, "versions": VERSION_TABLE}):
            connection.execute(text(f"lock table {_versions(schema)} in exclusive mode"))
            return
    connection.execute(text("select pg_advisory_xact_lock(hashtext(:name))"), {"name": _lock_name(schema)})


def _versions(schema: str) -> str:
    return f"{quoted(schema)}.{VERSION_TABLE}"


def _lock_name(schema: str) -> str:
    return f"relay.migrate.{schema}"


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))  # 0 would be: for ever


def _set(connection: Connection, name: str, value: str | None) -> None:
    connection.execute(text("select set_config(:name, :value, true)"), {"name": name, "value": value})


def _state(error: BaseException) -> str | None:
    """The SQLSTATE behind an error, also where the command line has made a sentence of it."""
    for found in (getattr(error, "orig", None), error.__cause__, error.__context__):
        if state := getattr(found, "sqlstate", None):
            return str(state)
    return None


def holders(connection: Connection, schema: str, tables: Sequence[str] | None = None) -> Sequence[Row[Any]]:
    """Who has locks on these tables; None: on any of the relay's, or the lock of those who migrate."""
    asked = {"quoted": quoted(schema), "versions": _versions(schema), "lock": _lock_name(schema)}
    with undisturbed(connection):
        return connection.execute(text(_HOLDERS), asked | {"tables": tables and list(tables)}).all()


def _told(holder: Row[Any]) -> str:
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
