"""pgqueuer: jobs are dequeued in batches, each runs as a task, finished ones move to a log together.

Several queue managers may share one process, each with a connection, as in its own benchmark.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg  # type: ignore[import-untyped,import-not-found,unused-ignore]
from pgqueuer import PgQueuer  # type: ignore[import-not-found,unused-ignore]
from pgqueuer.db import AsyncpgDriver  # type: ignore[import-not-found,unused-ignore]
from pgqueuer.queries import Queries  # type: ignore[import-not-found,unused-ignore]
from pgqueuer.types import QueueExecutionMode  # type: ignore[import-not-found,unused-ignore]

from benchmarks.peers import Drain, Handle


async def install(database: str) -> None:
    connection = await asyncpg.connect(database)
    queries = Queries(AsyncpgDriver(connection))
    await queries.install()
    await queries.optimize_autovacuum()
    await connection.close()


@asynccontextmanager
async def ready(
    database: str, messages: int, handle: Handle, *, managers: int = 1, **running: int
) -> AsyncIterator[Drain]:
    running_managers = [await _manager(database, handle) for _ in range(managers)]

    async def drain() -> None:
        await asyncio.gather(*(manager.run(mode=QueueExecutionMode.drain, **running) for manager in running_managers))

    yield drain


async def _manager(database: str, handle: Handle) -> Any:
    manager = PgQueuer(AsyncpgDriver(await asyncpg.connect(database)))

    async def trade(job: Any) -> None:
        await handle(job.payload.decode())

    manager.entrypoint("trade")(trade)
    return manager
