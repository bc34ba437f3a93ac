"""What the kit does on somebody's connection: in the transaction that is open there, or in one of its own.

The kinds are those that ``relay.add`` and ``relay.add_async`` take, and engines. Where no transaction was open, none is
afterwards: a test that only looked must not keep the next one from emptying the tables.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, Engine
from sqlalchemy.orm import Session, scoped_session

from relay.errors import MessageError, RelayError
from relay.outbox.adding import of_session
from relay.outbox.drivers import Driver, at_once, of_async, of_sqlalchemy, of_sync
from relay.outbox.kinds import is_a, is_asyncpg

_Work = Callable[[Driver, str], Any]  # the schema is that of the connection's own translation, if it has one

_ASYNCHRONOUS = ("AsyncEngine", "AsyncSession", "AsyncConnection", "async_scoped_session")
_TAKEN = (
    "The kit takes Session, Connection, Engine, psycopg.Connection or Django's connection in sync code, and their "
    "asynchronous counterparts or asyncpg.Connection in async code."
)


def is_asynchronous(held: object) -> bool:
    """Whether it takes the event loop to do something on it."""
    return (
        is_a(held, "sqlalchemy.ext.asyncio", *_ASYNCHRONOUS)
        or is_a(held, "psycopg", "AsyncConnection")
        or is_asyncpg(held)
    )


def on_connection(held: Any, schema: str, work: _Work) -> Any:
    """What ``work``, a coroutine function, gives back on a synchronous connection, session or engine."""
    held = held() if isinstance(held, scoped_session) else held
    if isinstance(held, Engine):
        with held.begin() as begun:
            return _worked(begun, schema, work)
    if isinstance(held, Session):
        begun_before = held.in_transaction()
        held.flush()  # else what the session is about to write is not there yet
        result = _worked(of_session(held), schema, work)
        if not begun_before:
            held.commit()
        return result
    if isinstance(held, Connection) and not held.in_transaction():
        with held.begin():
            return _worked(held, schema, work)
    if is_a(held, "psycopg", "Connection") and held.info.transaction_status.name == "IDLE":
        with held.transaction():
            return _worked(held, schema, work)
    return _worked(held, schema, work)


async def on_async_connection(held: Any, schema: str, work: _Work) -> Any:
    """The same on an asynchronous one."""
    if is_a(held, "sqlalchemy.ext.asyncio", "async_scoped_session"):
        held = held()
    if is_a(held, "sqlalchemy.ext.asyncio", "AsyncEngine"):
        async with held.begin() as begun:
            return await begun.run_sync(on_connection, schema, work)
    if is_a(held, "sqlalchemy.ext.asyncio", "AsyncSession", "AsyncConnection"):
        return await held.run_sync(on_connection, schema, work)
    driver = _known(of_async, held, schema)
    if is_a(held, "psycopg", "AsyncConnection") and held.info.transaction_status.name == "IDLE":
        async with held.transaction():
            return await work(driver, schema)
    return await work(driver, schema)


def _worked(held: Any, schema: str, work: _Work) -> Any:
    driver = _known(of_sqlalchemy if isinstance(held, Connection) else of_sync, held, schema)
    return at_once(work(driver, driver.schema or schema))


def _known(of: Callable[[Any, str, str], Driver], held: object, schema: str) -> Driver:
    try:
        return of(held, "testing", schema)
    except MessageError as error:
        raise RelayError(str(error), _TAKEN) from None
