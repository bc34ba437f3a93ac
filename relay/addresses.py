"""Where the database is: the ways in which people write it down, made one; and how a sentence names it.

    postgresql://me@db.example.com:5432/shop            one host, also [::1]; any driver's name after the +
    postgresql://me@a:5432,b:5433/shop                  several, as libpq writes them: a port for each, or for none
    postgresql://me@/shop?host=a:5432&host=b:5433       the form of SQLAlchemy
    postgresql://me@/shop?host=/run/postgresql          the directory of a socket, also as %2Frun%2Fpostgresql
    postgresql:///?service=shop                         a section of pg_service.conf
    host=a,b port=5432 dbname=shop user=me              libpq's keywords

Each becomes a URL that SQLAlchemy carries, and :func:`conninfo` tells the driver itself exactly the same. Whatever
libpq knows (sslmode, target_session_attrs, passfile …) goes through in the query.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address
from typing import Any
from urllib.parse import unquote

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from relay.errors import ConfigurationError

DRIVER = "postgresql+psycopg"

# After the @ that ends the password there is another one: not in the values of a query, which may contain it.
_SECOND_AT = re.compile(r"[\w+]+://[^:/]*:[^@]*@[^?]*(\?[^=]*)?@")
_AUTHORITY = re.compile(r"(?P<before>[\w+]+://(?:[^@?]*@)?)(?P<hosts>[^/?]*)(?P<after>.*)", re.DOTALL)
_HOST = re.compile(r"(?P<host>\[[^\]]*\]|[^:\[\]]*)(?::(?P<port>\d*))?")
_HINT = "Several hosts are written postgresql://user@a:5432,b:5432/database; libpq's keywords are taken as well."


def normalized_url(url: str | None) -> str:
    """The same database for SQLAlchemy with psycopg, whichever way it is written; contains the password."""
    if not url:
        raise ConfigurationError("No database is named.", "Set RELAY_DATABASE_URL=postgresql://user@host/database")
    if "://" not in url and "=" in url:
        return _rendered(_of_keywords(url))
    if _SECOND_AT.match(url):  # the rest of the password would count as the host, and be shown
        raise ConfigurationError("The database URL must have one @, before the host: write @ in a password as %40")
    hosts, alone = _taken_out(url)
    try:
        parsed = make_url(alone)
    except (ArgumentError, ValueError):  # their texts may quote a part of the password
        raise ConfigurationError(
            "The database URL must look like postgresql://user@host:5432/database", _HINT
        ) from None
    if parsed.get_backend_name() not in ("postgresql", "postgres"):
        raise ConfigurationError(f"The database URL must name PostgreSQL, not {parsed.get_backend_name()}")
    if "ssl" in parsed.query:  # as asyncpg calls it
        parsed = parsed.update_query_dict({"sslmode": parsed.query["ssl"]}).difference_update_query(["ssl"])
    return _rendered(_with_hosts(parsed, hosts))


def conninfo(url: str) -> str:
    """What a URL of :func:`normalized_url` says, for the driver itself; contains the password."""
    from psycopg.conninfo import make_conninfo

    return make_conninfo("", **_arguments(make_url(url)))


def told(url: URL) -> str:
    """``at host:5432/database`` for a sentence: every host that would be tried, and no password."""
    arguments = _arguments(url)
    hosts = str(arguments.get("host") or arguments.get("hostaddr") or _default("host"))
    ports = str(arguments.get("port") or "").split(",")
    database = str(arguments.get("dbname") or "")
    if not hosts:
        if service := arguments.get("service") or _default("service"):
            return f"as the service {service} tells"
        return f"on this machine's socket, database {database}" if database else "on this machine's socket"
    names = hosts.split(",")
    ports = ports * len(names) if len(ports) == 1 else ports
    if hosts.startswith("/"):
        return f"on the socket {names[0]}/.s.PGSQL.{ports[0] or _default('port')}, database {database}".rstrip(", ")
    written = (
        f"{f'[{host}]' if ':' in host else host}{f':{port}' if port else ''}"
        for host, port in zip(names, ports, strict=False)
    )
    return f"at {','.join(written)}/{database}"


def is_loopback(host: str) -> bool:
    """Whether this is certainly this machine: by an address, or the one name that has no other meaning."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _taken_out(url: str) -> tuple[list[tuple[str, str]], str]:
    """The hosts with their ports, where there are several or one is written with %, and the URL without them."""
    found = _AUTHORITY.fullmatch(url)
    if found is None or not set(",%") & set(found["hosts"]) or "@" in found["after"]:  # then a password has a "?"
        return [], url
    return _pairs(found["hosts"].split(",")), found["before"] + found["after"]


