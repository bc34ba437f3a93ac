"""faststream-outbox: one loop fetches, workers handle one message after another, finished ones are deleted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from faststream_outbox import (  # type: ignore[import-not-found,unused-ignore]
    OutboxBroker,
    make_outbox_table,
    outbox_autovacuum_ddl,
)
from sqlalchemy import MetaData, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from benchmarks.peers import Drain, Handle


async def install(database: str) -> None:
    metadata = MetaData()
    make_outbox_table(metadata)
    engine = _engine(database)
    async with engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
        await connection.execute(text(outbox_autovacuum_ddl("outbox")))
    await engine.dispose()


@asynccontextmanager
async def ready(
    database: str, messages: int, handle: Handle, *, apply_types: bool = True, **subscribing: int
) -> AsyncIterator[Drain]:
    engine = _engine(database, subscribing.get("max_workers", 1))
    broker = OutboxBroker(engine, outbox_table=make_outbox_table(MetaData()), logger=None, apply_types=apply_types)
    handled, all_handled = 0, asyncio.Event()

    async def trade(content: str) -> None:
        nonlocal handled
        await handle(content)
        handled += 1
        if handled == messages:
            all_handled.set()

    broker.subscriber("trade", **subscribing)(trade)
    await broker.connect()

    async def drain() -> None:
        await broker.start()
        await all_handled.wait()
        await broker.stop()  # the last deletes belong to it

    yield drain
    await engine.dispose()


def _engine(database: str, workers: int = 1) -> AsyncEngine:
    """Each worker and the fetching loop hold a connection."""
    return create_async_engine(database.replace("postgresql:", "postgresql+asyncpg:"), pool_size=workers + 2)
