"""Metrics and probes beside a worker, on the port of the settings."""

from __future__ import annotations

import errno
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from relay.observers.metrics import Metrics
from relay.observers.probes import probes, serving
from relay.settings import Settings
from relay.worker import Worker

_STALE_LEASES = 3  # leases: a cycle that has not gone round for as long hangs


@asynccontextmanager
async def probed_by(
    settings: Settings,
    worker: Worker,
    metrics: Metrics,
    look: Callable[[], Awaitable[None]],
    warn: Callable[[str], object],
) -> AsyncIterator[None]:
    """As long as the block lasts. ``look`` reads what waits, before it is shown. A port that is taken costs the probes,
    not the messages.
    """
    if not settings.metrics_port:
        yield
        return

    async def alive() -> str:
        idle = time.monotonic() - worker.heartbeat_monotonic
        return "" if idle < _STALE_LEASES * settings.lease_seconds else f"the cycle stands still for {idle:.0f} s"

    app = probes(metrics.registry, alive=alive, ready=worker.readiness.trouble, look=look)
    async with AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(serving(app, host=settings.metrics_host, port=settings.metrics_port))
        except OSError as error:
            warn(_unserved(settings, error))
        yield


def _unserved(settings: Settings, error: OSError) -> str:
    port, host = settings.metrics_port, settings.metrics_host
    if error.errno == errno.EADDRINUSE:
        reason, way_out = f"port {port} is taken", "set RELAY_METRICS_PORT to another one, or to 0"
    else:
        reason, way_out = f"cannot listen on {host} port {port} ({error.strerror})", "correct RELAY_METRICS_HOST"
    return f"{reason}, so this worker has no metrics and no probes; {way_out}"
