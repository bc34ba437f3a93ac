"""Transactions that tell what is worth another try, and connections that can be cut when nobody answers on them.

A connection through a stalled proxy or a half-open TCP connection gives no error, it just never answers; nor does a
server while a statement waits for a lock. A caller that runs a transaction against time calls
:meth:`Connections.cut_off` from another thread; the one that waits then fails. From its first byte on a connection is
known to it, also while its session is being set up.

The statement is cancelled first: so the server no longer waits for that lock either, and the connection is as good as
before. A client that only goes away leaves a server process behind, and one more with each new try, until nobody can
connect. A commit is not cancelled: one that waits for a synchronous standby would then count as made without it. There,
and where cancelling is of no use, the socket is shut, and the server sees that soon (see ``sessions.WORKER``).
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from psycopg import IsolationLevel
from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import DBAPIError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from relay.background import Thread
from relay.conninfo import refused_parameter
from relay.database_errors import (
    CANCELLED,
    FOR_A_PERSON,
    NAMES_NO_VALUE,
    READ_ONLY,
    Kind,
    cause_of,
    looked_into,
    sqlstate,
)
from relay.errors import RefusedError, RelayError, UnreachableError
from relay.holders import HOLDERS, Holder, likeliest
from relay.sql import migrate_lock, schema_of
from relay.store.preparing import give_up_if_outdated, keep_plans
from relay.store.running import fetch

_OURS_SECONDS = 0.2  # other workers' transactions are over in less
_CANCEL_SECONDS = 1.0  # for a cancelled statement to end


@dataclass(frozen=True, slots=True, eq=False)
class _Use:
    """One transaction's use of a connection of the driver; the next one is another, even in the same thread."""

    raw: Any


class Connections:
    """The engine is the relay's own and knows the schema: its connections stay READ COMMITTED.

    A thread uses one of them at a time.
    """

    def __init__(self, engine: Engine) -> None:
        keep_plans(engine)
        event.listen(engine, "do_connect", self._connect)
        self._engine = engine
        self._released = threading.Condition()
        self._in_use: dict[int, _Use] = {}  # by thread
        self._committing: set[int] = set()
        self._given_up: set[int] = set()

    def close(self) -> None:
        """Hear no more of the engine, which stays as it is for whoever has it."""
        if event.contains(self._engine, "do_connect", self._connect):
            event.remove(self._engine, "do_connect", self._connect)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """One transaction; UnreachableError where running it once more may help, RefusedError where a row is to blame.

        What only a person can mend stays the DBAPIError it is.
        """
        thread, pool = threading.get_ident(), self._engine.pool
        try:
            with self._engine.connect() as connection:
                self._use(connection)
                with connection.begin():
                    yield connection
                    self._committing.add(thread)
        except PoolTimeout as error:
            raise UnreachableError("No connection to PostgreSQL became free in time.", cause=Kind.CROWDED) from error
        except DBAPIError as error:
            raise self._meant(error, thread) from error
        except UnicodeDecodeError as error:  # of the driver; its own text quotes the bytes
            raise RefusedError("A text in the database is not UTF-8.") from error
        finally:
            self._release(thread)
            if self._engine.pool is not pool:  # it was disposed of meanwhile, and nobody would close what came back
                pool.dispose()

    def encoding(self) -> str:
        """In which the database keeps its texts; the server tells it unasked."""
        with self.transaction() as connection:
            raw: Any = connection.connection.dbapi_connection
            return str(raw.info.parameter_status("server_encoding"))

    def cut_off(self, threads: Collection[int] | None = None) -> None:
        """End what these threads wait for (None: all). Comes back within some two seconds."""
        with self._released:
            chosen = {t: use for t, use in self._in_use.items() if threads is None or t in threads}
            self._given_up |= chosen.keys()
            waiting = {t: use for t, use in chosen.items() if t not in self._committing}
        for use in waiting.values():
            Thread(partial(_cancel, use.raw), name="cancel").start()
        with self._released:
            self._released.wait_for(lambda: not self._still(waiting), timeout=_CANCEL_SECONDS if waiting else 0)
            left = self._still(chosen)
        for raw in left:
            _shut(raw)

    def _still(self, chosen: Mapping[int, _Use]) -> list[Any]:
        return [use.raw for thread, use in chosen.items() if self._in_use.get(thread) is use]

    def _connect(self, dialect: Any, _record: object, arguments: Any, parameters: Any) -> Any:
        raw = dialect.connect(*arguments, **parameters)
        with self._released:
            self._in_use[threading.get_ident()] = _Use(raw)
        return raw

    def _use(self, connection: Connection) -> None:
        raw: Any = connection.connection.dbapi_connection
        with self._released:
            self._in_use[threading.get_ident()] = _Use(raw)
        # Whatever the server's default is: the claim is only right with a fresh snapshot for each statement. Once for
        # each connection of the pool; as an execution option it would be set and unset for each transaction.
        if raw.autocommit or raw.isolation_level is not IsolationLevel.READ_COMMITTED:
            self._engine.dialect.set_isolation_level(raw, "READ COMMITTED")

    def _release(self, thread: int) -> None:
        with self._released:
            self._in_use.pop(thread, None)
            self._committing.discard(thread)
            self._given_up.discard(thread)
            self._released.notify_all()

    def _meant(self, error: DBAPIError, thread: int) -> Exception:
        if thread in self._given_up:
            waited = is_cancelled(error)  # the server is there, and heeds us
            return UnreachableError(
                f"PostgreSQL gave no answer in time{self._in_the_way(error)}.",
                cause=Kind.TOO_SLOW if waited else Kind.NO_ANSWER,
            )
        if not is_passing(error) and not give_up_if_outdated(self._engine, error):
            return error if is_for_a_person(error) else RefusedError(f"PostgreSQL refused: {told(error)}.")
        if sqlstate(error) == READ_ONLY:
            self._engine.dispose()  # the other connections lead to the same standby
        return lost(error)

    def _in_the_way(self, error: DBAPIError) -> str:
        """Who holds what the statement waited for, where the server answers again now that it is cancelled."""
        if not is_cancelled(error):
            return ""
        with suppress(Exception), self._engine.connect() as connection:
            self._use(connection)
            rows = fetch(connection, HOLDERS, {"tables": None, "lock": migrate_lock(schema_of(connection))})
            for one in likeliest(filter(_keeps, (Holder(*row) for row in rows)), waited_seconds=_OURS_SECONDS):
                since = "" if one.seconds is None else one.since
                return f": {one.who}{since}, holds a lock on {one.held}"
        return ""


