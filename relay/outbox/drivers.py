"""One face for whatever executes: its notation, whether it commits at once, and ``run``, a statement and its rows.

``run`` is always a coroutine. That of a synchronous connection never waits, so ``at_once`` brings it to its end without
an event loop: what is done with a connection is written once for both kinds.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import ARRAY, Connection, DateTime, Text, bindparam, text

from relay.outbox.kinds import django_connection, is_a, is_asyncpg, wrong_database, wrong_kind
from relay.outbox.notations import Notation, binary, colons, dollars, pyformat
from relay.outbox.transaction import (
    commits_at_once,
    django_commits_at_once,
    not_in_transaction,
    psycopg_commits_at_once,
)
from relay.schema import SCHEMA

Parameters = Mapping[str, Any]
DriverRows = Sequence[Sequence[Any]]
Got = TypeVar("Got")


@dataclass(frozen=True, slots=True)
class Driver:
    """``run(statement, values)``: values stand in the order of the statement, rows come back where there are any."""

    notation: Notation
    run: Callable[[str, Parameters | None], Awaitable[DriverRows]]
    schema: str | None
    commits_at_once: bool


def at_once(coroutine: Coroutine[Any, Any, Got]) -> Got:
    """The result of a coroutine that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as ended:
        result: Got = ended.value
        return result
    raise RuntimeError("a synchronous connection does not wait")


def of_sqlalchemy(connection: Connection, function: str, schema: str) -> Driver:
    """For text; the schema is that of its ``schema_translate_map``, unless another one is named."""
    refuse_other_databases(connection, function)
    names: dict[str | None, str | None] = connection.get_execution_options().get("schema_translate_map") or {}

    async def run(statement: str, values: Parameters | None) -> DriverRows:
        if values is None:
            connection.exec_driver_sql(statement)
            return ()
        typed = (bindparam(name, type_=_array_of(value)) for name, value in values.items())
        return connection.execute(text(statement).bindparams(*typed), values).all()

    named = names.get(SCHEMA, SCHEMA) if schema == SCHEMA else schema
    return Driver(colons, run, named, commits_at_once(connection))


def refuse_other_databases(connection: Connection, function: str) -> None:
    """Raises MessageError unless this connection is one to PostgreSQL. ``function`` is what the caller called."""
    if connection.dialect.name != "postgresql":
        raise wrong_database(connection.dialect.name, function)


def of_sync(connection: Any, function: str, schema: str) -> Driver:
    """psycopg's own connection, or Django's."""
    if is_a(connection, "psycopg", "Connection"):
        return Driver(binary, _by_psycopg(connection), schema, psycopg_commits_at_once(connection))
    django = django_connection(connection)
    if django is None:
        raise wrong_kind(connection, function)
    if django.vendor != "postgresql":
        raise wrong_database(django.vendor, function)
    return Driver(pyformat, _by_django(django), schema, django_commits_at_once(django))


def of_async(connection: Any, function: str, schema: str) -> Driver:
    """psycopg's asynchronous connection, or asyncpg's."""
    if is_a(connection, "psycopg", "AsyncConnection"):
        return Driver(binary, _by_async_psycopg(connection), schema, psycopg_commits_at_once(connection))
    if is_asyncpg(connection):
        return Driver(dollars, _by_asyncpg(connection), schema, not connection.is_in_transaction())
    raise wrong_kind(connection, function)


def refuse_autocommit_of(driver: Driver, connection: object) -> None:
    """Raises NotInTransaction where each statement commits by itself; its hint says how a transaction is begun."""
    if driver.commits_at_once:
        within = ", inside atomic()" if django_connection(connection) is not None else ""
        within = ", inside connection.transaction()" if is_asyncpg(connection) else within
        raise not_in_transaction(within)


def _array_of(value: Any) -> ARRAY[Any]:
    """Of a column of a chunk: it is there because one message at least names it."""
    times = not isinstance(next(each for each in value if each is not None), str)
    return _TIMES if times else _TEXTS


_TEXTS: ARRAY[Any] = ARRAY(Text)
_TIMES: ARRAY[Any] = ARRAY(DateTime(timezone=True))


def _by_psycopg(connection: Any) -> Callable[[str, Parameters | None], Awaitable[DriverRows]]:
    async def run(statement: str, values: Parameters | None) -> DriverRows:
        with _psycopg().Cursor(connection, row_factory=_plain) as cursor:
            cursor.execute(statement, values)
            return cursor.fetchall() if cursor.description else ()

    return run


def _by_async_psycopg(connection: Any) -> Callable[[str, Parameters | None], Awaitable[DriverRows]]:
    async def run(statement: str, values: Parameters | None) -> DriverRows:
        async with _psycopg().AsyncCursor(connection, row_factory=_plain) as cursor:
            await cursor.execute(statement, values)
            return await cursor.fetchall() if cursor.description else ()

    return run


def _by_asyncpg(connection: Any) -> Callable[[str, Parameters | None], Awaitable[DriverRows]]:
    async def run(statement: str, values: Parameters | None) -> DriverRows:
        if values is None:
            await connection.execute(statement)
            return ()
        found: DriverRows = await connection.fetch(statement, *values.values())
        return found

    return run


def _by_django(connection: Any) -> Callable[[str, Parameters | None], Awaitable[DriverRows]]:
    """By the driver's cursor inside of Django's, which with DEBUG keeps and logs what it executes, contents and all."""

    async def run(statement: str, values: Parameters | None) -> DriverRows:
        with connection.cursor() as outer:
            connection.validate_no_broken_transaction()
            with connection.wrap_database_errors:
                outer.cursor.execute(statement, values)
                return outer.cursor.fetchall() if outer.cursor.description else ()

    return run


def _psycopg() -> Any:
    """psycopg itself, which is loaded where there is such a connection."""
    return sys.modules["psycopg"]


def _plain(_cursor: object) -> type[tuple[Any, ...]]:
    """A row factory: whatever rows the caller's connection makes, ours are tuples."""
    return tuple
