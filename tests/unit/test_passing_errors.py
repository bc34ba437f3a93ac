"""Which errors of PostgreSQL are worth another try: the server or the way to it is gone, nothing is wrong with us."""

from __future__ import annotations

import psycopg
import pytest
from sqlalchemy.exc import DBAPIError

from relay.store.connections import is_passing


def error(sqlstate: str, *, invalidated: bool = False) -> DBAPIError:
    return DBAPIError("select 1", {}, psycopg.errors.lookup(sqlstate)("said"), connection_invalidated=invalidated)


@pytest.mark.parametrize(
    "sqlstate",
    [
        "08006",  # connection_failure
        "25006",  # read_only_sql_transaction: a standby
        "40001",  # serialization_failure
        "40P01",  # deadlock_detected
        "53100",  # disk_full
        "53300",  # too_many_connections
        "55P03",  # lock_not_available
        "57014",  # query_canceled
        "57P01",  # admin_shutdown
        "57P02",  # crash_shutdown
        "57P03",  # cannot_connect_now
        "58030",  # io_error
    ],
)
def test_what_passes(sqlstate: str) -> None:
    assert is_passing(error(sqlstate))


@pytest.mark.parametrize("sqlstate", ["23505", "25001", "40002", "42501", "42P01", "42703", "22P02", "XX000"])
def test_what_stays(sqlstate: str) -> None:
    assert not is_passing(error(sqlstate))


def test_a_connection_that_is_gone_passes_whatever_was_said_last() -> None:
    assert is_passing(error("XX000", invalidated=True))


@pytest.mark.parametrize("kind", [psycopg.OperationalError, psycopg.errors.ConnectionTimeout, psycopg.InterfaceError])
def test_without_a_state_it_is_libpq_that_never_got_through(kind: type[psycopg.Error]) -> None:
    assert is_passing(DBAPIError("select 1", {}, kind("connection refused")))
    assert not is_passing(DBAPIError("select 1", {}, psycopg.ProgrammingError("a mistake of ours")))
