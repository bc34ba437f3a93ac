"""Refusing a connection that has no transaction.

In autocommit the message would be committed apart from the rows it speaks of: a rollback would leave it behind, and
that is the very fault an outbox exists to prevent. So it is an error, unless the caller says that it is meant.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from relay.errors import NotInTransaction

if TYPE_CHECKING:
    import psycopg
    from sqlalchemy import Connection


def refuse_autocommit(connection: Connection) -> None:
    """Raise NotInTransaction if what is executed on ``connection`` is committed at once.

    The driver's own connection is asked: SQLAlchemy's isolation level reads READ COMMITTED on an AUTOCOMMIT engine.
    """
    if getattr(connection.connection.dbapi_connection, "autocommit", False):
        raise _not_in_transaction()


def refuse_autocommit_of_psycopg(connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> None:
    """The same for a bare psycopg connection, where autocommit inside ``connection.transaction()`` is fine."""
    if connection.autocommit and connection.info.transaction_status.name == "IDLE":
        raise _not_in_transaction()


def _not_in_transaction() -> NotInTransaction:
    return NotInTransaction(
        "The connection is in autocommit: the message would be committed apart from your own rows (a dual write).",
        "Write both in one transaction; if the message stands alone: relay.add(..., allow_autocommit=True)",
    )
