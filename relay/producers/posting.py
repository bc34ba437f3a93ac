"""POSTs over kept connections: an httpx transport made of aiohttp's connections. With ``unreached`` all that knows it.

Requests and responses stay httpx's; aiohttp moves the bytes at less than half of the CPU. What stays true:

- ``extensions["sending"]`` of a request is called as soon as there is a connection for it, TLS and a proxy's CONNECT
  included, and before a byte of it is written. Without that call nothing was sent.
- A request is sent once. On a kept connection that breaks, aiohttp sends methods that are idempotent once more
  (``retry_persistent_connection`` in its ``client.py``); a POST is none.
- A connection is used again only within some seconds, after an answer that was read to its end, and if nothing came
  since: not an end, and no second answer that would be taken for that of the next call.
- A connection that is given up is dropped at once, also in the middle of a handshake.
- Whatever aiohttp raises is an ``httpx.TransportError`` in words of ours, with the original as its cause.

As many sessions as there were calls at once, each with one connection, and the one used last comes first: aiohttp's own
pool hands out the one that was idle longest, and with it the most likely to be closed by the other side just now.
"""

from __future__ import annotations

import asyncio
import io
import select
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from types import SimpleNamespace
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import httpx
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection

from relay.addresses import is_loopback
from relay.errors import ConfigurationError
from relay.producers.authorities import trusting_context
from relay.producers.unreached import Way, address, cut, unreached

_CHUNK_BYTES = 64 * 1024
_MAX_HEADER_BYTES = 128 * 1024
_PORTS = {"http": 80, "https": 443}


