"""The application's side: one message into the outbox, inside the transaction the application already has.

    relay.add(session, topic, content)               Session, Connection, psycopg.Connection
    await relay.add_async(session, topic, content)   AsyncSession, AsyncConnection, psycopg.AsyncConnection
    session.add(relay.OutboxMessage(topic=..., content=...))
    connection.execute(relay.insert(topic, content))

    content ──> columns ──> adding      add, add_async, insert: one statement
                       └──> mapped      OutboxMessage
                            transaction     what both refuse

All of them need INSERT on the columns an insert may name and SELECT on ``id``, nothing more, and load nothing but
SQLAlchemy. Nothing here opens, commits or ends a transaction.
"""

from relay.outbox.adding import add, add_async, insert
from relay.outbox.mapped import OutboxMessage

__all__ = ["OutboxMessage", "add", "add_async", "insert"]
