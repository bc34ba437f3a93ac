"""The database of the settings, for a verb: where somebody is in the way, it is told by the verb's name."""

from __future__ import annotations

from contextlib import AbstractContextManager

import click
from sqlalchemy import Connection, Engine

from relay.assembly import database
from relay.settings import Settings


def acting_engine(settings: Settings) -> AbstractContextManager[Engine]:
    """As ``assembly.database.acting_engine``, named after the verb."""
    return database.acting_engine(settings, who=_verb())


def operating(settings: Settings) -> AbstractContextManager[Engine]:
    """As ``assembly.database.operating``, named after the verb."""
    return database.operating(settings, who=_verb())


def reading(settings: Settings) -> AbstractContextManager[Connection]:
    """As ``assembly.database.reading``, named after the verb."""
    return database.reading(settings, who=_verb())


def _verb() -> str:
    context = click.get_current_context(silent=True)
    return f"relay {context.info_name}" if context else "relay"
