"""The way to the server: is it encrypted, does it always lead to the same one, who stands in between?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from relay.addresses import is_loopback
from relay.checks import Finding, fail, ok, warn
from relay.errors import RelayError, UnreachableError
from relay.settings import Settings

CONNECTIONS = 4  # at once, so that a proxy that takes turns is found out

# Any login may ask that; no two servers were started at the same moment.
_WHICH = "select pg_is_in_recovery() as standby, pg_postmaster_start_time() as started"
# Whom the server hears without TLS: the way has a second part, on which others may listen.
_OPEN_FROM = """
select host(inet_client_addr())
where not (select ssl from pg_stat_ssl where pid = pg_backend_pid())
  and not coalesce((select encrypted from pg_stat_gssapi where pid = pg_backend_pid()), false)
  and inet_client_addr() is distinct from inet_server_addr()
  and not inet_client_addr() <<= inet '127.0.0.0/8' and inet_client_addr() <> inet '::1'
"""
_VERIFYING = ("verify-ca", "verify-full")
_VERIFY = "Add sslmode=verify-full and sslrootcert to its URL: docs/network.md"
_GSSAPI = "select encrypted from pg_stat_gssapi where pid = pg_backend_pid()"


def encryption(connection: Connection, settings: Settings) -> Iterator[Finding]:
    """Whether contents can be read on the way to PostgreSQL, also behind a pooler."""
    host, encrypted, sslmode = _way(connection)
    stays = not host or is_loopback(host)
    by_gssapi = not encrypted and connection.scalar(text(_GSSAPI))
    if not (encrypted or stays or by_gssapi):
        yield warn(f"the connection to {host} is not encrypted: contents can be read on the way", _VERIFY)
    elif between := _open_from(connection, encrypted):
        yield warn(
            f"from {between} on, a pooler or a proxy, the way to PostgreSQL is not encrypted",
            "Let it speak TLS to the server, as server_tls_sslmode does in PgBouncer: docs/network.md",
        )
    elif encrypted and not stays and sslmode not in _VERIFYING:
        yield warn(
            f"the connection to {host} is encrypted, but with sslmode={sslmode} nobody asks who answers there: "
            "a stranger in between can read along",
            _VERIFY,
        )
    elif stays:
        yield ok("the connection does not leave this machine")
    else:
        yield ok("the connection is encrypted by GSSAPI" if by_gssapi else "the connection is encrypted and verified")


def _open_from(connection: Connection, encrypted: bool) -> str | None:
    """The address from which the rest of the way is open. A port that is passed on (Docker's) is no pooler."""
    if not (encrypted or leads_to_a_pooler(connection)):
        return None
    address: str | None = connection.scalar(text(_OPEN_FROM))
    return address


def one_server(connection: Connection, settings: Settings) -> Iterator[Finding]:
    """A proxy that spreads connections, or reads, over a primary and its standbys."""
    if leads_to_a_pooler(connection):
        yield ok("behind a pooler, which decides")  # and may have no more connections for us than one
        return
    try:
        with ExitStack() as stack:
            others = [stack.enter_context(connection.engine.connect()) for _ in range(CONNECTIONS - 1)]
            found = [each.execute(text(_WHICH)).one() for each in (connection, *others)]
    except UnreachableError as error:
        yield warn(f"{CONNECTIONS} connections could not be opened at once: {error}", error.hint)
        return
    standbys = sum(row.standby for row in found)
    if 0 < standbys < len(found):
        yield fail(
            f"{standbys} of {len(found)} connections led to a standby, the others to a primary",
            "Let RELAY_DATABASE_URL name the primary, or add target_session_attrs=read-write: docs/network.md",
        )
    elif (servers := len({row.started for row in found})) > 1:
        yield fail(
            f"{len(found)} connections led to {servers} servers",
            "Let RELAY_DATABASE_URL name one of them: the tables of each are its own.",
        )
    else:
        yield ok(f"{len(found)} connections led to the same server")


def leads_to_a_pooler(connection: Connection) -> bool:
    """A pooler makes up the process id that a connection begins with; PostgreSQL's own is that of its process."""
    driver: Any = connection.connection.dbapi_connection
    return bool(driver.info.backend_pid != connection.scalar(text("select pg_backend_pid()")))


def speaks_for_pgpool(connection: Connection) -> bool:
    """Whether Pgpool-II is in between, which passes on the server's process id: it alone knows this variable."""
    with connection.engine.connect() as other:
        try:
            other.exec_driver_sql("show pool_version")
        except (DBAPIError, RelayError):
            return False
    return True


def _way(connection: Connection) -> tuple[str, bool, str]:
    """The address that is connected to, empty for a socket of this machine; whether by TLS; and the sslmode."""
    driver: Any = connection.connection.dbapi_connection
    host = driver.info.hostaddr or driver.info.host
    sslmode = driver.info.get_parameters().get("sslmode", "prefer")
    return "" if host.startswith("/") else host, bool(driver.pgconn.ssl_in_use), sslmode
