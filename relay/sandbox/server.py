"""The sandbox on a real socket: started inside a running loop, or blocking until SIGINT or SIGTERM.

The port is bound before anything runs, so port 0 works and the URL told is the real one. A connection can be cut in the
middle of a call: each connection lends its transport to the application. Stopping cuts what is still open, as a
platform that vanishes would. No access log is written.
"""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from relay import background
from relay.errors import UnreachableError
from relay.listeners import LOOPBACK, listener, url_of
from relay.sandbox.app import TRANSPORT, create_app
from relay.sandbox.platform import Platform

STOP_SECONDS = 1
_TURNS = 20  # of the event loop; a cut connection takes two or three until all have heard of it


@dataclass(frozen=True, slots=True)
class RunningSandbox:
    """A sandbox that listens. ``url`` has no slash at its end."""

    url: str
    platform: Platform

    @property
    def router_url(self) -> str:
        """Where calls of the platform go."""
        return f"{self.url}/router/rest"


@asynccontextmanager
async def running_sandbox(
    platform: Platform | None = None, host: str = LOOPBACK, port: int = 0
) -> AsyncIterator[RunningSandbox]:
    """A sandbox in the running loop, for as long as the block lasts. Port 0 takes any free one."""
    platform = platform or Platform()
    async with _listening(create_app(platform), host, port) as url:
        yield RunningSandbox(url, platform)


def serve(app: ASGIApp, host: str, port: int, on_ready: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM; ``on_ready`` is given the URL once calls are answered."""
    background.run(_serve(app, host, port, on_ready))


async def _serve(app: ASGIApp, host: str, port: int, on_ready: Callable[[str], None]) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with _listening(app, host, port) as url:
        on_ready(url)
        await stopped.wait()


@asynccontextmanager
async def _listening(app: ASGIApp, host: str, port: int) -> AsyncIterator[str]:
    listening = _bind(host, port)
    server = _Server(
        uvicorn.Config(
            app,
            http=_LendingProtocol,
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            server_header=False,
            timeout_graceful_shutdown=STOP_SECONDS,
        )
    )
    running = asyncio.create_task(server.serve([listening]))
    try:
        await server.ready.wait()
        yield url_of(listening)
    finally:
        server.stop()
        await running


def _bind(host: str, port: int) -> socket.socket:
    try:
        return listener(host, port)
    except OSError as error:
        raise UnreachableError(
            f"The sandbox cannot listen on {host} port {port}: {error.strerror}.", "Choose another port; 0 takes any."
        ) from error


class _Server(uvicorn.Server):
    """uvicorn's server, without its grip on signals: they belong to the owner of the loop."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()
        self._stopped = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    async def main_loop(self) -> None:
        """uvicorn's looks ten times a second whether it shall end; whoever stops it does not wait for that."""
        ticking = asyncio.create_task(super().main_loop())
        stopped = asyncio.create_task(self._stopped.wait())
        await asyncio.wait([ticking, stopped], return_when=asyncio.FIRST_COMPLETED)
        for task in (ticking, stopped):
            task.cancel()
        await asyncio.gather(ticking, stopped, return_exceptions=True)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """uvicorn's sleeps for a tenth of a second in any case; here it waits only for what does not end at once."""
        for listening in (*self.servers, *(sockets or ())):
            listening.close()
        for _ in range(_TURNS):
            if not (self.server_state.connections or self.server_state.tasks):
                return
            await asyncio.sleep(0)
        await super().shutdown(sockets)

    def stop(self) -> None:
        """Cut every open connection and end ``serve``: an answer that is being delayed must not delay the end."""
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        self.should_exit = True
        self._stopped.set()


class _LendingProtocol(H11Protocol):
    """uvicorn's HTTP/1.1 protocol that lends the application its transport, to be cut."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        app = self.app

        async def lending(scope: Scope, receive: Receive, send: Send) -> None:
            scope[TRANSPORT] = transport
            await app(scope, receive, send)

        self.app = lending
