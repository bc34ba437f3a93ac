"""How a worker introduces itself: the first line of its log says what it works with, and no secret."""

from __future__ import annotations

from sqlalchemy import Connection

import relay
from relay.addresses import told
from relay.assembly.producers import producer_options
from relay.events import WorkerStarted
from relay.producers.options import shown
from relay.settings import Settings


def introduced(settings: Settings, name: str, connection: Connection) -> WorkerStarted:
    """The event, by an open connection of the worker's. An address is that of the producer's option ``url``."""
    address = shown(producer_options(settings)[settings.producer]).get("url")
    version = connection.dialect.server_version_info or ()
    return WorkerStarted(
        name,
        settings.producer,
        settings.concurrency,
        version=relay.__version__,
        database=told(connection.engine.url).removeprefix("at "),
        postgresql=".".join(map(str, version)),
        schema=settings.schema_name,
        platform=str(address) if address else None,
        metrics=f"{settings.metrics_host}:{settings.metrics_port}" if settings.metrics_port else None,
    )
