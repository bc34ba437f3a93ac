"""Alembic's environment for the relay's own schema: the first host application of ``relay.revisions``.

The same lock, schema and version table as ``relay migrate``, so that either may follow the other.
"""

import re

from alembic import context
from sqlalchemy import Connection, create_engine

from relay.revisions import VERSION_TABLE, create_schema, is_at
from relay.revisions.patience import WAIT_SECONDS, in_turns
from relay.revisions.standing import as_owner
from relay.schema import Native, metadata
from relay.sessions import make_independent
from relay.settings import database_url, schema_name

SCHEMA = schema_name()


def compared(name: str | None, kind: str, parents: object) -> bool:
    """Our schema and what is in it, but for the months of the archive: they come and go."""
    if kind == "schema":
        return name == SCHEMA
    return kind != "table" or not re.search(r"_archive_y\d{4}m\d\d$", name or "")


def configure(**where: object) -> None:
    context.configure(
        target_metadata=metadata,
        version_table=VERSION_TABLE,
        version_table_schema=SCHEMA,
        include_schemas=True,
        include_name=compared,
        # Types that SQLAlchemy cannot reflect are compared by a test in the catalogue, not by `alembic check`.
        compare_type=lambda context, inspected, column, found, ours: False if isinstance(ours, Native) else None,
        **where,
    )


if context.is_offline_mode():
    configure(dialect_name="postgresql", literal_binds=True)
    with context.begin_transaction():
        create_schema(context.execute, None, SCHEMA)
        context.run_migrations()
else:

    def migrate(connection: Connection) -> None:
        with as_owner(connection, SCHEMA, required=not is_at(connection, SCHEMA, "head")):
            create_schema(connection.exec_driver_sql, connection, SCHEMA)
            configure(connection=connection)
            context.run_migrations()

    engine = create_engine(database_url())
    make_independent(engine)
    in_turns(engine, migrate, schema=SCHEMA, wait_seconds=WAIT_SECONDS)
    engine.dispose()