class PostingTransport(httpx.AsyncBaseTransport):
    """All requests go to the origin of ``url``, through the proxy that the environment names for it.

    ``connect_seconds`` is for all that comes before sending: name, TCP, a proxy's CONNECT, TLS.
    Raises ConfigurationError for a proxy that does not speak HTTP, and for authorities that cannot be read.
    """

    def __init__(self, url: str, *, connect_seconds: float, keepalive_seconds: float) -> None:
        self._proxy, self._way = _environment_proxy(httpx.URL(url), connect_seconds)
        self._timeout = aiohttp.ClientTimeout(total=None, connect=connect_seconds)
        self._keepalive_seconds = keepalive_seconds
        self._tls = _tls(url, self._proxy or "")
        self._all: list[_Line] = []
        self._idle: list[_Line] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Post over a free line, or a new one. Raises httpx.TransportError, which says how far the request got."""
        line = self._idle.pop() if self._idle else self._another()
        try:
            answer = await line.post(request)
        except BaseException as error:
            line.drop()
            self._idle.append(line)
            if isinstance(error, Exception):
                raise httpx.TransportError(cut(error) if line.begun else unreached(error, self._way)) from error
            raise
        stream = _Answer(answer, line, self._idle.append)
        return httpx.Response(answer.status, headers=answer.raw_headers, stream=stream, request=request)

    async def aclose(self) -> None:
        """Close every line, also those in use."""
        for line in self._all:
            await line.session.close()

    def _another(self) -> _Line:
        connector = aiohttp.TCPConnector(
            ssl=self._tls or True,
            keepalive_timeout=self._keepalive_seconds,
            # As the system resolves names, each time, whatever else is installed.
            resolver=aiohttp.ThreadedResolver(),
            use_dns_cache=False,
        )
        line = _Line(connector, self._timeout, self._proxy)
        self._all.append(line)
        return line


class _Line:
    """A session with one connection, and the call that is on it. Before the first call it has neither."""

    def __init__(self, connector: aiohttp.BaseConnector, timeout: aiohttp.ClientTimeout, proxy: str | None) -> None:
        trace = aiohttp.TraceConfig()
        trace.on_connection_create_end.append(self._connected)
        trace.on_connection_reuseconn.append(self._connected)
        # Not trust_env: it would ask for the proxy in a thread at each call, and send what ~/.netrc has for the host.
        self.session = aiohttp.ClientSession(
            connector=connector,
            timeout=timeout,
            proxy=proxy,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            max_field_size=_MAX_HEADER_BYTES,
            request_class=_Request,
            middlewares=(self._lend,),
            trace_configs=[trace],
        )
        self.begun = False
        self._sending: Callable[[], None] = lambda: None
        self._protocol: ResponseHandler | None = None
        self._transport: asyncio.Transport | None = None

    async def post(self, request: httpx.Request) -> aiohttp.ClientResponse:
        if self._something_came():
            self.drop()
        self.begun = False
        self._sending = request.extensions["sending"]
        return await self.session.request(
            request.method,
            str(request.url),
            headers=[(name.decode(), value.decode()) for name, value in request.headers.raw],
            # Not the bytes themselves: of more than a megabyte aiohttp warns.
            data=io.BytesIO(request.content),
            allow_redirects=False,
        )

    def use(self, connection: Connection) -> None:
        self._protocol, self._transport = connection.protocol, connection.transport

    def drop(self) -> None:
        """Without the farewell of TLS, for which the other side may let us wait."""
        if self._transport is not None:
            self._transport.abort()
        self._protocol = self._transport = None

    def _something_came(self) -> bool:
        """Since the last answer: read already, or waiting in the socket because the loop has been busy."""
        if self._protocol is None or self._transport is None or not self._protocol.is_connected():
            return False
        return self._protocol.should_close or _is_readable(self._transport.get_extra_info("socket").fileno())

    async def _connected(self, _session: aiohttp.ClientSession, _context: SimpleNamespace, _told: object) -> None:
        self.begun = True
        self._sending()

    async def _lend(self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        assert isinstance(request, _Request)
        request.line = self
        return await handler(request)


class _Request(aiohttp.ClientRequest):
    """Tells its line over which connection it goes."""

    line: _Line

    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        self.line.use(conn)
        return await super().send(conn)


class _Answer(httpx.AsyncByteStream):
    """The body of an answer. Closing it gives the line back, for the next call if the answer was read to its end."""

    def __init__(self, answer: aiohttp.ClientResponse, line: _Line, give_back: Callable[[_Line], None]) -> None:
        self._answer = answer
        self._line = line
        self._give_back = give_back

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._answer.content.iter_chunked(_CHUNK_BYTES):
                yield chunk
        except Exception as error:
            raise httpx.TransportError(cut(error)) from error

    async def aclose(self) -> None:
        if self._answer.connection is not None:
            self._line.drop()
        self._answer.close()
        self._give_back(self._line)


def _is_readable(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


def _tls(*addresses: str) -> ssl.SSLContext | None:
    """Whom to trust on the way over these addresses; None where none of them speaks TLS: reading it takes a while."""
    if not any(urlsplit(address).scheme == "https" for address in addresses):
        return None
    context = trusting_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


def _environment_proxy(url: httpx.URL, connect_seconds: float) -> tuple[str | None, Way]:
    """From HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY, in capitals or not, as urllib reads them.

    None for this machine itself, whose loopback another one cannot reach.
    """
    way = Way(address(url.host, url.port or _PORTS.get(url.scheme)), connect_seconds)
    if is_loopback(url.host) or proxy_bypass(url.host) or proxy_bypass(url.netloc.decode()):
        return None, way
    told = getproxies()
    kind = url.scheme if told.get(url.scheme) else "all"
    proxy = told.get(kind)
    if not proxy:
        return None, way
    variable = f"{kind.upper()}_PROXY"
    if "://" not in proxy:
        proxy = f"http://{proxy}"
    if not proxy.lower().startswith(("http://", "https://")):
        scheme = proxy.partition(":")[0]
        raise ConfigurationError(
            f"{variable} names a proxy of the kind {scheme!r}", "Name one that speaks HTTP, or add NO_PROXY"
        )
    try:
        parts = urlsplit(proxy)
        host, port = parts.hostname, _PORTS[parts.scheme] if parts.port is None else parts.port
    except ValueError:
        host, port = None, 0
    if not host or not port:  # its text may contain a password
        raise ConfigurationError(
            f"The proxy that {variable} names has no host or no valid port", "Write it as http://host:3128"
        )
    return proxy, replace(way, proxy=address(host, port), variable=variable)
