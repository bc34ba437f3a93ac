"""The kinds of connection there are: how those that are taken are typed and known, and what is said to the others.

Kinds are known by module and name, and by what is loaded: nobody pays for a driver that is not theirs. They are typed
by what is asked of them, so a type checker needs none of the drivers either, and still knows sync from async.
"""

from __future__ import annotations

import sys
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from types import ModuleType
from typing import Any, Protocol

from relay.errors import MessageError


class PsycopgConnection(Protocol):
    """``psycopg.Connection``"""

    @property
    def autocommit(self) -> bool: ...
    def fileno(self) -> int: ...
    def transaction(self) -> AbstractContextManager[Any]: ...


class PsycopgAsyncConnection(Protocol):
    """``psycopg.AsyncConnection``"""

    @property
    def autocommit(self) -> bool: ...
    def fileno(self) -> int: ...
    def transaction(self) -> AbstractAsyncContextManager[Any]: ...


class AsyncpgConnection(Protocol):
    """``asyncpg.Connection``, also one of a pool"""

    def is_in_transaction(self) -> bool: ...
    def is_closed(self) -> bool: ...


class DjangoConnection(Protocol):
    """``django.db.connection`` and each of ``django.db.connections``"""

    in_atomic_block: Any
    vendor: Any

    def validate_no_broken_transaction(self) -> None: ...


class DjangoCursor(Protocol):
    """What ``connection.cursor()`` gives in Django"""

    db: Any
    cursor: Any

    def callproc(self, *args: Any, **named: Any) -> Any: ...


class DjangoTransaction(Protocol):
    """The module ``django.db.transaction``"""

    def get_connection(self, using: str | None = None) -> Any: ...


_ONLY_POSTGRESQL = (
    "The outbox lies beside your own rows. Where they are in another database, write messages into a table there, "
    "in their transaction, and move what is committed, with its id as dedupe_key: docs/inserting.md"
)
_FOREIGN = {
    "MySQLdb": "MySQL",
    "aiomysql": "MySQL",
    "aiosqlite": "SQLite",
    "asyncmy": "MySQL",
    "cx_Oracle": "Oracle",
    "mariadb": "MariaDB",
    "mysql": "MySQL",
    "oracledb": "Oracle",
    "pymysql": "MySQL",
    "pyodbc": "ODBC",
    "sqlite3": "SQLite",
}
_NAMES_OF_DATABASES = {"mysql": "MySQL", "mariadb": "MariaDB", "sqlite": "SQLite", "oracle": "Oracle"}

_ENGINES = {"sqlalchemy.Engine", "sqlalchemy.AsyncEngine"}
_MAKERS = {"sqlalchemy.sessionmaker", "sqlalchemy.async_sessionmaker"}
_CURSORS = {"psycopg.BaseCursor", "psycopg.Cursor", "psycopg.AsyncCursor"}
_POOLS = {"asyncpg.Pool", "psycopg_pool.BasePool", "psycopg_pool.ConnectionPool", "psycopg_pool.AsyncConnectionPool"}
_ASYNC_SQLALCHEMY = {"AsyncSession", "async_scoped_session", "AsyncConnection"}
_ASYNC = {
    *(f"sqlalchemy.{name}" for name in _ASYNC_SQLALCHEMY),
    "psycopg.AsyncConnection",
    "asyncpg.Connection",
    "asyncpg.PoolConnectionProxy",
}
_SYNC = {"sqlalchemy.Session", "sqlalchemy.scoped_session", "sqlalchemy.Connection", "psycopg.Connection"}
_DJANGO = {"django.BaseDatabaseWrapper", "django.ConnectionProxy", "django.CursorWrapper", "django.Atomic"}


def is_a(value: object, module: str, *names: str) -> bool:
    """isinstance for classes of a module that perhaps nobody has loaded, or that another thread is about to load."""
    loaded = sys.modules.get(module)
    return loaded is not None and isinstance(value, tuple(getattr(loaded, name, ()) for name in names))


def derives_from(value: object, module: str, name: str) -> bool:
    """The same as ``is_a``, of a class and the one it derives from."""
    loaded = sys.modules.get(module)
    return isinstance(value, type) and loaded is not None and issubclass(value, getattr(loaded, name, ()))


