"""The application's side: messages into the outbox, inside the transaction the application already has.

    relay.add(session, topic, content)               Session, Connection, psycopg.Connection, Django's connection
    await relay.add_async(session, topic, content)   AsyncSession, AsyncConnection, psycopg.AsyncConnection, asyncpg's
    relay.add_many(session, messages)                any number of them; add_many_async
    session.add(relay.OutboxMessage(topic=..., content=...))
    connection.execute(relay.insert(topic, content))
    relay.add(session, TradeTrace(...))              of a class of yours that derives from relay.Topic

    models ──> content ──> columns ──> adding      add, add_async, insert: one statement
                                  ├──> many        add_many, add_many_async: a statement a thousand; NewMessage
                                  ├──> mapped      OutboxMessage
                                  └──> topic       Topic, where pydantic is installed
                            transaction     what all refuse
                            absent          what is said where there are no tables
                            tracing         the trace of the application, carried along
                            kinds ──> drivers   which connections there are, and one face for those that are taken
                            notations           the statements as text, for those that are not SQLAlchemy's

All of them need INSERT on the columns an insert may name and SELECT on ``id``, nothing more, and load nothing but
SQLAlchemy; Topic alone loads pydantic. Nothing here opens, commits or ends a transaction.
"""

from relay.outbox.adding import add, add_async, insert
from relay.outbox.many import add_many, add_many_async
from relay.outbox.mapped import OutboxMessage
from relay.outbox.new_message import NewMessage

__all__ = ["NewMessage", "OutboxMessage", "add", "add_async", "add_many", "add_many_async", "insert"]
