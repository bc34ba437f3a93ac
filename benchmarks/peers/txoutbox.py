"""txoutbox: a lease on a round of messages, published side by side, acknowledged together; one round at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from txoutbox import Relay, RelayConfig  # type: ignore[import-not-found,unused-ignore]
from txoutbox.adapters.postgres import PostgresStorage  # type: ignore[import-not-found,unused-ignore]

from benchmarks.peers import Drain, Handle


async def install(database: str) -> None:
    storage = await PostgresStorage.connect(database)
    await storage.create_schema()
    await storage.close()


@asynccontextmanager
async def ready(
    database: str,
    messages: int,
    handle: Handle,
    *,
    strict_ordering: bool = True,
    delete_on_ack: bool = False,
    **config: int,
) -> AsyncIterator[Drain]:
    storage = await PostgresStorage.connect(database, strict_ordering=strict_ordering, delete_on_ack=delete_on_ack)

    async def publish(message: Any) -> None:
        await handle(message.payload.decode())

    relay = Relay(storage, publish, config=RelayConfig(**config))

    async def drain() -> None:
        while (await relay.run_once()).claimed:
            pass

    yield drain
    await storage.close()
