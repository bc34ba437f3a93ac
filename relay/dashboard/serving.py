"""The dashboard on a socket of its own, until SIGINT or SIGTERM. Requests in flight may end, for a few seconds.

Who does not send a whole request within some seconds, or reads nothing of an answer for half a minute, is hung up on:
uvicorn would wait for ever, and connections are few.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from relay import background
from relay.dashboard.access import access, is_this_machine
from relay.errors import ConfigurationError, UnreachableError
from relay.listeners import listener, url_of
from relay.settings import Settings

STOP_SECONDS = 3
MOST_CONNECTIONS = 200
_UNFINISHED = ("IDLE", "SEND_BODY")  # of h11, which is uvicorn's: no whole head yet, no whole body
REQUEST_SECONDS = 10.0  # for a whole request, head and body
UNREAD_LOOKS = 3  # in a row at which nothing more of an answer was read: nobody is there


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
    server = Server(configured(app, root_path), lambda: on_ready(url_of(listening)))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, server.stop)
    await server.serve([listening])


def configured(app: ASGIApp, root_path: str = "") -> uvicorn.Config:
    """What uvicorn has to know."""
    return uvicorn.Config(
        app,
        root_path=root_path,
        http=_Impatient,
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,  # who sent a request is decided by whom it comes from
        limit_concurrency=MOST_CONNECTIONS,
        timeout_graceful_shutdown=STOP_SECONDS,
    )


class _Impatient(H11Protocol):
    """uvicorn's protocol, which closes a connection on which no request comes to its end, or no answer."""

    _watch: asyncio.TimerHandle | None = None
    _deadline: asyncio.TimerHandle | None = None  # of the request that has begun, or is to
    _seen: object = None  # the request at the last look
    _unread = 0  # bytes that waited for the client then
    _looks = 0  # since that has changed

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect()
        self._watch = self.loop.call_later(REQUEST_SECONDS, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._watch, self._deadline):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_between_requests():
            self._expect()
        super().data_received(data)

    def on_response_complete(self) -> None:
        """What is left over of the bytes may be the beginning of a next request, whose time begins now."""
        answered = self.cycle
        super().on_response_complete()
        if self.cycle is not answered or self.conn.their_state.__name__ == "IDLE":
            self._expect()

    def _expect(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = self.loop.call_later(REQUEST_SECONDS, self._give_up)

    def _give_up(self) -> None:
        if self.conn.their_state.__name__ in _UNFINISHED and not self._is_between_requests():
            self.transport.abort()

    def _is_between_requests(self) -> bool:
        """Whether one was answered and nothing of another came: for that, uvicorn has a time of its own."""
        idle = self.cycle is not None and self.conn.their_state.__name__ == "IDLE"
        return idle and not self.conn.trailing_data[0]

    def _look(self) -> None:
        unread, same = self.transport.get_write_buffer_size(), self.cycle is self._seen
        self._looks = self._looks + 1 if unread and same and unread == self._unread else 0
        if self._looks >= UNREAD_LOOKS:
            self.transport.abort()
            return
        self._seen, self._unread = self.cycle, unread
        self._watch = self.loop.call_later(REQUEST_SECONDS, self._look)


class Server(uvicorn.Server):
    """uvicorn's server, whose signals are those of the loop."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Takes none."""
        yield

    async def startup(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]
        """Tells that pages are answered from now on."""
        await super().startup(sockets)  # type: ignore[arg-type]
        self._on_ready()

    def stop(self) -> None:
        """The second time, whatever is in flight is cut off."""
        self.force_exit = self.should_exit
        self.should_exit = True
