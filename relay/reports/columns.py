"""What the reports have in common: conditions that fit a partial index, and rows as dataclasses."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Select, literal_column, select
from sqlalchemy.sql import ColumnElement

from relay.windows import read_call as call
from relay.windows import read_outbox as outbox

# Written out, not bound: a prepared statement's plan could not know that a partial index fits.
STATUS = {name: outbox.c.status == literal_column(f"'{name}'") for name in ("pending", "done", "failed")}
# Each half has the condition of one partial index; a plain ``status = 'pending'`` would fit neither of them.
PENDING = tuple(
    STATUS["pending"] & keyed for keyed in (outbox.c.ordering_key.is_(None), outbox.c.ordering_key.is_not(None))
)
OPEN = call.c.settled_at.is_(None)


def columns_of(kind: Any, table: Any, **computed: ColumnElement[Any]) -> Select[Any]:
    """One column for each field of the dataclass, by name; those neither stored nor computed are the caller's."""
    names = [name for name in kind.__dataclass_fields__ if name in computed or name in table.c]
    return select(*(computed.get(name, table.c.get(name)).label(name) for name in names))


def all_of(connection: Connection, kind: Any, query: Select[Any]) -> tuple[Any, ...]:
    """Every row as a value of this dataclass, whose fields the query selects in their order."""
    return tuple(kind(*row) for row in connection.execute(query))
