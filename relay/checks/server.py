"""The server and the way to it: does it answer, can it be written to, is a pooler in between, do the times agree?"""

from __future__ import annotations

import time
from collections.abc import Iterator

from sqlalchemy import Connection, text

from relay.checks import Check, Finding, fail, ok, warn
from relay.checks.way import leads_to_a_pooler, speaks_for_pgpool
from relay.settings import Settings

OLDEST_VERSION = 14
CLOCK_WARN_SECONDS = 5
CLOCK_FAIL_SECONDS = 300  # half of what the platform permits


def database(connection: Connection, settings: Settings) -> Iterator[Finding]:
    """That PostgreSQL answers, and as whom and where we are there."""
    user, name = connection.execute(text("select current_user, current_database()")).one()
    yield ok(f"PostgreSQL answers, database {name}, role {user}")


def version(connection: Connection, settings: Settings) -> Iterator[Finding]:
    """Whether the server is PostgreSQL 14 or newer."""
    asked = text("select current_setting('server_version_num')::integer, current_setting('server_version')")
    number, name = connection.execute(asked).one()
    if number // 10_000 >= OLDEST_VERSION:
        yield ok(f"PostgreSQL {name}")
    else:
        yield fail(f"PostgreSQL {name} is older than {OLDEST_VERSION}", "Upgrade the server.")


def encoding(connection: Connection, settings: Settings) -> Iterator[Finding]:
    """Whether the database can hold any text: UTF8 can."""
    name = str(connection.execute(text("select current_setting('server_encoding')")).scalar_one())
    if trouble := encoding_trouble(name):
        yield warn(trouble, "Move to a database made with: create database ... encoding 'UTF8' template template0")
    else:
        yield ok(name)


def encoding_trouble(name: str) -> str | None:
    """What a server encoding costs; None where it is UTF-8."""
    if name == "UTF8":
        return None
    if name == "SQL_ASCII":
        return (
            "the database is in SQL_ASCII, where nobody checks texts: "
            "a message that is not UTF-8 is not sent and fails with relay.unreadable"
        )
    return (
        f"the database is in {name}: what has no character there (an emoji) cannot be inserted, "
        r"and where an answer has one it is kept as \U0001f600"
    )


def primary(connection: Connection, settings: Settings) -> Iterator[Finding]:
    """Whether the server can be written to: it is no standby, and the role is not read-only."""
    asked = text("select pg_is_in_recovery(), current_setting('default_transaction_read_only')::boolean")
    standby, read_only = connection.execute(asked).one()
    if standby:
        yield fail("this server is a standby, nothing can be written to it", "Let RELAY_DATABASE_URL name the primary.")
    elif read_only:
        yield fail("default_transaction_read_only is on", "Turn it off for the role of the relay.")
    else:
        yield ok("the server can be written to")


def clock(connection: Connection, settings: Settings) -> Iterator[Finding]:
    """The offset is as exact as the way to the server is short."""
    off = host_offset_seconds(connection)
    said = f"this host is {abs(off):.1f} s {'behind' if off > 0 else 'ahead of'} the database, whose clock signs calls"
    hint = "Set both clocks by NTP: the platform refuses what is 10 minutes off."
    if abs(off) > CLOCK_FAIL_SECONDS:
        yield fail(said, hint)
    elif abs(off) > CLOCK_WARN_SECONDS:
        yield warn(said, hint)
    else:
        yield ok(said)


def host_offset_seconds(connection: Connection) -> float:
    """What has to be added to the host's time to get the database's."""
    asked = text("select extract(epoch from clock_timestamp())")
    connection.execute(asked)  # the first statement of a connection takes longer than the way there and back
    before = time.time()
    there = float(connection.execute(asked).scalar_one())
    return there - (before + time.time()) / 2


def lease(timeout_seconds: float | None) -> Check:
    """Settings refuse a lease that a call could outlast; between that and twice as long one late extension matters.

    The time-out is that of the producer in use, None where it has none.
    """

    def looked_at(connection: Connection, settings: Settings) -> Iterator[Finding]:
        if timeout_seconds is None:
            yield ok(f"{settings.lease_seconds:g} s, extended while a call runs")
            return
        said = f"{settings.lease_seconds:g} s, a call may take {timeout_seconds:g} s"
        if settings.lease_seconds < 2 * timeout_seconds:
            yield warn(said, "Make RELAY_LEASE_SECONDS at least twice the time-out of a call.")
        else:
            yield ok(said)

    return looked_at


def pooler(connection: Connection, settings: Settings) -> Iterator[Finding]:
    """Whether a pooler is in between, and whether it gives each transaction another server process."""
    mine = _server_process(connection)
    pooled = leads_to_a_pooler(connection)
    connection.rollback()
    if not pooled:
        yield _behind_pgpool() if speaks_for_pgpool(connection) else ok("connected directly, without a pooler")
        return
    # Another client gets the same server process only where a transaction gives it back.
    with connection.engine.connect() as other:
        shared = _server_process(other) == mine
    if not shared:
        yield ok("behind a pooler")
    elif settings.wakeup == "notify":
        yield warn("behind a pooler in transaction mode, where RELAY_WAKEUP=notify cannot work", "Set it to poll.")
    else:
        yield ok("behind a pooler in transaction mode; the relay polls through it")


def _behind_pgpool() -> Finding:
    return warn(
        "behind Pgpool-II, which may send reads to a standby that lags",
        "In pgpool.conf: app_name_redirect_preference_list = 'outbox-relay:primary'; or let the URL name the primary.",
    )


def prepared_transactions(connection: Connection, settings: Settings) -> Iterator[Finding]:
    """A transaction that has notified cannot be prepared, and an insert notifies while a relay sleeps."""
    most = int(connection.execute(text("select current_setting('max_prepared_transactions')")).scalar_one())
    if most == 0:
        yield ok("none can be made here")
    elif settings.wakeup == "notify":
        yield warn(
            "one that inserts a message while a relay sleeps cannot be prepared: RELAY_WAKEUP=notify",
            "Set RELAY_WAKEUP=auto, or let the application say in such transactions: set local relay.wake = off",
        )
    else:
        yield ok("they can be made here, so the relay polls; where nobody makes any: RELAY_WAKEUP=notify")


def _server_process(connection: Connection) -> int:
    return int(connection.execute(text("select pg_backend_pid()")).scalar_one())