def is_asyncpg(value: object) -> bool:
    """Whether this is a connection of asyncpg, also one that a pool lent."""
    return is_a(value, "asyncpg.connection", "Connection") or is_a(value, "asyncpg.pool", "PoolConnectionProxy")


def django_connection(value: Any) -> Any:
    """The connection of what Django hands out: itself, its cursor's, that of ``transaction`` or ``atomic``; or None."""
    if is_a(value, "django.db.backends.base.base", "BaseDatabaseWrapper"):
        return value
    if is_a(value, "django.utils.connection", "ConnectionProxy"):
        return value
    if is_a(value, "django.db.backends.utils", "CursorWrapper"):
        return value.db
    transaction = sys.modules.get("django.db.transaction")
    if transaction is not None and value is transaction:
        return value.get_connection()
    if transaction is not None and isinstance(value, transaction.Atomic):
        return transaction.get_connection(value.using)
    return None


def refuse_message(connection: object, function: str) -> None:
    """MessageError where a message stands in the place of the connection, because that was forgotten."""
    if isinstance(connection, str) or is_a(connection, "relay.outbox.topic", "Topic"):
        given = function.removesuffix("_async")
        raise MessageError(
            f"relay.{function} begins with the session or connection whose transaction takes the message; "
            f"this is of type {type(connection).__name__}.",
            f"Write relay.{function}(session, {'topic, content' if given == 'add' else 'messages'}).",
        )


def wrong_kind(value: object, function: str) -> MessageError:
    """The error for what ``relay.FUNCTION`` cannot use, with the object that it can."""
    name = type(value).__name__
    lineage = {f"{kind.__module__.split('.')[0]}.{kind.__name__}" for kind in type(value).__mro__}
    for kind in type(value).__mro__:
        if foreign := _FOREIGN.get(kind.__module__.split(".")[0].removeprefix("_")):
            return wrong_database(foreign, function)
    sentence = f"relay.{function} cannot use an object of type {name}."
    return MessageError(sentence, _hint(value, lineage, function))


def wrong_database(name: str, function: str) -> MessageError:
    """The error for a connection to another database than PostgreSQL."""
    named = _NAMES_OF_DATABASES.get(name, name)
    return MessageError(
        f"relay.{function} is for PostgreSQL only, and this is a connection to {named}.", _ONLY_POSTGRESQL
    )


def _hint(value: object, lineage: set[str], function: str) -> str:
    sync, asynchronous = function.removesuffix("_async"), f"{function.removesuffix('_async')}_async"
    types = ("Session", "Connection") if function == sync else ("AsyncSession", "AsyncConnection")
    modules = {each.split(".")[0] for each in lineage}
    if lineage & _ENGINES:
        return "Pass the connection that has your transaction: with engine.begin() as connection"
    if lineage & _MAKERS:
        return "Pass the session that it makes, the one that has your own rows."
    if lineage & _CURSORS:
        return "Pass its connection: cursor.connection"
    if lineage & _POOLS:
        return "Pass a connection of the pool, inside a transaction: the one that has your own rows."
    if function == sync and lineage & _ASYNC:
        return f"Use: await relay.{asynchronous}(...)"
    if function == asynchronous and lineage & _SYNC:
        return f"Use relay.{sync}(...), without await."
    if function == asynchronous and (lineage & _DJANGO or _is_django_transaction(value)):
        return f"Django's connections are synchronous: use relay.{sync}(...) where atomic() is, in sync_to_async(...)."
    if "asyncpg" in modules and {"asyncpg.Transaction", "asyncpg.PoolAcquireContext"} & lineage:
        return "Pass the connection on which the transaction is."
    if modules & {"psycopg2", "aiopg"}:
        return "Use psycopg 3 (pip install 'psycopg[binary]'); under SQLAlchemy or Django psycopg2 itself will do."
    own = (
        "psycopg.Connection, or Django's connection"
        if function == sync
        else f"psycopg.{types[1]} or asyncpg.Connection"
    )
    return f"Pass {types[0]}, {types[1]}, {own}; anything else can execute relay.insert(...) as SQL."


def _is_django_transaction(value: object) -> bool:
    return isinstance(value, ModuleType) and value.__name__ == "django.db.transaction"