def _pairs(written: Iterable[str]) -> list[tuple[str, str]]:
    pairs = [_HOST.fullmatch(one) for one in written]
    if not all(pairs):
        raise ConfigurationError("A host of the database URL must look like host:5432 or [::1]:5432", _HINT)
    return [(unquote(pair["host"].strip("[]")), pair["port"] or "") for pair in pairs if pair]


def _with_hosts(url: URL, hosts: Sequence[tuple[str, str]]) -> URL:
    """One form for several hosts: ``?host=a,b&port=1,2``. The query wins over what stands before the path."""
    in_query = url.query.get("host")
    if isinstance(in_query, tuple) and "port" not in url.query:  # host=a:1&host=b:2
        hosts = _pairs(in_query)
    elif isinstance(in_query, str):
        ports = str(url.query.get("port") or "").split(",")
        names = in_query.split(",")  # host=a,b&port=1,2
        if len(ports) not in (1, len(names)):
            raise ConfigurationError(f"The database URL names {len(names)} hosts and {len(ports)} ports", _HINT)
        if len(names) == 1:
            return url
        hosts = list(zip(names, ports * len(names) if len(ports) == 1 else ports, strict=True))
    if not hosts:
        return url
    ports = [port for _, port in hosts]
    if any(ports) and not all(ports):  # libpq means 5432 by that, other drivers mean the last one's
        raise ConfigurationError("The database URL names a port for some of its hosts and not for others", _HINT)
    given = {"host": ",".join(host for host, _ in hosts)} | ({"port": ",".join(ports)} if any(ports) else {})
    return url.set(host=None, port=None).update_query_dict(given)


def _of_keywords(text: str) -> URL:
    """``host=a,b port=5432 dbname=shop``, read by libpq itself."""
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict

    try:
        given = {name: str(value) for name, value in conninfo_to_dict(text).items() if value is not None}
    except ProgrammingError:  # its text may quote a part of the password
        raise ConfigurationError(
            "The database must be named as postgresql://user@host:5432/database, or by libpq's keywords: "
            "host=… port=… dbname=… user=…",
            "A value with a space or a quote is written in single quotes there.",
        ) from None
    user, password, database = (given.pop(name, None) for name in ("user", "password", "dbname"))
    return _with_hosts(URL.create(DRIVER, user, password, database=database, query=given), [])


def _rendered(url: URL) -> str:
    url = url.set(drivername=DRIVER)
    try:
        _arguments(url)
    except (ArgumentError, ValueError):  # two ways of naming hosts at once, a port that is no number
        raise ConfigurationError("The hosts and ports of the database URL do not go together", _HINT) from None
    return url.render_as_string(hide_password=False)


def _arguments(url: URL) -> Mapping[str, Any]:
    """What SQLAlchemy would give to the driver."""
    _, arguments = url.get_dialect()().create_connect_args(url)
    return {name: value for name, value in arguments.items() if str(value).strip(",")}  # no port for any host: ","


def _default(keyword: str) -> str:
    """What libpq takes from the environment (PGHOST …) or has built in."""
    from psycopg.pq import Conninfo

    found = {option.keyword.decode(): option.val for option in Conninfo.get_defaults()}.get(keyword)
    return found.decode() if found else ""
