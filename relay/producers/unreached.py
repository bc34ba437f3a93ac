"""Why no connection came about, or one broke, in sentences: whose name, host or proxy it is about, and what it said.

Before sending has begun nothing of a message can be in an error, so hosts, ports and numbers are told; the text of the
exception never is, it may repeat a password of the proxy's address. Once sending has begun the kind alone is told.
"""

from __future__ import annotations

import errno
import os
import socket
from dataclasses import dataclass

import aiohttp

from relay import certificates


@dataclass(frozen=True)
class Way:
    """``target`` and ``proxy`` are written HOST:PORT; ``variable`` names what the environment calls the proxy."""

    target: str
    connect_seconds: float
    proxy: str | None = None
    variable: str | None = None

    def __str__(self) -> str:
        return f"{self.target} through {self.the_proxy}" if self.proxy else self.target

    @property
    def the_proxy(self) -> str:
        """The proxy and the variable that names it, for a sentence."""
        return f"the proxy {self.proxy} ({self.variable})"

    def named(self, host: str, port: int | None) -> str:
        """As it stands on this way: the proxy is told from the target by its address."""
        there = address(host, port)
        return self.the_proxy if there == self.proxy and there != self.target else there


_NO_WAY = "no route leads there from this network"
_SYSTEM = {
    errno.ECONNREFUSED: "nobody listens there, or a firewall refuses",
    errno.ECONNRESET: "the connection was reset",
    errno.ETIMEDOUT: "it does not answer",
    errno.EHOSTUNREACH: _NO_WAY,
    errno.ENETUNREACH: _NO_WAY,
}
_NAMES = {
    socket.EAI_NONAME: "there is no such name",
    socket.EAI_AGAIN: "the name server gives no answer",
}
_CONNECT = {
    403: "it lets nobody through to there",
    407: "it asks for a user and a password, written http://user:secret@host:port",
    502: "it cannot reach that",
    503: "it cannot reach that",
    504: "it cannot reach that in time",
}
_NO_TLS = {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "PACKET_LENGTH_TOO_LONG"}


def address(host: str, port: int | None) -> str:
    """``host:port``, IPv6 in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def unreached(error: Exception, way: Way) -> str:
    """Of an error before a byte of the request was written."""
    match error:
        case aiohttp.ClientConnectorDNSError():
            why = _NAMES.get(error.os_error.errno or 0, "the look-up failed")
            return f"the name of {way.named(error.host, error.port)} cannot be resolved: {why}"
        case aiohttp.ClientConnectorCertificateError():
            where, trouble = _end_of_tls(error, way), certificates.trouble(error) or certificates.NOT_SAID
            return f"{where}: {trouble} (docs/network.md)"
        case aiohttp.ClientConnectorSSLError():
            return f"{_end_of_tls(error, way)}: {_tls(getattr(error.os_error, 'reason', None))}"
        case aiohttp.ClientConnectorError():
            return f"{way.named(error.host, error.port)}: {_system(error.os_error)}"
        case aiohttp.ClientHttpProxyError():
            means = f": {_CONNECT[error.status]}" if error.status in _CONNECT else ""
            return f"{way.the_proxy} answers HTTP {error.status} to CONNECT {way.target}{means}"
        case aiohttp.ConnectionTimeoutError():
            return f"no connection to {way} within {way.connect_seconds:g} s"
        case aiohttp.ClientResponseError():
            return f"{way.the_proxy if way.proxy else way.target} does not speak HTTP"
        case aiohttp.ServerDisconnectedError():
            return f"the connection to {way} was closed while it was being made"
        case UnicodeError():
            return f"the name of {way.the_proxy if way.proxy else way.target} cannot be resolved: it is no host's name"
        case OSError():
            return f"{way}: {_system(error)}"
    return f"the connection to {way} failed ({type(error).__name__})"


def cut(error: Exception) -> str:
    """Of an error once sending had begun."""
    match error:
        case aiohttp.ClientPayloadError():
            return "the answer broke off"
        case aiohttp.ServerDisconnectedError():
            return "the connection was closed before an answer came"
        case OSError() if error.errno in _SYSTEM:
            return _SYSTEM[error.errno]
        case OSError() if error.errno == errno.EPIPE:
            return "the connection was closed while the request was being sent"
        case aiohttp.ClientResponseError():  # another protocol, or heads without end
            return "what came back cannot be read as HTTP"
    return f"the connection broke ({type(error).__name__})"


def _end_of_tls(error: aiohttp.ClientConnectorError, way: Way) -> str:
    """With a proxy both are named: it may be the proxy itself that presents a certificate in the target's name."""
    there = way.named(error.host, error.port)
    return str(way) if there == way.target else there


def _tls(reason: str | None) -> str:
    """``reason`` is a name of OpenSSL's."""
    if reason in _NO_TLS:
        return "it speaks no TLS at that port"
    return f"no TLS connection could be made ({reason or 'no reason was given'})"


def _system(error: OSError) -> str:
    number = error.errno or 0
    if isinstance(error, ConnectionError) and not number:  # asyncio's, of a handshake that was not answered
        return "it closed the connection while that was being made"
    return _SYSTEM.get(number) or (os.strerror(number) if number > 0 else "the connection was not made")
