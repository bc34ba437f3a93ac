"""Refusing a connection that has no transaction.

In autocommit the message would be committed apart from the rows it speaks of: a rollback would leave it behind, and
that is the very fault an outbox exists to prevent. So it is an error, unless the caller says that it is meant.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

from relay.errors import NotInTransaction


def refuse_autocommit(connection: Connection) -> None:
    """Raise NotInTransaction if what is executed on ``connection`` is committed at once."""
    if commits_at_once(connection):
        raise not_in_transaction()


def commits_at_once(connection: Connection) -> bool:
    """The driver is asked: SQLAlchemy's isolation level reads READ COMMITTED on an AUTOCOMMIT engine."""
    return bool(getattr(connection.connection.dbapi_connection, "autocommit", False))


def psycopg_commits_at_once(connection: Any) -> bool:
    """Of a bare psycopg connection, where autocommit inside ``connection.transaction()`` is fine."""
    return bool(connection.autocommit) and connection.info.transaction_status.name == "IDLE"


def django_commits_at_once(connection: Any) -> bool:
    """Outside of ``atomic()``, unless the application has set autocommit off and commits by itself."""
    return not connection.in_atomic_block and bool(connection.get_autocommit())


def not_in_transaction(within: str = "") -> NotInTransaction:
    """The error for a connection in autocommit; ``within`` says, in its hint, how a transaction is begun."""
    return NotInTransaction(
        "The connection is in autocommit: the message would be committed apart from your own rows (a dual write).",
        f"Write both in one transaction{within}; if the message stands alone: relay.add(..., allow_autocommit=True)",
    )
