"""Connections that stay open from one test to the next, as long as the fixture lasts that names the database.

A connection of its own costs a test more than what is done over it: PostgreSQL starts a process, which reads its
catalogue and plans each statement anew. But one that stays is in the way of whoever drops the database, so only a
fixture of pytest's that ends before that of the database may keep it (``plugin``).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from relay.addresses import normalized_url
from relay.database import make_engine
from relay.settings import Settings
from relay.sql import SCHEMA
from relay.store.preparing import keep_plans
from relay.testing.emptying import empty


class Kept:
    """Of one database and schema; nothing connects before it is needed."""

    def __init__(self, url: str, schema: str = SCHEMA) -> None:
        self.place = (url, schema)
        self._schema = schema
        self._engine = make_engine(normalized_url(url), schema)
        keep_plans(self._engine)

    def empty(self) -> None:
        """The tables, as ``relay.testing.empty`` does; over a new connection where somebody has ended the old one."""
        try:
            empty(self._engine, schema=self._schema)
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise
            empty(self._engine, schema=self._schema)

    @contextmanager
    def lent(self, _: Settings) -> Iterator[Engine]:
        """To a worker. After an error nobody knows what is still under way: then all connections are new ones."""
        try:
            yield self._engine
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close what is open; it may be used again."""
        self._engine.dispose()
