"""``manage.py flush`` also empties the outbox of a test database: what a TransactionTestCase does after each test.

Django truncates the tables of its models. Ours are none of these, and refuse to lose rows; ``relay.testing.empty`` is
the way that is meant for tests, and it refuses whatever is not known as a test database. There they are kept, and that
is said.
"""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError
from django.core.management.commands import flush
from django.db import connections, router

from relay.errors import RelayError, SchemaError
from relay.integrations.django.places import is_postgresql, schema
from relay.testing import NotATestDatabase, empty


class Command(flush.Command):
    """Django's own, and then the outbox."""

    def handle(self, **options: Any) -> None:
        super().handle(**options)
        connection = connections[options["database"]]
        if not is_postgresql(connection) or not router.allow_migrate(connection.alias, "relay"):
            return
        try:
            empty(connection, schema=schema())
        except SchemaError:
            return  # it has no tables of ours
        except NotATestDatabase as error:
            self.stderr.write(f"The relay's tables are kept, and what is pending will be sent. {error}")
        except RelayError as error:
            raise CommandError(f"{error} {error.hint}") from error
