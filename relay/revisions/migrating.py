"""Run the revisions: ``relay migrate`` and ``relay.migrate(...)``.

Everything happens in one transaction behind an advisory lock, so that many migrating at once is safe: the first one
works, the others wait and then find nothing to do. Nothing is ever created beside the revisions. What would take long
comes after it, in small batches; not on a caller's Connection, whose transaction is the caller's.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import URL, Connection, Engine, create_engine

from relay.addresses import normalized_url
from relay.errors import ConfigurationError
from relay.revisions import downgrade, is_at, upgrade
from relay.revisions.catching_up import catch_up
from relay.revisions.locks import TABLES_SECONDS
from relay.revisions.patience import WAIT_SECONDS, in_turns, turn
from relay.revisions.standing import as_owner
from relay.sessions import make_independent

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    Target = str | URL | Engine | Connection | AsyncEngine

_SAVEPOINT = "relay_migration"


def migrate(
    target: Target,
    *,
    schema: str = "relay",
    to: str = "head",
    wait_seconds: float = WAIT_SECONDS,
    lock_timeout_seconds: float = TABLES_SECONDS,
    tell: Callable[[str], None] = lambda _: None,
) -> list[str]:
    """Bring the relay's tables up to date; the revisions applied (empty: there was nothing to do).

    ``target`` is a database URL as the settings take it (``postgresql://``, any driver's name, libpq's keywords), an
    Engine, or a Connection: on a Connection the caller's transaction is used and the caller commits. An AsyncConnection
    does it with ``await connection.run_sync(relay.migrate)``. An AsyncEngine says where the database is; the migration
    connects by psycopg and blocks, so call it as ``await asyncio.to_thread(relay.migrate, engine)``.

    Tables that are beyond ``to`` already stay as they are: the way back is :func:`relay.downgrade`.

    Nobody's insert is held up for much longer than ``lock_timeout_seconds``. If the tables are in use for so long,
    nothing is changed and it is tried again for ``wait_seconds`` (in a caller's transaction it is tried once); then
    RelayError says who is in the way. ``tell`` hears it at each try.
    """

    def work(connection: Connection) -> list[str]:
        if is_at(connection, schema, to):
            return []
        with as_owner(connection, schema):
            return upgrade(Operations(MigrationContext.configure(connection)), to=to, schema=schema)

    patience: dict[str, Any] = {
        "schema": schema, "wait_seconds": wait_seconds, "tables_seconds": lock_timeout_seconds
    }  # fmt: skip
    if isinstance(target, Connection):
        return turn(target, work, **patience)
    with _opened(target) as engine:
        applied = in_turns(engine, work, **patience, tell=tell)
        catch_up(engine, schema=schema, wait_seconds=wait_seconds, tell=tell)
        return applied


def take_back(target: Target, *, to: str, schema: str) -> list[str]:
    """What :func:`relay.downgrade` does where no Alembic of the caller's is at work."""

    def work(connection: Connection) -> list[str]:
        with as_owner(connection, schema):
            return downgrade(Operations(MigrationContext.configure(connection)), to=to, schema=schema)

    if isinstance(target, Connection):
        return turn(target, work, schema=schema, wait_seconds=WAIT_SECONDS)
    with _opened(target) as engine:
        return in_turns(engine, work, schema=schema, wait_seconds=WAIT_SECONDS)


@contextmanager
def _opened(target: str | URL | Engine | AsyncEngine) -> Iterator[Engine]:
    """The caller's engine, or one that goes when the block ends."""
    if isinstance(target, Engine):
        yield target
        return
    engine = _engine(target)
    try:
        yield engine
    finally:
        engine.dispose()


def _engine(target: str | URL | AsyncEngine) -> Engine:
    if not isinstance(target, str):
        url: URL = target if isinstance(target, URL) else target.url
        target = url.render_as_string(hide_password=False)
    try:
        # Of a database in SQL_ASCII the driver would else make bytes of every text.
        engine = create_engine(normalized_url(target), connect_args={"client_encoding": "utf8"})
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"relay.migrate needs psycopg 3, and there is no module {error.name}", "pip install 'outbox-relay[worker]'"
        ) from error
    make_independent(engine)
    return engine


def migration_sql(
    *, schema: str = "relay", to: str = "head", start: str | None = None, transaction: bool = True
) -> str:
    """The DDL that :func:`migrate` would run on a database at revision ``start``, as one script; needs no database.

    Empty where nothing is to be done. Without ``transaction`` it has no BEGIN and COMMIT, and begins with a savepoint,
    which fails outside of a transaction: half a migration is none.
    """
    buffer = io.StringIO()
    options: dict[str, Any] = {"as_sql": True, "output_buffer": buffer, "transactional_ddl": transaction}
    context = MigrationContext.configure(dialect_name="postgresql", opts=options)
    operations = Operations(context)
    with context.begin_transaction():
        if not transaction:
            operations.execute(f"savepoint {_SAVEPOINT}")
        applied = upgrade(operations, to=to, schema=schema, start=start)
        if not transaction:
            operations.execute(f"release savepoint {_SAVEPOINT}")
    return buffer.getvalue() if applied else ""