def _keeps(one: Holder) -> bool:
    """Whether a statement may wait for this one. Who waits for a lock, as our own sessions do, keeps nobody waiting by
    itself.
    """
    lasts = one.seconds is None or one.seconds > _OURS_SECONDS
    return one.whole or (bool(one.tables) and lasts and not one.waits)


def _cancel(raw: Any) -> None:
    with suppress(Exception):  # of whatever kind: then the socket is shut
        raw.cancel_safe(timeout=_CANCEL_SECONDS)


def _shut(raw: Any) -> None:
    # Of whatever kind: a connection may be closed by its user meanwhile.
    with suppress(Exception), socket.socket(fileno=raw.pgconn.socket) as borrowed:
        try:
            borrowed.shutdown(socket.SHUT_RDWR)
        finally:
            borrowed.detach()  # the file descriptor stays the driver's


def lost(error: DBAPIError) -> UnreachableError:
    """Why, in words and by its key; never what the server said, which may quote a row."""
    cause = looked_into(error.orig)
    state = sqlstate(error)
    return UnreachableError(f"PostgreSQL was lost: {cause.words}{f' ({state})' if state else ''}.", cause=cause.kind)


def is_cancelled(error: DBAPIError) -> bool:
    """Whether the server ended the statement: by a limit on its time, or because it was asked to."""
    return sqlstate(error) == CANCELLED


def is_passing(error: DBAPIError) -> bool:
    """Whether the server, or the way to it, is gone for the moment."""
    return error.connection_invalidated or cause_of(error.orig).passes


def is_for_a_person(error: DBAPIError) -> bool:
    """Whether no other row would fare better: a right, a table, a login is missing, or the driver was not told well."""
    state = sqlstate(error)
    if state is None:
        return isinstance(error, ProgrammingError) or refused_parameter(str(error.orig)) is not None
    return state.startswith(FOR_A_PERSON)


def told(error: BaseException) -> str:
    """The kind of an error; and PostgreSQL's sentence where it names tables and constraints, never a value."""
    if isinstance(error, RelayError):
        return str(error).rstrip(".")
    cause: Any = getattr(error, "orig", None) or error
    state = sqlstate(cause)
    kind = type(cause).__name__
    if state is None:
        return kind
    sentence = getattr(cause.diag, "message_primary", None) if state.startswith(NAMES_NO_VALUE) else None
    return f"{kind} ({state}){f': {sentence}' if sentence else ''}"
