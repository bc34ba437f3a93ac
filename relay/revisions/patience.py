"""Migrating in turns: whoever is too late has changed nothing, lets everybody pass, and tries again.

How long a try waits is in ``locks.py``. When it is over, the sessions that have the tables, or the lock of those who
migrate, are named as far as this login may see them.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from relay.database_errors import LOCKED, NO_TRANSACTION, state_of
from relay.errors import RelayError
from relay.holders import InTheWay, holders
from relay.revisions.locks import TABLES_SECONDS
from relay.revisions.standing import as_owner
from relay.sessions import undisturbed
from relay.sql import VERSION_TABLE, migrate_lock, quoted

WAIT_SECONDS = 60.0
_PAUSE_SECONDS = (0.5, 1.5)  # between two tries
_T = TypeVar("_T")

_MAY_LOCK = """
select has_schema_privilege(n.oid, 'usage') and has_table_privilege(c.oid, 'update')
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname = :schema and c.relname = :versions
"""


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
        if state_of(error) == NO_TRANSACTION:
            raise RelayError(
                "This connection is in autocommit, and a migration is one transaction",
                "Give an Engine, or a connection without AUTOCOMMIT.",
            ) from error
        if state_of(error) not in LOCKED:
            raise
        raise InTheWay(holders(connection, schema), known) from error


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
    connection.execute(text("select pg_advisory_xact_lock(hashtext(:name))"), {"name": migrate_lock(schema)})


def _versions(schema: str) -> str:
    return f"{quoted(schema)}.{VERSION_TABLE}"


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))  # 0 would be: for ever


def _set(connection: Connection, name: str, value: str | None) -> None:
    connection.execute(text("select set_config(:name, :value, true)"), {"name": name, "value": value})
