"""How long a person who acts waits for a lock, and what the person is told when that is over.

A session that locks a row and leaves its transaction open would keep everybody waiting who acts on that row. So
each transaction that acts waits for LOCK_SECONDS at the most; then nothing of it has happened, and the session in the
way is named. It is a setting of the transaction, which a pooler hands to nobody else.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from relay.database_errors import LOCKED, NO_TRANSACTION, Kind, origin_of, state_of
from relay.errors import RelayError
from relay.holders import NOTHING_CHANGED, InTheWay, keeping_writers
from relay.sessions import LOCK_TIMEOUT
from relay.sql import schema_of

LOCK_SECONDS = 5.0
# A statement that the caller's statement_timeout ends tells nobody who was in the way: the wait is most of that.
_MOST = 0.8
_LIMITS = """
select pg_catalog.current_setting('lock_timeout'),
    extract(epoch from cast(pg_catalog.current_setting('statement_timeout') as interval))::double precision
"""


@contextmanager
def acting(connection: Connection, undone: str = NOTHING_CHANGED) -> Iterator[None]:
    """Inside, no statement waits longer than that for a lock; afterwards the caller's own limit holds again.

    Raises InTheWay where it could not be taken in time: what was done inside is undone then, and the transaction lasts.
    ``undone``: what did not happen, as the end of a sentence. It waits for most of a caller's ``statement_timeout``.
    """
    try:
        with connection.begin_nested():
            before, whole_seconds = connection.exec_driver_sql(_LIMITS).one()
            most_seconds = min(LOCK_SECONDS, _MOST * whole_seconds) if whole_seconds else LOCK_SECONDS
            _limit(connection, f"{max(1, round(1000 * most_seconds))}ms")
            yield
            _limit(connection, before)
    except InTheWay:
        raise
    except (DBAPIError, RelayError) as error:
        if state_of(error) == NO_TRANSACTION:
            raise RelayError(
                "This connection is in autocommit: a change would be committed apart from its row in the ledger",
                "Give a connection whose transaction lasts until both are written: engine.begin().",
            ) from error
        if (named := _named(connection, error, undone)) is None:
            raise
        raise named from error


def bounded(engine: Engine) -> Engine:
    """The same engine for a person who acts: none of its transactions waits longer than that for a lock.

    It is independent, see ``sessions``.
    """
    return engine.execution_options(**{LOCK_TIMEOUT: f"{LOCK_SECONDS:g}s"})


@contextmanager
def naming(engine: Engine, undone: str = NOTHING_CHANGED) -> Iterator[None]:
    """The same for all that is done inside with such an engine, in whatever transactions."""
    try:
        yield
    except InTheWay:
        raise
    except (DBAPIError, RelayError) as error:
        if state_of(error) not in LOCKED:
            raise
        with engine.connect() as connection:
            named = _named(connection, error, undone)
        raise named or error from error


def _named(connection: Connection, error: Exception, undone: str) -> RelayError | None:
    """Where it is about a lock, who has it. A function of the relay's may have said that already, and how to end it."""
    if state_of(error) not in LOCKED:
        return None
    said = getattr(origin_of(error), "diag", None)
    if said is not None and said.message_hint:
        found = RelayError(f"{said.message_primary}; {undone}", str(said.message_hint))
        found.cause = Kind.LOCKED
        return found
    return InTheWay(keeping_writers(connection, schema_of(connection), waited_seconds=LOCK_SECONDS), undone=undone)


def _limit(connection: Connection, value: str) -> None:
    connection.exec_driver_sql(f"set local lock_timeout = '{value}'")
