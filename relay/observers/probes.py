"""``/metrics``, ``/livez`` and ``/readyz`` on a port of their own.

Liveness looks at the cycle alone: a database that is down must not restart every relay. Readiness asks the database,
and says no while the worker is stopping.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import uvicorn
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from relay.listeners import listener, url_of
from relay.showing import json_text

Probe = Callable[[], Awaitable[str]]  # an empty text means well, anything else says what is wrong


async def _nothing() -> None:
    return None


def probes(
    registry: CollectorRegistry, *, alive: Probe, ready: Probe, look: Callable[[], Awaitable[None]] = _nothing
) -> Starlette:
    """The three pages as one application. ``look`` is called before the metrics are shown, and waited for."""

    async def metrics(request: Request) -> Response:
        await look()
        encoder, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encoder(registry), headers={"content-type": content_type})

    async def livez(_: Request) -> Response:
        return _readiness(await alive())

    async def readyz(_: Request) -> Response:
        return _readiness(await ready())

    return Starlette(routes=[Route("/metrics", metrics), Route("/livez", livez), Route("/readyz", readyz)])


def _readiness(trouble: str) -> Response:
    said = json_text({"ok": not trouble, "reason": trouble})
    return Response(said, status_code=503 if trouble else 200, media_type="application/json")


class _Server(uvicorn.Server):
    """Signals belong to the command that runs the worker."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def serving(app: Starlette, *, host: str, port: int) -> AsyncIterator[str]:
    """Serve in the background; gives the URL. OSError when the port is taken, or the host is none of this machine."""
    with listener(host, port) as listening:
        config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=1)
        server = _Server(config)
        task = asyncio.create_task(server.serve(sockets=[listening]))
        try:
            yield url_of(listening)
        finally:
            server.should_exit = True
            await task
