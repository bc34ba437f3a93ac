"""Sockets that listen: on every address of this machine, or on one.

Each answer leaves at once (TCP_NODELAY, which accepted connections inherit): a head and a body written one after the
other would else wait for the reader's delayed acknowledgement, 40 ms on a kept connection. asyncio sets it by itself
only on sockets that it has made.
"""

from __future__ import annotations

import errno
import socket

EVERYWHERE = "*"  # over IPv6 and IPv4, where this machine has them
LOOPBACK = "127.0.0.1"  # or ::1 where this machine has no IPv4

_BACKLOG = 2048
_NOT_HERE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT)
_EVERY_IPV4 = "0.0.0.0"  # noqa: S104 who asks for everything means it


def listener(host: str, port: int) -> socket.socket:
    """Port 0 takes any free one. OSError when the port is taken, or this machine has no such address."""
    *others, last = _addresses(host)
    for address in others:
        try:
            return _bound(address, port, both=host == EVERYWHERE)
        except OSError as error:
            if error.errno not in _NOT_HERE:
                raise
    return _bound(last, port)


def _addresses(host: str) -> list[str]:
    """What to try, in this order."""
    if host == EVERYWHERE:
        return ["::", _EVERY_IPV4] if socket.has_dualstack_ipv6() else [_EVERY_IPV4]
    return [LOOPBACK, "::1"] if host in (LOOPBACK, "localhost") else [host.strip("[]")]


def url_of(listening: socket.socket) -> str:
    """Where it is reached, without a slash at the end."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _bound(address: str, port: int, *, both: bool = False) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    made = socket.create_server((address, port), family=family, backlog=_BACKLOG, dualstack_ipv6=both)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made
