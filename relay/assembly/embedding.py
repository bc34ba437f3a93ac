"""A worker inside an application: ``relay.open_worker``, ``relay.running`` and ``relay.drain``.

It shares the application's event loop, and nothing else: no signal is taken, nothing is printed, no setting of the
process is changed, and there may be several. Events and warnings are records of the logger ``relay``. Errors are those
of ``relay.errors``, each with its hint, and bring along nothing that may quote a row.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from relay.assembly.worker import OpenWorker, assembled
from relay.background import in_thread
from relay.errors import RelayError
from relay.observers.records import LOGGER, LogRecords
from relay.settings import Settings, load
from relay.worker import Report, Until


@asynccontextmanager
async def open_worker(settings: Settings | None = None, **overrides: Any) -> AsyncIterator[OpenWorker]:
    """A worker with everything wired, not running yet: ``await worker.run()``, ``worker.stop()``.

    Without ``settings`` they come from where the command takes them. Overrides are options by their names in the file:
    ``concurrency=2``, ``schema="outbox"``. Metrics and probes are served on the port of the settings, 0 for none.
    """
    async with AsyncExitStack() as stack:
        try:
            chosen = await in_thread(lambda: load(settings, **overrides))
            opening = assembled(chosen, observer=LogRecords, warn=LOGGER.warning)
            worker = await stack.enter_async_context(opening)
        except RelayError as error:
            raise error from None
        yield worker


@asynccontextmanager
async def running(settings: Settings | None = None, **overrides: Any) -> AsyncIterator[OpenWorker]:
    """A worker that runs beside the block and is stopped gracefully with it; arguments as of :func:`open_worker`.

    Calls in flight land within the grace of the settings, unless the end of the block is cancelled meanwhile: then they
    are cut off. A worker that ends before the block, for what only a person can mend, says so in the log at once, and
    its error is raised at the end of the block, unless that ends with an error of its own.
    """
    async with open_worker(settings, **overrides) as worker:
        task = asyncio.create_task(worker.run(), name="relay worker")
        task.add_done_callback(_tell_failure)
        try:
            yield worker
        except BaseException:
            await _stopped(worker, task)
            raise
        await _stopped(worker, task)
        task.result()


async def drain(settings: Settings | None = None, **overrides: Any) -> Report:
    """Work until nothing is left to send, and tell what was done; arguments as of :func:`open_worker`.

    ``left`` of the report counts messages that wait for a person, and ``pauses`` says why. No port is opened.
    """
    async with open_worker(settings, **{**overrides, "metrics_port": 0}) as worker:
        return await worker.run(Until.DRAINED)


async def _stopped(worker: OpenWorker, task: asyncio.Task[Report]) -> None:
    """Wait for the end of a graceful stop; cancelled meanwhile, for that of an abrupt one, which takes some seconds."""
    worker.stop()
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError:
        worker.stop()
        await asyncio.wait([task])
        raise


def _tell_failure(task: asyncio.Task[Report]) -> None:
    if task.cancelled() or (error := task.exception()) is None:
        return
    if isinstance(error, RelayError):
        LOGGER.error("the worker ended: %s %s", error, error.hint)
    else:
        LOGGER.error("the worker ended: unexpected %s", type(error).__name__)
