"""Every way to write into the outbox, behind one face: a transaction with ``add``, ``commit`` and ``rollback``.

``relay.add`` and ``relay.add_async`` for each kind of connection they take, the mapped class in both styles, the Core
statement, and the plain SQL that any language can say.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import dict_row
from sqlalchemy import create_engine, make_url
from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session, async_sessionmaker, create_async_engine
from sqlalchemy.orm import Session, scoped_session, sessionmaker
from sqlalchemy.pool import NullPool

import relay


@dataclass(frozen=True)
class Transaction:
    """``add(topic, content, **columns)`` gives the id, or None where the dedupe key was there."""

    add: Callable[..., Awaitable[int | None]]
    commit: Callable[[], Awaitable[object]]
    rollback: Callable[[], Awaitable[object]]


Writer = Callable[..., AbstractAsyncContextManager[Transaction]]


def _transaction(held: Any, add: Callable[..., Any]) -> Transaction:
    """The face of something whose ``commit`` and ``rollback`` may be coroutines or not."""

    def awaitable(call: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
        async def waiting(*args: Any, **named: Any) -> Any:
            result = call(*args, **named)
            return await result if hasattr(result, "__await__") else result

        return waiting

    return Transaction(awaitable(add), awaitable(held.commit), awaitable(held.rollback))


def _conninfo(url: str) -> str:
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


def sync(make: Callable[[Any], Any], add: Callable[..., Any] = relay.add) -> Writer:
    """A writer over an Engine; ``make`` gives what ``add`` takes."""

    @asynccontextmanager
    async def opened(url: str, autocommit: bool = False) -> AsyncIterator[Transaction]:
        options = {"isolation_level": "AUTOCOMMIT"} if autocommit else {}
        held = make(create_engine(url, poolclass=NullPool, **options))
        try:
            yield _transaction(held, lambda *args, **named: add(held, *args, **named))
        finally:
            held.close()

    return opened


def asynchronous(driver: str, make: Callable[[Any], Any], add: Callable[..., Any] = relay.add_async) -> Writer:
    """A writer over an AsyncEngine of this driver."""

    @asynccontextmanager
    async def opened(url: str, autocommit: bool = False) -> AsyncIterator[Transaction]:
        options = {"isolation_level": "AUTOCOMMIT"} if autocommit else {}
        url_of_driver = make_url(url).set(drivername=f"postgresql+{driver}")
        held = make(create_async_engine(url_of_driver, poolclass=NullPool, **options))
        if hasattr(held, "start"):
            await held.start()
        try:
            yield _transaction(held, lambda *args, **named: add(held, *args, **named))
        finally:
            await held.close()

    return opened


@asynccontextmanager
async def psycopg_connection(url: str, autocommit: bool = False) -> AsyncIterator[Transaction]:
    with psycopg.connect(_conninfo(url), autocommit=autocommit, row_factory=dict_row) as held:
        yield _transaction(held, lambda *args, **named: relay.add(held, *args, **named))


@asynccontextmanager
async def psycopg_async_connection(url: str, autocommit: bool = False) -> AsyncIterator[Transaction]:
    opening = psycopg.AsyncConnection.connect(_conninfo(url), autocommit=autocommit, row_factory=dict_row)
    async with await opening as held:
        yield _transaction(held, lambda *args, **named: relay.add_async(held, *args, **named))


@asynccontextmanager
async def plain_sql(url: str) -> AsyncIterator[Transaction]:
    with psycopg.connect(_conninfo(url)) as held:

        def add(topic: str, content: Any, **columns: Any) -> Any:
            row = {"topic": topic, "content": content, **columns}
            values = [json.dumps(value) if isinstance(value, dict) else value for value in row.values()]
            found = held.execute(
                f"INSERT INTO relay.outbox ({', '.join(row)}) VALUES ({', '.join(['%s'] * len(row))}) "
                "ON CONFLICT DO NOTHING RETURNING id",
                values,
            ).fetchone()
            return found and found[0]

        yield _transaction(held, add)


def _mapped(session: Session, /, topic: str, content: object, **columns: Any) -> int:
    message = relay.OutboxMessage(topic=topic, content=content, **columns)
    session.add(message)
    session.flush()
    return message.id


async def _mapped_async(session: AsyncSession, topic: str, content: object, **columns: Any) -> int:
    return await session.run_sync(_mapped, topic, content, **columns)


def _core(session: Session, topic: str, content: object, **columns: Any) -> int | None:
    return session.execute(relay.insert(topic, content, **columns)).scalar()


def _one_scope() -> str:
    return "the only one"


ADDING: dict[str, Writer] = {
    "Session": sync(Session),
    "scoped_session": sync(lambda engine: scoped_session(sessionmaker(engine))),
    "Connection": sync(lambda engine: engine.connect()),
    "AsyncSession-psycopg": asynchronous("psycopg", AsyncSession),
    "AsyncSession-asyncpg": asynchronous("asyncpg", AsyncSession),
    "async_scoped_session": asynchronous(
        "psycopg", lambda engine: async_scoped_session(async_sessionmaker(engine), scopefunc=_one_scope)
    ),
    "AsyncConnection-psycopg": asynchronous("psycopg", lambda engine: engine.connect()),
    "AsyncConnection-asyncpg": asynchronous("asyncpg", lambda engine: engine.connect()),
    "psycopg": psycopg_connection,
    "psycopg-async": psycopg_async_connection,
}
MAPPED: dict[str, Writer] = {
    "mapped-Session": sync(Session, _mapped),
    "mapped-AsyncSession-psycopg": asynchronous("psycopg", AsyncSession, _mapped_async),
    "mapped-AsyncSession-asyncpg": asynchronous("asyncpg", AsyncSession, _mapped_async),
}
STATEMENTS: dict[str, Writer] = {"insert": sync(Session, _core), "plain-sql": plain_sql}
EVERY = ADDING | MAPPED | STATEMENTS
