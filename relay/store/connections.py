"""Transactions that tell what is worth another try, and connections that can be cut when nobody answers on them.

A connection through a stalled proxy or a half-open TCP connection gives no error, it just never answers. Whoever runs
a transaction against time calls :meth:`Connections.cut_off` from another thread; the one that waits then fails at once.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from psycopg import IsolationLevel
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from relay.conninfo import refused_parameter
from relay.database_errors import Kind, cause_of
from relay.errors import RefusedError, RelayError, UnreachableError
from relay.store.preparing import give_up_if_outdated, keep_plans

# What a person has to mend, whatever the row: the way in (28, 3D), a right, a table or a column (42, 3F), a feature.
_FOR_A_PERSON = ("0A", "28", "3D", "3F", "42")
_NAMES_NO_VALUE = ("23", "42", "54")


class Connections:
    """The engine is the relay's own: its connections stay READ COMMITTED."""

    def __init__(self, engine: Engine) -> None:
        keep_plans(engine)
        self._engine = engine
        self._lock = threading.Lock()
        self._in_use: set[Any] = set()

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """One transaction; UnreachableError where running it once more may help, RefusedError where a row is to blame.

        What only a person can mend stays the DBAPIError it is.
        """
        try:
            with self._engine.connect() as connection, self._used(connection), connection.begin():
                yield connection
        except PoolTimeout as error:
            raise UnreachableError("No connection to PostgreSQL became free in time.", cause=Kind.CROWDED) from error
        except DBAPIError as error:
            if not is_passing(error) and not give_up_if_outdated(self._engine, error):
                if is_for_a_person(error):
                    raise
                raise RefusedError(f"PostgreSQL refused: {told(error)}.") from error
            if getattr(error.orig, "sqlstate", None) == "25006":
                self._engine.dispose()  # the other connections lead to the same standby
            raise lost(error) from error
        except UnicodeDecodeError as error:  # of the driver; its own text quotes the bytes
            raise RefusedError("A text in the database is not UTF-8.") from error

    def encoding(self) -> str:
        """In which the database keeps its texts; the server tells it unasked."""
        with self.transaction() as connection:
            raw: Any = connection.connection.dbapi_connection
            return str(raw.info.parameter_status("server_encoding"))

    def cut_off(self) -> None:
        """Shut the sockets of all connections in use."""
        with self._lock:
            in_use = list(self._in_use)
        for raw in in_use:
            # Of whatever kind: a connection may be closed by its user between the list and here.
            with suppress(Exception), socket.socket(fileno=raw.pgconn.socket) as borrowed:
                try:
                    borrowed.shutdown(socket.SHUT_RDWR)
                finally:
                    borrowed.detach()  # the file descriptor stays the driver's

    @contextmanager
    def _used(self, connection: Connection) -> Iterator[None]:
        raw: Any = connection.connection.dbapi_connection
        # Whatever the server's default is: the claim is only right with a fresh snapshot for each statement. Once for
        # each connection of the pool; as an execution option it would be set and unset for each transaction.
        if raw.autocommit or raw.isolation_level is not IsolationLevel.READ_COMMITTED:
            self._engine.dialect.set_isolation_level(raw, "READ COMMITTED")
        with self._lock:
            self._in_use.add(raw)
        try:
            yield
        finally:
            with self._lock:
                self._in_use.discard(raw)


def lost(error: DBAPIError) -> UnreachableError:
    """Why, in words and by its key; never what the server said, which may quote a row."""
    cause = cause_of(error.orig)
    state = getattr(error.orig, "sqlstate", None)
    return UnreachableError(f"PostgreSQL was lost: {cause.words}{f' ({state})' if state else ''}.", cause=cause.kind)


def is_passing(error: DBAPIError) -> bool:
    """Whether the server, or the way to it, is gone for the moment."""
    return error.connection_invalidated or cause_of(error.orig).passes


def is_for_a_person(error: DBAPIError) -> bool:
    """Whether no other row would fare better: a right, a table, a login is missing, or the driver was not told well."""
    state = getattr(error.orig, "sqlstate", None)
    if state is None:
        return isinstance(error, ProgrammingError) or refused_parameter(str(error.orig)) is not None
    return str(state).startswith(_FOR_A_PERSON)


def told(error: BaseException) -> str:
    """The kind of an error; and PostgreSQL's sentence where it names tables and constraints, never a value."""
    if isinstance(error, RelayError):
        return str(error).rstrip(".")
    cause: Any = getattr(error, "orig", None) or error
    state = getattr(cause, "sqlstate", None)
    kind = type(cause).__name__
    if state is None:
        return kind
    sentence = getattr(cause.diag, "message_primary", None) if str(state).startswith(_NAMES_NO_VALUE) else None
    return f"{kind} ({state}){f': {sentence}' if sentence else ''}"
