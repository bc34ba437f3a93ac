"""The way to the server: is it encrypted, does it always lead to the same one, who stands in between?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from ipaddress import ip_address
from typing import Any

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from relay.checks import Finding, fail, ok, warn
from relay.errors import RelayError, UnreachableError
from relay.settings import Settings

CONNECTIONS = 4  # at once, so that a proxy that takes turns is found out

# Anybody may ask that; no two servers were started at the same moment.
_WHICH = "select pg_is_in_recovery() as standby, pg_postmaster_start_time() as started"
_GSSAPI = "select encrypted from pg_stat_gssapi where pid = pg_backend_pid()"


def encryption(connection: Connection, settings: Settings) -> Iterator[Finding]:
    host, encrypted = _way(connection)
    if encrypted:
        yield ok("the connection is encrypted")
    elif _stays_on_this_machine(host):
        yield ok("the connection does not leave this machine")
    elif connection.scalar(text(_GSSAPI)):
        yield ok("the connection is encrypted by GSSAPI")
    else:
        yield warn(
            f"the connection to {host} is not encrypted: contents can be read on the way",
            "Add sslmode=require to RELAY_DATABASE_URL, or verify-full with sslrootcert: docs/network.md",
        )


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
        yield warn(f"{CONNECTIONS} connections at once were not to be had: {error}", error.hint)
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


def _way(connection: Connection) -> tuple[str, bool]:
    """The address that is connected to, empty for a socket of this machine; and whether by TLS."""
    driver: Any = connection.connection.dbapi_connection
    host = driver.info.hostaddr or driver.info.host
    return "" if host.startswith("/") else host, bool(driver.pgconn.ssl_in_use)


def _stays_on_this_machine(host: str) -> bool:
    if host in ("", "localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
