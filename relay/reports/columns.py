"""What the reports have in common: a condition that fits a partial index, and rows as dataclasses."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Select, select
from sqlalchemy.sql import ColumnElement

from relay.windows import read_call as call

OPEN = call.c.settled_at.is_(None)


def columns_of(kind: Any, table: Any, **computed: ColumnElement[Any]) -> Select[Any]:
    """One column for each field of the dataclass, by name; those neither stored nor computed are the caller's."""
    names = [name for name in kind.__dataclass_fields__ if name in computed or name in table.c]
    return select(*(computed.get(name, table.c.get(name)).label(name) for name in names))


def all_of(connection: Connection, kind: Any, query: Select[Any]) -> tuple[Any, ...]:
    """Every row as a value of this dataclass, whose fields the query selects in their order."""
    return tuple(kind(*row) for row in connection.execute(query))
