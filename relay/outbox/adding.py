"""``add``, ``add_async`` and ``insert``: one statement for every kind of connection.

Only with a dedupe key does the statement say ``on conflict do nothing``: any other conflict is an error. It names no
conflict target, because naming one needs SELECT on its columns; that it is the dedupe key's and not the id's, the
database sees to (revision 0008). A bare psycopg connection gets the same statement in its own notation. Kinds are
recognised by what is loaded, so that nobody pays for a driver that is not theirs.
"""

from __future__ import annotations

import sys
from collections.abc import Container
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Unpack

from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.postgresql import psycopg as psycopg_dialect
from sqlalchemy.orm import Session, scoped_session

from relay.errors import MessageError
from relay.outbox.columns import Columns, parameters
from relay.outbox.mapped import OutboxMessage
from relay.outbox.transaction import refuse_autocommit, refuse_autocommit_of_psycopg
from relay.schema import SCHEMA, outbox

if TYPE_CHECKING:
    import psycopg
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_scoped_session
    from sqlalchemy.sql.dml import ReturningInsert

_INSERT = postgresql_insert(outbox).returning(outbox.c.id)
_INSERT_ONCE = postgresql_insert(outbox).on_conflict_do_nothing().returning(outbox.c.id)


def add(
    connection: Session | scoped_session[Any] | Connection | psycopg.Connection[Any],
    topic: str,
    content: object,
    *,
    allow_autocommit: bool = False,
    schema: str = SCHEMA,
    **columns: Unpack[Columns],
) -> int | None:
    """Insert a message into the transaction of ``connection``; its id, or None if the dedupe key was there already.

    ``content`` is a dict, a pydantic model, or JSON text (str, bytes) that is sent letter for letter.
    Raises MessageError before the database is asked, and NotInTransaction on a connection in autocommit.
    """
    row = parameters(topic, content, columns)
    if isinstance(connection, Session | scoped_session):
        connection = connection.connection(bind_arguments={"mapper": OutboxMessage})
    if isinstance(connection, Connection):
        return _execute(connection, row, allow_autocommit, schema)
    if not _is_a(connection, "psycopg", "Connection"):
        raise _wrong_kind(connection, "add")
    if not allow_autocommit:
        refuse_autocommit_of_psycopg(connection)
    with _psycopg().Cursor(connection, row_factory=_plain) as cursor:
        return _id(cursor.execute(_psycopg_sql(tuple(row), schema), row).fetchone())


async def add_async(
    connection: AsyncSession | async_scoped_session[Any] | AsyncConnection | psycopg.AsyncConnection[Any],
    topic: str,
    content: object,
    *,
    allow_autocommit: bool = False,
    schema: str = SCHEMA,
    **columns: Unpack[Columns],
) -> int | None:
    """The same as :func:`add` for the asynchronous kin."""
    row = parameters(topic, content, columns)
    kind: Any = connection
    if _is_a(kind, "sqlalchemy.ext.asyncio", "AsyncSession", "async_scoped_session"):
        kind = await kind.connection(bind_arguments={"mapper": OutboxMessage})
    if _is_a(kind, "sqlalchemy.ext.asyncio", "AsyncConnection"):
        found: int | None = await kind.run_sync(_execute, row, allow_autocommit, schema)
        return found
    if not _is_a(kind, "psycopg", "AsyncConnection"):
        raise _wrong_kind(kind, "add_async")
    if not allow_autocommit:
        refuse_autocommit_of_psycopg(kind)
    async with _psycopg().AsyncCursor(kind, row_factory=_plain) as cursor:
        await cursor.execute(_psycopg_sql(tuple(row), schema), row)
        return _id(await cursor.fetchone())


def insert(topic: str, content: object, **columns: Unpack[Columns]) -> ReturningInsert[int]:
    """The Core statement, for whatever :func:`add` does not take; no row comes back if the dedupe key was there.

    Whoever executes it sees to the transaction; another schema is named by ``schema_translate_map={"relay": ...}``.
    """
    row = parameters(topic, content, columns)
    return _statement(row).values(row)


def _statement(columns: Container[str]) -> ReturningInsert[int]:
    return _INSERT_ONCE if "dedupe_key" in columns else _INSERT


def _execute(connection: Connection, row: dict[str, Any], allow_autocommit: bool, schema: str) -> int | None:
    if not allow_autocommit:
        refuse_autocommit(connection)
    options: dict[str, Any] = {}
    if schema != SCHEMA:
        outer = connection.get_execution_options().get("schema_translate_map", {})
        options["schema_translate_map"] = {**outer, SCHEMA: schema}
    return connection.execute(_statement(row), row, execution_options=options).scalar()


@lru_cache(maxsize=64)
def _psycopg_sql(columns: tuple[str, ...], schema: str) -> str:
    names: dict[str, Any] = {"schema_translate_map": {SCHEMA: schema}, "render_schema_translate": True}
    dialect = psycopg_dialect.dialect()  # type: ignore[no-untyped-call]
    return str(_statement(columns).compile(dialect=dialect, column_keys=columns, **names))


def _psycopg() -> Any:
    """psycopg itself, which whoever has such a connection has loaded."""
    return sys.modules["psycopg"]


def _plain(_cursor: object) -> type[tuple[Any, ...]]:
    """A row factory: whatever rows the caller's connection makes, ours are tuples."""
    return tuple


def _id(found: tuple[int] | None) -> int | None:
    return None if found is None else found[0]


def _is_a(value: object, module: str, *names: str) -> bool:
    """isinstance for classes of a module that perhaps nobody has loaded."""
    loaded = sys.modules.get(module)
    return loaded is not None and isinstance(value, tuple(getattr(loaded, name) for name in names))


def _wrong_kind(value: object, function: str) -> MessageError:
    lineage = {kind.__name__ for kind in type(value).__mro__}
    if lineage & {"Engine", "AsyncEngine"}:
        hint = "Pass the connection that has your transaction: with engine.begin() as connection"
    elif lineage & {"sessionmaker", "async_sessionmaker"}:
        hint = "Pass the session that it makes, the one that has your own rows."
    elif "BaseCursor" in lineage:
        hint = "Pass its connection: cursor.connection"
    elif function == "add" and lineage & {"AsyncSession", "async_scoped_session", "AsyncConnection"}:
        hint = "Use: await relay.add_async(...)"
    elif function == "add_async" and lineage & {"Session", "scoped_session", "Connection"}:
        hint = "Use relay.add(...), without await."
    else:
        kin = ("Session", "Connection") if function == "add" else ("AsyncSession", "AsyncConnection")
        hint = f"Pass {kin[0]}, {kin[1]} or psycopg.{kin[1]}; anything else can execute relay.insert(...) as SQL."
    return MessageError(f"relay.{function} cannot use an object of type {type(value).__name__}.", hint)
