"""procrastinate: each job is fetched and finished by a statement of its own; a worker runs several at once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from procrastinate import App, PsycopgConnector  # type: ignore[import-not-found,unused-ignore]

from benchmarks.peers import Drain, Handle


async def install(database: str) -> None:
    async with _app(database).open_async() as app:
        await app.schema_manager.apply_schema_async()


@asynccontextmanager
async def ready(database: str, messages: int, handle: Handle, *, concurrency: int = 1) -> AsyncIterator[Drain]:
    app = _app(database, concurrency)

    async def trade(content: str) -> None:
        await handle(content)

    app.task(name="trade")(trade)

    async def drain() -> None:
        await app.run_worker_async(concurrency=concurrency, wait=False, install_signal_handlers=False)

    async with app.open_async():
        yield drain


def _app(database: str, connections: int = 1) -> App:
    return App(connector=PsycopgConnector(conninfo=database, min_size=connections + 1, max_size=connections + 1))
