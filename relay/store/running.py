"""The store's statements, executed by the driver itself inside a transaction of SQLAlchemy.

SQLAlchemy keeps the pool, begins, commits and knows a lost connection; what its ``execute`` does on top of the driver's
costs a third of the CPU of a claim. An error is a DBAPIError all the same, without the parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import psycopg
from psycopg.rows import RowFactory, namedtuple_row, tuple_row
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from relay.sql import query, schema_of


def fetch(connection: Connection, sql: str, parameters: Mapping[str, Any]) -> list[Any]:
    """All rows, as named tuples."""
    rows: list[Any] = _executed(connection, sql, parameters, namedtuple_row, psycopg.Cursor.fetchall)
    return rows


def fetch_many(connection: Connection, sql: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """All rows, as bare tuples: where there are thousands, access by name costs too much."""
    rows: list[tuple[Any, ...]] = _executed(connection, sql, parameters, tuple_row, psycopg.Cursor.fetchall)
    return rows


def run(connection: Connection, sql: str, parameters: Mapping[str, Any]) -> int:
    """A statement without rows; how many it wrote."""
    written: int = _executed(connection, sql, parameters, tuple_row, _written)
    return written


def _executed(
    connection: Connection,
    sql: str,
    parameters: Mapping[str, Any],
    row_factory: RowFactory[Any],
    taken: Callable[[psycopg.Cursor[Any]], Any],
) -> Any:
    """What is ``taken`` of the rows. A value that cannot be read is an error of the driver like any other."""
    driver: Any = connection.connection.dbapi_connection
    numbered = query(sql, schema_of(connection))
    cursor = psycopg.RawCursor(driver, row_factory=row_factory)
    try:
        return taken(cursor.execute(numbered.text, numbered.values(parameters)))
    except psycopg.Error as error:
        raise DBAPIError.instance(numbered.text, None, error, psycopg.Error, hide_parameters=True) from error


def _written(cursor: psycopg.Cursor[Any]) -> int:
    return cursor.rowcount
