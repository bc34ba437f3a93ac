"""The dashboard on a socket of its own, until SIGINT or SIGTERM. Requests in flight may end, for a few seconds."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from relay import background
from relay.dashboard.access import access, is_this_machine
from relay.errors import ConfigurationError, UnreachableError
from relay.listeners import listener, url_of
from relay.settings import Settings

STOP_SECONDS = 3
MOST_CONNECTIONS = 200


def refuse_strangers(settings: Settings, host: str) -> None:
    """Raises ConfigurationError where anybody on the network could look: it listens beyond this machine, for nobody."""
    if access(settings).only_here and not is_this_machine(host):
        raise ConfigurationError(
            f"The dashboard does not listen on {host} for everybody",
            "Set RELAY_DASHBOARD_USERS_FILE, or RELAY_DASHBOARD_USER_HEADER and RELAY_DASHBOARD_TRUSTED_PROXIES: "
            "docs/dashboard.md",
        )


def serve(app: ASGIApp, host: str, port: int, *, root_path: str, on_ready: Callable[[str], None]) -> None:
    """Serve until it is told to stop; ``on_ready`` is given the URL once pages are answered."""
    background.run(_serve(app, host, port, root_path, on_ready))


async def _serve(app: ASGIApp, host: str, port: int, root_path: str, on_ready: Callable[[str], None]) -> None:
    try:
        listening = listener(host, port)
    except OSError as error:
        raise UnreachableError(
            f"The dashboard cannot listen on {host} port {port}: {error.strerror}.",
            "Choose another with --port; 0 takes any.",
        ) from error
    server = _Server(
        uvicorn.Config(
            app,
            root_path=root_path,
            ws="none",
            lifespan="on",
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,  # who sent a request is decided by whom it comes from
            limit_concurrency=MOST_CONNECTIONS,
            timeout_graceful_shutdown=STOP_SECONDS,
        ),
        lambda: on_ready(url_of(listening)),
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, server.stop)
    await server.serve([listening])


class _Server(uvicorn.Server):
    """uvicorn's server, whose signals are those of the loop."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]
        await super().startup(sockets)  # type: ignore[arg-type]
        self._on_ready()

    def stop(self) -> None:
        """The second time, whatever is in flight is cut off."""
        self.force_exit = self.should_exit
        self.should_exit = True
