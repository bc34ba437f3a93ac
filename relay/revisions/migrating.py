"""Run the revisions: ``relay migrate`` and ``relay.migrate(...)``.

Everything happens in one transaction behind an advisory lock, so that many migrating at once is safe: the first one
works, the others wait and then find nothing to do. Nothing is ever created beside the revisions.
"""

from __future__ import annotations

import io
from typing import Any

from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import Connection, Engine, create_engine, text

from relay.revisions import is_at, upgrade
from relay.revisions.standing import as_owner
from relay.sessions import make_independent, undisturbed


def migrate(target: str | Engine | Connection, *, schema: str = "relay", to: str = "head") -> list[str]:
    """Bring the relay's tables up to date; the revisions applied (empty: there was nothing to do).

    ``target`` is a database URL, an Engine, or a Connection: on a Connection the caller's transaction is used and the
    caller commits. An AsyncConnection does it with ``await connection.run_sync(relay.migrate)``.
    """
    if isinstance(target, Connection):
        with undisturbed(target):
            lock(target, schema)
            if is_at(target, schema, to):
                return []
            with as_owner(target, schema):
                return upgrade(Operations(MigrationContext.configure(target)), to=to, schema=schema)
    if isinstance(target, Engine):
        with target.begin() as connection:
            return migrate(connection, schema=schema, to=to)
    # Of a database in SQL_ASCII the driver would else make bytes of every text.
    engine = create_engine(target, connect_args={"client_encoding": "utf8"})
    make_independent(engine)
    try:
        return migrate(engine, schema=schema, to=to)
    finally:
        engine.dispose()


def migration_sql(*, schema: str = "relay", to: str = "head", start: str | None = None) -> str:
    """The DDL that :func:`migrate` would run on a database at revision ``start``, as one script; needs no database."""
    buffer = io.StringIO()
    options: dict[str, Any] = {"as_sql": True, "output_buffer": buffer}
    context = MigrationContext.configure(dialect_name="postgresql", opts=options)
    with context.begin_transaction():
        upgrade(Operations(context), to=to, schema=schema, start=start)
    return buffer.getvalue()


def lock(connection: Connection, schema: str) -> None:
    """Wait until nobody else migrates this schema; held until the transaction ends (so it is safe behind a pooler)."""
    connection.execute(text("select pg_advisory_xact_lock(hashtext(:name))"), {"name": f"relay.migrate.{schema}"})
