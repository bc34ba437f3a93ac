"""The insert as text, in the notation of the driver that executes it: one message, or a chunk of them.

A chunk is one ``insert ... select ... from unnest(...)``. Nobody promises the order of what RETURNING gives back, and
with a dedupe key a row may be missing, so each id comes with the position of its message. To return a column would need
a right to read it; so the position goes by a setting that ends with the transaction. PostgreSQL inserts one row and
computes what it returns before it takes the next one from the function, which makes the setting that of this very row.
For this there is no ``order by``, whose sort may come between; unnest hands out in the order given, and ids follow.

Values are of type text, and cast: a codec or an adapter that the application has set for json would write them anew.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from relay.outbox.columns import NAMES

_JSON = ("content", "json_ex_content", "headers")
_TIMES = ("available_at", "deliver_before")
_DEFAULTS = {"account": "'default'", "available_at": "pg_catalog.now()"}  # those of the table, for who names none
_POSITION = "relay.position"

Notation = Callable[[str, int], str]
"""How a parameter is written; it is known by its name or by its number, counted from 1."""


def pyformat(name: str, _number: int) -> str:
    """``%(name)s``, of psycopg and Django."""
    return f"%({name})s"


def binary(name: str, _number: int) -> str:
    """psycopg's: it writes an array of texts in a third of the time, for no sign in them has to be escaped."""
    return f"%({name})b"


def dollars(_name: str, number: int) -> str:
    """``$1``, of asyncpg and of PostgreSQL itself. Numbers begin at 1."""
    return f"${number}"


def colons(name: str, _number: int) -> str:
    """``:name``, of SQLAlchemy's ``text``."""
    return f":{name}"


def in_order(row: dict[str, Any]) -> tuple[str, ...]:
    """The columns of a row, always in the same order, so that there are few statements to prepare."""
    return tuple(name for name in NAMES if name in row)


@lru_cache(maxsize=256)
def insert_one(columns: tuple[str, ...], schema: str | None, notation: Notation) -> str:
    """Returns the id; no row where the dedupe key was there already."""
    values = (_value(name, f"cast({notation(name, n)} as {_type(name)})") for n, name in enumerate(columns, start=1))
    return (
        f"insert into {_table(schema)} ({', '.join(columns)}) values ({', '.join(values)})"  # noqa: S608
        f"{_once(columns)} returning id"
    )


@lru_cache(maxsize=256)
def insert_many(columns: tuple[str, ...], schema: str | None, notation: Notation) -> str:
    """Each parameter is an array; returns id and position, counted from 1, of each message that is new.

    ``unnest`` of several arrays is PostgreSQL's own, whatever is on the search path, and has no schema.
    """
    arrays = (f"cast({notation(name, n)} as {_type(name)}[])" for n, name in enumerate(columns, start=1))
    values = (_value(name, _default(name)) for name in columns)
    return (
        f"insert into {_table(schema)} ({', '.join(columns)}) select {', '.join(values)}"  # noqa: S608
        f" from unnest({', '.join(arrays)}) with ordinality as message ({', '.join(columns)}, n)"
        f" where pg_catalog.set_config('{_POSITION}', cast(message.n as pg_catalog.text), true) is not null"
        f"{_once(columns)} returning id, cast(pg_catalog.current_setting('{_POSITION}') as integer)"
    )


def _value(name: str, given: str) -> str:
    return f"cast({given} as pg_catalog.json)" if name in _JSON else given


def _default(name: str) -> str:
    column = f"message.{name}"
    return f"coalesce({column}, {_DEFAULTS[name]})" if name in _DEFAULTS else column


def _type(name: str) -> str:
    """With its schema: another type of that name may come first on the search path of the application."""
    return "pg_catalog.timestamptz" if name in _TIMES else "pg_catalog.text"


def _once(columns: tuple[str, ...]) -> str:
    return " on conflict do nothing" if "dedupe_key" in columns else ""


def _table(schema: str | None) -> str:
    if schema is None:
        return "outbox"
    return '"{}".outbox'.format(schema.replace('"', '""'))  # no schema of ours has a sign of a notation in its name
