"""Starlette: a worker that runs with the application, and an answer to its readiness probe.

    app = Starlette(routes=[Route("/readyz", ready)], lifespan=worker_lifespan())

The worker is that of ``relay.running``: in the application's event loop, without signals, its log the logger ``relay``.
"""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import relay
from relay.errors import ConfigurationError, needs
from relay.integrations.server_processes import counted_in

if TYPE_CHECKING:
    from relay.settings import Settings

with needs("worker", "relay.integrations.starlette"):
    from starlette.requests import Request
    from starlette.responses import Response

# Of any ASGI application, Starlette's or not; what it yields is the state of each request.
Lifespan = Callable[[Any], AbstractAsyncContextManager[Mapping[str, Any]]]
OwnLifespan = Callable[[Any], AbstractAsyncContextManager[Mapping[str, Any] | None]]

_STATE = "relay_worker"


def worker_lifespan(settings: Settings | None = None, *, own: OwnLifespan | None = None, **overrides: Any) -> Lifespan:
    """A lifespan that runs a worker; arguments as of ``relay.running``, whose errors end the start of the application.

    ``own`` is the application's: it begins before the worker and ends after it, and its state is kept. The worker is
    ``request.state.relay_worker``.
    """

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[Mapping[str, Any]]:
        async with AsyncExitStack() as stack:
            state = await stack.enter_async_context(own(app)) if own else None
            worker = await stack.enter_async_context(relay.running(settings, **overrides))
            if first := stack.enter_context(counted_in()):
                _warn(first)
            yield {**(state or {}), _STATE: worker}

    return lifespan


async def trouble(request: Request) -> str:
    """Why nothing is sent at the moment, in a sentence; empty while all is well. Within two seconds."""
    worker = getattr(request.state, _STATE, None)
    if worker is None:
        raise ConfigurationError(
            "No worker runs with this application.",
            "Give worker_lifespan() to the outermost application: servers do not start those that are mounted in it.",
        )
    said: str = await worker.trouble()
    return said


async def ready(request: Request) -> Response:
    """An endpoint for a readiness probe: 200 while the worker could work, 503 while it could not.

    The body is that of ``/readyz`` of ``relay run``: ``{"ok": false, "reason": "..."}``.
    """
    said = await trouble(request)
    shown = json.dumps({"ok": not said, "reason": said})  # in ASCII: a reason may quote what steers a terminal
    return Response(shown, status_code=503 if said else 200, media_type="application/json")


def _warn(first: str) -> None:
    logging.getLogger("relay").warning(
        "process %s of this server runs a worker too: they share the work, and each has connections to PostgreSQL and "
        "metrics of its own; if one is enough, run it apart from the server: relay run",
        first,
    )
