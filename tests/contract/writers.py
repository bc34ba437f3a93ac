"""Every way to write into the outbox, behind one face: a transaction with ``add``, ``commit`` and ``rollback``.

``relay.add`` and ``relay.add_async`` for each kind of connection they take, the mapped class in both styles, the Core
statement, and the plain SQL that any language can say.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg
import psycopg
from django import db as django_database
from django.db import transaction
from psycopg.rows import dict_row
from sqlalchemy import Engine, create_engine, make_url
from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session, async_sessionmaker, create_async_engine
from sqlalchemy.orm import Session, scoped_session, sessionmaker
from sqlalchemy.pool import NullPool

import relay
from tests.fixtures.django_project import databases_at
from tests.fixtures.hostility import WANTED


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


def url_of(engine: Engine) -> str:
    return engine.url.render_as_string(hide_password=False)


def conninfo(url: str) -> str:
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


def sync(make: Callable[[Any], Any], add: Callable[..., Any], driver: str = "psycopg") -> Writer:
    """A writer over an Engine; ``make`` gives what ``add`` takes."""

    @asynccontextmanager
    async def opened(url: str, autocommit: bool = False) -> AsyncIterator[Transaction]:
        options = {"isolation_level": "AUTOCOMMIT"} if autocommit else {}
        url_of_driver = make_url(url).set(drivername=f"postgresql+{driver}")
        held = make(create_engine(url_of_driver, poolclass=NullPool, **options))
        try:
            yield _transaction(held, lambda *args, **named: add(held, *args, **named))
        finally:
            held.close()

    return opened


def asynchronous(driver: str, make: Callable[[Any], Any], add: Callable[..., Any]) -> Writer:
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


def psycopg_connection(add: Callable[..., Any]) -> Writer:
    @asynccontextmanager
    async def opened(url: str, autocommit: bool = False) -> AsyncIterator[Transaction]:
        with psycopg.connect(conninfo(url), autocommit=autocommit, row_factory=dict_row) as held:
            yield _transaction(held, lambda *args, **named: add(held, *args, **named))

    return opened


def psycopg_async_connection(add: Callable[..., Any]) -> Writer:
    @asynccontextmanager
    async def opened(url: str, autocommit: bool = False) -> AsyncIterator[Transaction]:
        opening = psycopg.AsyncConnection.connect(conninfo(url), autocommit=autocommit, row_factory=dict_row)
        async with await opening as held:
            yield _transaction(held, lambda *args, **named: add(held, *args, **named))

    return opened


@dataclass
class Blocks:
    """What has no commit of its own: a new block is entered as soon as one is left."""

    enter: Callable[[], Awaitable[object]]
    leave: Callable[[bool], Awaitable[object]]

    async def commit(self) -> None:
        await self.leave(True)
        await self.enter()

    async def rollback(self) -> None:
        await self.leave(False)
        await self.enter()


def asyncpg_connection(add: Callable[..., Any], *, pooled: bool = False) -> Writer:
    """With a codec for json, as applications set one; what is written is the text even so."""

    @asynccontextmanager
    async def opened(url: str, autocommit: bool = False) -> AsyncIterator[Transaction]:
        async with asyncpg.create_pool(conninfo(url), min_size=1, max_size=1) as pool, pool.acquire() as leased:
            held = leased if pooled else leased._con
            await held.set_type_codec("json", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")
            blocks: list[Any] = []

            async def enter() -> None:
                blocks.append(held.transaction())
                await blocks[-1].start()

            async def leave(good: bool) -> None:
                await (blocks[-1].commit() if good else blocks[-1].rollback())

            if not autocommit:
                await enter()
            try:
                yield _transaction(Blocks(enter, leave), lambda *args, **named: add(held, *args, **named))
            finally:
                if held.is_in_transaction():
                    await leave(False)

    return opened


def django_connection(add: Callable[..., Any], given: Callable[[], Any] = lambda: django_database.connection) -> Writer:
    """Inside ``atomic()``; ``given`` is what the application has in hand."""

    @asynccontextmanager
    async def opened(url: str, autocommit: bool = False) -> AsyncIterator[Transaction]:
        with databases_at(default=url):
            blocks: list[Any] = []

            async def enter() -> None:
                blocks.append(transaction.atomic())
                blocks[-1].__enter__()

            async def leave(good: bool) -> None:
                if not good:
                    transaction.set_rollback(True)
                blocks[-1].__exit__(None, None, None)

            if not autocommit:
                await enter()
            yield _transaction(Blocks(enter, leave), lambda *args, **named: add(given(), *args, **named))
            if not autocommit:
                await leave(False)

    return opened


@asynccontextmanager
async def plain_sql(url: str) -> AsyncIterator[Transaction]:
    with psycopg.connect(conninfo(url)) as held:

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


def kinds(add: Callable[..., Any], add_async: Callable[..., Any]) -> dict[str, Writer]:
    """Every kind of connection that is taken."""
    return {
        "Session": sync(Session, add),
        "scoped_session": sync(lambda engine: scoped_session(sessionmaker(engine)), add),
        "Connection": sync(lambda engine: engine.connect(), add),
        "Session-psycopg2": sync(Session, add, driver="psycopg2"),
        "AsyncSession-psycopg": asynchronous("psycopg", AsyncSession, add_async),
        "AsyncSession-asyncpg": asynchronous("asyncpg", AsyncSession, add_async),
        "async_scoped_session": asynchronous(
            "psycopg", lambda engine: async_scoped_session(async_sessionmaker(engine), scopefunc=_one_scope), add_async
        ),
        "AsyncConnection-psycopg": asynchronous("psycopg", lambda engine: engine.connect(), add_async),
        "AsyncConnection-asyncpg": asynchronous("asyncpg", lambda engine: engine.connect(), add_async),
        "psycopg": psycopg_connection(add),
        "psycopg-async": psycopg_async_connection(add_async),
        "asyncpg": asyncpg_connection(add_async),
        "asyncpg-pooled": asyncpg_connection(add_async, pooled=True),
        "django": django_connection(add),
        "django-cursor": django_connection(add, lambda: django_database.connection.cursor()),
        "django-transaction": django_connection(add, lambda: transaction),
    }


def _one_of_many(held: Any, topic: str, content: object, **named: Any) -> int | None:
    messages, options = _many(topic, content, **named)
    (found,) = relay.add_many(held, messages, **options)
    return found


async def _one_of_many_async(held: Any, topic: str, content: object, **named: Any) -> int | None:
    messages, options = _many(topic, content, **named)
    (found,) = await relay.add_many_async(held, messages, **options)
    return found


def _many(topic: str, content: object, **named: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    options = {name: named.pop(name) for name in ("allow_autocommit", "schema") if name in named}
    return [{"topic": topic, "content": content, **named}], options


ONE = kinds(relay.add, relay.add_async)
MANY = kinds(relay.add_many, relay.add_many_async)  # their add takes messages and gives ids
for _same in ("scoped_session", "async_scoped_session", "AsyncConnection-psycopg", "AsyncConnection-asyncpg"):
    del MANY[_same]  # one way from here on with those that stay
_DRIVERS = ("Session", "AsyncSession-asyncpg", "psycopg", "psycopg-async", "asyncpg", "django")
ADDING = ONE | {f"many-{name}": kinds(_one_of_many, _one_of_many_async)[name] for name in _DRIVERS}
MAPPED: dict[str, Writer] = {
    "mapped-Session": sync(Session, _mapped),
    "mapped-AsyncSession-psycopg": asynchronous("psycopg", AsyncSession, _mapped_async),
    "mapped-AsyncSession-asyncpg": asynchronous("asyncpg", AsyncSession, _mapped_async),
}
STATEMENTS: dict[str, Writer] = {"insert": sync(Session, _core), "plain-sql": plain_sql}
EVERY = ADDING | MAPPED | STATEMENTS
if WANTED:  # sessions of drivers that nobody takes the settings back for: a statement of theirs has two milliseconds
    EVERY = {name: write for name, write in EVERY.items() if not re.match("(many-)?(asyncpg|django)", name)}
