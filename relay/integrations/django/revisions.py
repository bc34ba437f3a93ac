"""What Django's migrations do: bring the relay's tables to a revision, or take them back.

By a connection of the relay's own, as ``relay migrate`` does it: it takes its turn behind others that migrate, waits
for no lock for long, depends on no setting of the role or of Django's sessions, works behind a pooler, and goes on
with what takes long in small batches. So it is committed before Django notes that the migration was applied; if that
comes to nothing, the next ``migrate`` finds nothing to do. Migrations with it are ``atomic = False``: no transaction
of Django's stays open meanwhile.
"""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError
from django.db import router
from django.db.migrations.operations.base import Operation

import relay
from relay.errors import RelayError
from relay.integrations.django.places import is_postgresql, schema, url_of


class ToRevision(Operation):
    """Bring the tables to ``revision``; backwards to ``before``: ``"base"`` removes them with everything in them.

    Where routers say so, or the database is not PostgreSQL, nothing is done. Tables that are newer already stay.
    """

    reduces_to_sql = True
    reversible = True

    def __init__(self, revision: str, before: str = "base") -> None:
        self.revision = revision
        self.before = before

    def state_forwards(self, app_label: str, state: Any) -> None:
        """The models are told apart from the tables."""

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        if schema_editor.collect_sql:
            schema_editor.collected_sql.append(f"-- printed by: manage.py relay migrate --sql --to {self.revision}")
        elif router.allow_migrate(schema_editor.connection.alias, app_label):
            bring_to(self.revision, schema_editor.connection)

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        if schema_editor.collect_sql:
            schema_editor.collected_sql.append("-- not printed: the relay takes its tables back by itself")
        elif router.allow_migrate(schema_editor.connection.alias, app_label):
            take_back_to(self.before, schema_editor.connection)

    def describe(self) -> str:
        return f"Bring the relay's tables to revision {self.revision}"


def bring_to(revision: str, connection: Any) -> None:
    """Whatever is missing, on the database of Django's ``connection``."""
    if not is_postgresql(connection):
        return
    try:
        relay.migrate(url_of(connection), schema=schema(), to=revision)
    except RelayError as error:
        raise _as_sentence(error) from error


def take_back_to(revision: str, connection: Any) -> None:
    """The tables, or none of them, as they were before."""
    if not is_postgresql(connection):
        return
    try:
        relay.downgrade(url_of(connection), to=revision, schema=schema())
    except RelayError as error:
        raise _as_sentence(error) from error


def _as_sentence(error: RelayError) -> CommandError:
    return CommandError(f"{error}\n{error.hint}" if error.hint else str(error))
