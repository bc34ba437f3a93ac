"""One database, for reading or acting: its engine, its schema, and errors that are sentences.

PostgreSQL's errors become ours at this border. They name hosts, ports and database, never a password, a statement or
its values. What decides is the SQLSTATE; libpq gives none when it cannot connect.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DBAPIError

from relay.acting import bounded, naming
from relay.addresses import told
from relay.certificates import trouble_of_postgresql
from relay.conninfo import advice, refused_parameter
from relay.database_errors import (
    NOT_IN_THIS_ENCODING,
    POLICIES_CHECKED_IN,
    Kind,
    cause_of,
    is_away,
    is_statement_mode,
    sqlstate,
)
from relay.errors import ConfigurationError, RelayError, SchemaError, UnreachableError
from relay.holders import NOTHING_CHANGED
from relay.readable import read_far_times
from relay.revisions import require_head_if_readable
from relay.sessions import make_independent, make_transactions_independent
from relay.sql import SCHEMA

APPLICATION_NAME = "outbox-relay"
CONNECT_TIMEOUT_SECONDS = 5
DEAD_PEER_SECONDS = 20
ENCODING = "utf8"  # before that of the URL and PGCLIENTENCODING: another one has no signs for most contents
_SNAPSHOT: dict[str, Any] = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}


class Database:
    """The relay's tables: an engine that leads to them, and their schema, said once for every connection given out.

    ``engine`` may be a host application's own. It stays as it is; the one that this has (``self.engine``) shares its
    connections, and every transaction on it is independent of what the host, the role or the database have set.
    Errors that leave the blocks below are sentences of ours; where a lock was in the way they say that ``who`` did
    nothing.
    """

    def __init__(self, engine: Engine, schema: str = SCHEMA, *, who: str = "relay") -> None:
        self.schema = schema
        self._who = who
        self.engine = engine.execution_options(schema_translate_map={SCHEMA: schema})
        make_transactions_independent(self.engine)

    @contextmanager
    def acting(self, undone: str | None = None) -> Iterator[Engine]:
        """An engine for a person who waits: for a lock five seconds at the most, and then is told who has it.

        ``undone``: what was not done then, as the end of a sentence.
        """
        engine = bounded(self.engine)
        with _in_sentences(engine), naming(engine, undone or f"{self._who} did nothing, {NOTHING_CHANGED}"):
            yield engine

    @contextmanager
    def operating(self) -> Iterator[Engine]:
        """The same on a database whose tables are those this version knows, as far as the login may know that."""
        with self.acting() as engine:
            with engine.connect() as connection:
                require_head_if_readable(connection, self.schema)
            yield engine

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A read-only snapshot of a database whose tables are those this version knows, as far as the login may know.

        A reader waits for a lock no longer than a person who acts.
        """
        with self.acting() as engine, engine.connect() as connection:
            connection.execution_options(**_SNAPSHOT)
            require_head_if_readable(connection, self.schema)
            yield connection

    @contextmanager
    def snapshot(self, undone: str | None = None) -> Iterator[Connection]:
        """A read-only snapshot, of which nothing is asked yet: an auditor may not read which revision there is.

        A reader waits for a lock no longer than a person who acts.
        """
        with self.acting(undone) as engine, engine.connect() as connection:
            yield connection.execution_options(**_SNAPSHOT)


def make_engine(url: str | URL, schema: str = SCHEMA, **pool: Any) -> Engine:
    """An engine on READ COMMITTED, independent, with ``schema.py`` pointing to the schema of this name.

    ``pool``: options of SQLAlchemy's pool, where another than the usual one is wanted.

    Its errors are SQLAlchemy's own: the store has to tell what is worth another try. Nothing connects yet.
    """
    engine = create_engine(
        url,
        isolation_level="READ COMMITTED",
        hide_parameters=True,
        pool_use_lifo=True,  # in turn, each of them would be cold for every message of a quiet hour
        connect_args={
            "connect_timeout": CONNECT_TIMEOUT_SECONDS,
            "fallback_application_name": APPLICATION_NAME,
            "client_encoding": ENCODING,
            "prepare_threshold": None,  # behind a pooler the next transaction may run on another server connection
            "tcp_user_timeout": 1000 * DEAD_PEER_SECONDS,
            "keepalives_idle": DEAD_PEER_SECONDS,
        },
        execution_options={"schema_translate_map": {SCHEMA: schema}},
        **pool,
    )
    make_independent(engine)
    read_far_times(engine)
    return engine


