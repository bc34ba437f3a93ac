"""The database of the settings, as commands and workers use it: see ``relay.database``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine

from relay.addresses import normalized_url
from relay.database import Database, make_engine, raise_sentences
from relay.readable import read_any_text
from relay.settings import Settings


@contextmanager
def opened(settings: Settings, *, who: str = "relay", any_text: bool = False) -> Iterator[Database]:
    """The database as long as the block lasts. ``who`` did nothing, an error says where a lock was in the way.

    With ``any_text`` what is no text is shown even so, where the database does not see to it that it is one: for who
    reads, and writes nothing.
    """
    engine = open_engine(settings)
    if any_text:
        read_any_text(engine)
    try:
        yield Database(engine, settings.schema_name, who=who)
    finally:
        engine.dispose()


def open_engine(settings: Settings) -> Engine:
    """An engine whose errors are sentences of ours. Nothing connects yet."""
    engine = plain_engine(settings)
    raise_sentences(engine)
    return engine


def plain_engine(settings: Settings) -> Engine:
    """The same with SQLAlchemy's own errors, which the store reads."""
    return make_engine(normalized_url(settings.database_url), settings.schema_name)
