"""The database of the settings, as commands and workers use it: see ``relay.database``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine

from relay.addresses import normalized_url
from relay.database import Database, make_engine, raise_sentences
from relay.readable import read_any_text
from relay.settings import Settings


def open_engine(settings: Settings) -> Engine:
    """An engine whose errors are sentences of ours. Nothing connects yet."""
    engine = plain_engine(settings)
    raise_sentences(engine)
    return engine


def plain_engine(settings: Settings) -> Engine:
    """The same with SQLAlchemy's own errors, which the store reads."""
    return make_engine(normalized_url(settings.database_url), settings.schema_name)


@contextmanager
def opened(settings: Settings) -> Iterator[Engine]:
    """An engine as long as the block lasts."""
    engine = open_engine(settings)
    try:
        yield engine
    finally:
        engine.dispose()


@contextmanager
def acting_engine(settings: Settings, *, who: str = "relay") -> Iterator[Engine]:
    """The engine of these settings for a person who acts, closed afterwards. ``who`` is named in errors."""
    with opened(settings) as engine, Database(engine, settings.schema_name).acting(who=who) as acting:
        yield acting


@contextmanager
def operating(settings: Settings, *, who: str = "relay") -> Iterator[Engine]:
    """The same, for a person who acts on messages: raises SchemaError where the tables are of another revision."""
    with opened(settings) as engine, Database(engine, settings.schema_name).operating(who=who) as acting:
        yield acting


@contextmanager
def snapshot(settings: Settings) -> Iterator[Connection]:
    """A connection whose transaction sees one state of the database from the first statement to the last."""
    with opened(settings) as engine, Database(engine, settings.schema_name).snapshot() as connection:
        yield connection


@contextmanager
def reading(settings: Settings, *, who: str = "relay") -> Iterator[Connection]:
    """Of any text, also where the database does not see to it that it is one: this engine is nobody else's."""
    with opened(settings) as engine:
        read_any_text(engine)
        with Database(engine, settings.schema_name).reading(who=who) as connection:
            yield connection