def raise_sentences(engine: Engine) -> None:
    """From now on whatever this engine raises is a sentence of ours, inside the blocks of ``Database`` and outside."""
    event.listen(engine, "handle_error", _raise_explained)


def server_encoding(connection: Connection) -> str:
    """In which the database keeps its texts; the server tells it unasked."""
    raw: Any = connection.connection.dbapi_connection
    return str(raw.info.parameter_status("server_encoding"))


def explained(error: BaseException, url: URL) -> RelayError:
    """What an error of psycopg means, in a sentence of ours."""
    kind = cause_of(error).kind
    found = _explained(error, url, kind)
    found.cause = kind
    return found


def _explained(error: BaseException, url: URL, kind: Kind) -> RelayError:
    state = sqlstate(error)
    diag = getattr(error, "diag", None)
    if state is None and (bad := refused_parameter(str(error))):
        return ConfigurationError(
            f"PostgreSQL was not even tried: the parameter {bad} of the connection is refused",
            advice(bad, "RELAY_DATABASE_URL"),
        )
    if state is None and not is_away(error):
        return RelayError(
            f"A value in the database, or for it, cannot be converted ({type(error).__name__})",
            "relay check names rows that are strange.",
        )
    if state in NOT_IN_THIS_ENCODING:
        return RelayError(
            f"PostgreSQL refused: {type(error).__name__}: the database is in an encoding that lacks a character",
            "Use a database with the encoding UTF8: relay check tells which one this is.",
        )
    if is_statement_mode(error):
        return ConfigurationError(
            f"The pooler refuses transactions: {_reason(error)}", "Set pool_mode=transaction in the pooler."
        )
    if is_away(error):
        return UnreachableError(
            f"Cannot reach PostgreSQL {told(url)}: {trouble_of_postgresql(error) or _reason(error)}",
            "Check RELAY_DATABASE_URL and that the server runs.",
        )
    if kind is Kind.READ_ONLY:
        return RelayError(
            f"PostgreSQL refused: {_reason(error)}",
            "A standby, or default_transaction_read_only is on: name the primary in RELAY_DATABASE_URL, with several "
            "hosts and target_session_attrs=read-write. relay check tells more.",
        )
    if kind is Kind.MISSING:
        return SchemaError(
            f"The relay tables are missing or older than this relay: {_reason(error)}", "Run: relay migrate"
        )
    if kind is Kind.LOCKED:
        return RelayError("Somebody is using these tables; nothing was changed", "Try again when they have finished.")
    if kind is Kind.NO_RIGHT and getattr(diag, "source_function", None) == POLICIES_CHECKED_IN:
        return RelayError(
            f"PostgreSQL would hide rows from the relay: {_reason(error)}",
            "Drop what was put there: alter table ... disable row level security. relay check tells more.",
        )
    if kind is Kind.NO_RIGHT:
        user = url.username or "the database user"
        return RelayError(
            _reason(error),
            f"relay roles tells who may: make {user} a member of that role. "
            "After each relay migrate, run relay roles --sql again.",
        )
    return RelayError(f"PostgreSQL refused: {_reason(error)}", getattr(diag, "message_hint", None) or "")


def _raise_explained(context: ExceptionContext) -> None:
    error = context.original_exception
    dialect: Any = context.dialect
    if context.engine is not None and isinstance(error, dialect.loaded_dbapi.Error):
        raise explained(error, context.engine.url)


@contextmanager
def _in_sentences(engine: Engine) -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        raise explained(error.orig or error, engine.url) from error


def _reason(error: BaseException) -> str:
    """The server's own sentence, without the detail (which quotes the row); else the end of libpq's first line."""
    sentence = getattr(getattr(error, "diag", None), "message_primary", None)
    if sentence:
        return str(sentence)
    lines = str(error).splitlines() or [type(error).__name__]
    return lines[0].rpartition(" failed: ")[2].removeprefix("FATAL:").strip()
