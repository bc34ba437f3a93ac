"""The application as Django sees it."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import Error, register
from django.db import connections, router
from django.db.models.signals import post_migrate

from relay.integrations.django.places import is_postgresql


class RelayConfig(AppConfig):
    """``INSTALLED_APPS += ["relay.integrations.django"]``"""

    name = "relay.integrations.django"
    label = "relay"
    verbose_name = "Outbox relay"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        register(look_for_a_database, "relay")
        post_migrate.connect(make_tables_without_migrations, sender=self)


def look_for_a_database(app_configs: Any, **_: Any) -> list[Error]:
    """That one of the databases can hold the outbox, as far as settings tell. Connects to none."""
    if any(is_postgresql(connections[alias]) and router.allow_migrate(alias, "relay") for alias in connections):
        return []
    return [
        Error(
            "No database of this project can hold the outbox.",
            hint="It lies beside your rows in PostgreSQL: add one to DATABASES, and let your routers allow_migrate it.",
            id="relay.E001",
        )
    ]


def make_tables_without_migrations(using: str, **_: Any) -> None:
    """Where a test run switches migrations off, Django makes tables of models; ours come by their revisions even so."""
    modules = settings.MIGRATION_MODULES
    if "relay" in modules and modules["relay"] is None:
        from relay.integrations.django.revisions import bring_to

        bring_to("head", connections[using])
