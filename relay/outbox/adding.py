"""``add``, ``add_async`` and ``insert``: one message, one statement, for every kind of connection.

Only with a dedupe key does the statement say ``on conflict do nothing``: any other conflict is an error. It names no
conflict target, because naming one needs SELECT on its columns; that it is the dedupe key's and not the id's, the
database sees to (revision 0008).
"""

from __future__ import annotations

from collections.abc import Container
from typing import TYPE_CHECKING, Any, Unpack, overload

from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.orm import Session, scoped_session

from relay.outbox.absent import told_if_absent
from relay.outbox.columns import NOT_GIVEN, Columns, parameters
from relay.outbox.drivers import (
    Driver,
    at_once,
    of_async,
    of_sync,
    refuse_autocommit_of,
    refuse_other_databases,
)
from relay.outbox.kinds import is_a, refuse_message
from relay.outbox.mapped import OutboxMessage
from relay.outbox.notations import in_order, insert_one
from relay.outbox.tracing import carry, creating
from relay.outbox.transaction import refuse_autocommit
from relay.schema import SCHEMA, outbox

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_scoped_session
    from sqlalchemy.sql.dml import ReturningInsert

    from relay.outbox.kinds import (
        AsyncpgConnection,
        DjangoConnection,
        DjangoCursor,
        DjangoTransaction,
        PsycopgAsyncConnection,
        PsycopgConnection,
    )
    from relay.outbox.topic import Topic

    Synchronous = (
        Session
        | scoped_session[Any]
        | Connection
        | PsycopgConnection
        | DjangoConnection
        | DjangoCursor
        | DjangoTransaction
    )
    Asynchronous = (
        AsyncSession | async_scoped_session[Any] | AsyncConnection | PsycopgAsyncConnection | AsyncpgConnection
    )

_INSERT = postgresql_insert(outbox).returning(outbox.c.id)
_INSERT_ONCE = postgresql_insert(outbox).on_conflict_do_nothing().returning(outbox.c.id)


@overload
def add(
    connection: Synchronous,
    topic: str,
    content: object,
    *,
    allow_autocommit: bool = ...,
    schema: str = ...,
    **columns: Unpack[Columns],
) -> int | None: ...
@overload
def add(
    connection: Synchronous,
    message: Topic,
    /,
    *,
    allow_autocommit: bool = ...,
    schema: str = ...,
    **columns: Unpack[Columns],
) -> int | None: ...
def add(
    connection: Synchronous,
    topic: str | Topic = NOT_GIVEN,
    content: object = NOT_GIVEN,
    *,
    allow_autocommit: bool = False,
    schema: str = SCHEMA,
    **columns: Unpack[Columns],
) -> int | None:
    """Insert a message into the transaction of ``connection``; its id, or None if the dedupe key was there already.

    ``connection`` is SQLAlchemy's Session or Connection, psycopg's Connection, or Django's ``connection`` or cursor.
    ``content`` is a dict, a pydantic model, or JSON text (str, bytes) that is sent letter for letter. A ``relay.Topic``
    stands for topic and content, and may give its keys; those that are named here win.
    Raises MessageError before the database is asked, and NotInTransaction on a connection in autocommit.
    """
    refuse_message(connection, "add")
    row = parameters(topic, content, columns)
    with told_if_absent(schema), creating(row) as creation:
        held = of_session(connection)
        if isinstance(held, Connection):
            return creation.wrote(_execute(held, row, "add", allow_autocommit, schema))
        driver = of_sync(held, "add", schema)
        if not allow_autocommit:
            refuse_autocommit_of(driver, held)
        return creation.wrote(at_once(_add(driver, row)))


@overload
async def add_async(
    connection: Asynchronous,
    topic: str,
    content: object,
    *,
    allow_autocommit: bool = ...,
    schema: str = ...,
    **columns: Unpack[Columns],
) -> int | None: ...
@overload
async def add_async(
    connection: Asynchronous,
    message: Topic,
    /,
    *,
    allow_autocommit: bool = ...,
    schema: str = ...,
    **columns: Unpack[Columns],
) -> int | None: ...
async def add_async(
    connection: Asynchronous,
    topic: str | Topic = NOT_GIVEN,
    content: object = NOT_GIVEN,
    *,
    allow_autocommit: bool = False,
    schema: str = SCHEMA,
    **columns: Unpack[Columns],
) -> int | None:
    """The same as :func:`add` for AsyncSession, AsyncConnection, psycopg's AsyncConnection, and asyncpg's own."""
    refuse_message(connection, "add_async")
    row = parameters(topic, content, columns)
    with told_if_absent(schema), creating(row) as creation:
        held = await of_async_session(connection)
        if is_a(held, "sqlalchemy.ext.asyncio", "AsyncConnection"):
            found: int | None = await held.run_sync(_execute, row, "add_async", allow_autocommit, schema)
            return creation.wrote(found)
        driver = of_async(held, "add_async", schema)
        if not allow_autocommit:
            refuse_autocommit_of(driver, held)
        return creation.wrote(await _add(driver, row))


@overload
def insert(topic: str, content: object, **columns: Unpack[Columns]) -> ReturningInsert[int]: ...
@overload
def insert(message: Topic, /, **columns: Unpack[Columns]) -> ReturningInsert[int]: ...
def insert(topic: str | Topic, content: object = NOT_GIVEN, **columns: Unpack[Columns]) -> ReturningInsert[int]:
    """The Core statement, for whatever :func:`add` does not take; no row comes back if the dedupe key was there.

    The caller sees to the transaction; another schema is named by ``schema_translate_map={"relay": ...}``.
    """
    row = parameters(topic, content, columns)
    carry(row)
    return _statement(row).values(row)


def of_session(connection: object) -> object:
    """The connection of a session that is about to write messages; anything else as it is."""
    if isinstance(connection, Session | scoped_session):
        return connection.connection(bind_arguments={"mapper": OutboxMessage})
    return connection


async def of_async_session(connection: Any) -> Any:
    """The same as ``of_session``, of an AsyncSession."""
    if is_a(connection, "sqlalchemy.ext.asyncio", "AsyncSession", "async_scoped_session"):
        return await connection.connection(bind_arguments={"mapper": OutboxMessage})
    return connection


async def _add(driver: Driver, row: dict[str, Any]) -> int | None:
    columns = in_order(row)
    found = await driver.run(insert_one(columns, driver.schema, driver.notation), {name: row[name] for name in columns})
    return found[0][0] if found else None


def _statement(columns: Container[str]) -> ReturningInsert[int]:
    return _INSERT_ONCE if "dedupe_key" in columns else _INSERT


def _execute(
    connection: Connection, row: dict[str, Any], function: str, allow_autocommit: bool, schema: str
) -> int | None:
    refuse_other_databases(connection, function)
    if not allow_autocommit:
        refuse_autocommit(connection)
    options: dict[str, Any] = {}
    if schema != SCHEMA:
        outer = connection.get_execution_options().get("schema_translate_map", {})
        options["schema_translate_map"] = {**outer, SCHEMA: schema}
    return connection.execute(_statement(row), row, execution_options=options).scalar()
