"""Who may look: whoever sits at this machine, people with passwords, whom a trusted proxy names, or the host's users.

    nobody configured        requests from this machine to a name of this machine; all others are refused
    RELAY_DASHBOARD_USERS_FILE                              a log-in page, a session
    RELAY_DASHBOARD_USER_HEADER and _TRUSTED_PROXIES        the name in that header, from those addresses alone
    create_app(user=...)     what the application around it says

The name of the machine is checked so that a page of somebody else's, whose name was made to lead here (DNS rebinding),
is not taken for ours.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

from starlette.requests import Request

from relay.dashboard.people import People, is_name
from relay.dashboard.sessions import Sessions, Tries
from relay.errors import ConfigurationError
from relay.settings import Settings

SESSION_COOKIE = "relay_session"
_OF_THIS_HOST = "__Host-"  # so named, browsers take it by TLS alone, and from no other host of the domain
Network = IPv4Network | IPv6Network
_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^\s:\[\]@/?#]+))(?::\d{1,5})?", re.ASCII | re.IGNORECASE)
# What proxies add to say whom a request comes from; and whatever else begins so.
_OF_PROXIES = ("forwarded", "via", "x-real-ip", "x-client-ip", "true-client-ip", "cf-connecting-ip", "x-original-host")
_FORWARDED = "x-forwarded-"
NameOf = Callable[[Request], str | None]


@dataclass(frozen=True, slots=True)
class NotAdmitted:
    """``key`` of the sentence; ``log_in``: to be asked for a password instead."""

    key: str
    log_in: bool = False


@dataclass(frozen=True, slots=True)
class Access:
    """At most one of ``people``, ``header`` and ``name_of``; none: only from this machine."""

    people: People | None = None
    header: str | None = None
    proxies: Sequence[Network] = ()
    name_of: NameOf | None = None
    sessions: Sessions = field(default_factory=Sessions)
    tries: Tries = field(default_factory=Tries)

    @property
    def only_here(self) -> bool:
        """Whether nobody has to say who it is, so that only this machine is answered."""
        return self.people is None and self.header is None and self.name_of is None

    def who(self, request: Request) -> str | NotAdmitted | None:
        """The name of the person; None: somebody at this machine, who needs none."""
        if self.name_of is not None:
            return _named(self.name_of(request))
        if self.header is not None:
            return self._named_by_proxy(request, self.header)
        if self.people is not None:
            holder = self.sessions.holder(self.token(request))
            if holder is not None and self.people.digest(holder[0]) == holder[1]:
                return holder[0]
            return NotAdmitted("refused.log_in", log_in=True)
        if not _is_loopback(address(request)):
            return NotAdmitted("refused.elsewhere")
        if not _is_loopback(_host(request)):
            return NotAdmitted("refused.host")
        if any(name in _OF_PROXIES or name.startswith(_FORWARDED) for name in request.headers):
            return NotAdmitted("refused.forwarded")
        return None

    def token(self, request: Request) -> str:
        """Of the session, as the browser gives it back; empty where it gives none."""
        return request.cookies.get(self.session_cookie(request), "")

    def session_cookie(self, request: Request) -> str:
        """What it is called: by TLS, and with the whole host for itself, by the name that nobody else can set."""
        return (_OF_THIS_HOST if self.over_tls(request) and home(request) == "/" else "") + SESSION_COOKIE

    def over_tls(self, request: Request) -> bool:
        """Whether the browser came by https, as far as this process or a trusted proxy knows."""
        said = request.headers.get("x-forwarded-proto", "") if self._by_proxy(request) else ""
        return request.url.scheme == "https" or said.strip().lower() == "https"

    def _by_proxy(self, request: Request) -> bool:
        return self._is_proxy(address(request))

    def _is_proxy(self, written: str) -> bool:
        try:
            return any(ip_address(written) in network for network in self.proxies)
        except ValueError:
            return False

    def origin(self, request: Request) -> str:
        """Where the person is, as far as trusted proxies say; to be counted by, never to be admitted by.

        Of IPv6 the network of a household or a host, for one has as many addresses as it likes.
        """
        hops = [hop.strip() for line in request.headers.getlist("x-forwarded-for") for hop in line.split(",")]
        found = address(request)
        while hops and self._is_proxy(found):
            found = hops.pop()
        try:
            known = _unwrapped(ip_address(found))
        except ValueError:
            return address(request)
        return str(known if known.version == 4 else ip_network((known.packed, 64), strict=False))

    def _named_by_proxy(self, request: Request, header: str) -> str | NotAdmitted:
        if not self._by_proxy(request):
            return NotAdmitted("refused.proxy")
        names = request.headers.getlist(header)
        return _named(_as_utf8(names[0]) if len(names) == 1 else None)


def access(settings: Settings, name_of: NameOf | None = None) -> Access:
    """What the settings say, unless the application around it says who its users are. Raises ConfigurationError."""
    file, header = settings.dashboard_users_file, settings.dashboard_user_header
    if name_of is not None:
        return Access(name_of=name_of)
    if file and header:
        raise ConfigurationError(
            "RELAY_DASHBOARD_USERS_FILE and RELAY_DASHBOARD_USER_HEADER exclude each other",
            "Let the proxy say who looks, or a file of passwords: unset one of them.",
        )
    proxies = _networks(settings.dashboard_trusted_proxies)
    if header and not proxies:
        raise ConfigurationError(
            "RELAY_DASHBOARD_USER_HEADER needs RELAY_DASHBOARD_TRUSTED_PROXIES",
            "Name the addresses of your proxy: anybody else could send that header, too.",
        )
    return Access(people=People(file) if file else None, header=header or None, proxies=proxies)


def _named(said: object) -> str | NotAdmitted:
    """The name that somebody else gave, if the ledger could keep it: an application may give whatever it has."""
    name = said.strip() if isinstance(said, str) else said
    if not name:
        return NotAdmitted("refused.nobody")
    return name if isinstance(name, str) and is_name(name) else NotAdmitted("refused.name")


def home(request: Request) -> str:
    """The path of page one, wherever the dashboard is mounted."""
    return str(request.scope.get("root_path", "")).rstrip("/") + "/"


def is_this_machine(host: str) -> bool:
    """Whether only this machine reaches what listens there."""
    return _is_loopback(host.strip("[]"))


def address(request: Request) -> str:
    """Where the connection comes from; nothing a header says. IPv4 is IPv4, on a socket of both kinds too."""
    client: Any = request.scope.get("client")
    written = str(client[0]) if client else ""
    try:
        return str(_unwrapped(ip_address(written)))
    except ValueError:
        return written


def _unwrapped(found: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    return (found.ipv4_mapped if isinstance(found, IPv6Address) else None) or found


def _as_utf8(header: str) -> str:
    """Proxies write names in UTF-8, and ASGI reads bytes as Latin-1; empty where they are no UTF-8."""
    try:
        return header.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return ""


def _host(request: Request) -> str:
    """Of the one header of this name; empty where that is no name or address, with a port or without."""
    hosts = request.headers.getlist("host")
    found = _HOST.fullmatch(hosts[0]) if len(hosts) == 1 else None
    return (found[1] or found[2]) if found else ""


def _is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        found = ip_address(host)
    except ValueError:
        return False
    return _unwrapped(found).is_loopback


def _networks(written: str) -> tuple[Network, ...]:
    try:
        return tuple(_network(one.strip()) for one in written.split(",") if one.strip())
    except ValueError as error:
        raise ConfigurationError(
            f"RELAY_DASHBOARD_TRUSTED_PROXIES: {error}",
            "Write addresses or networks: 10.0.0.7, 10.1.0.0/16",
        ) from None


def _network(written: str) -> Network:
    found = ip_network(written, strict=False)
    first = _unwrapped(found.network_address)
    if first is found.network_address or found.prefixlen < 96:
        return found
    return IPv4Network((first.packed, found.prefixlen - 96))
