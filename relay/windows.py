"""Views of the tables for those who read: what ``relay status``, ``list``, ``show`` and the dashboard ask.

One a table, ``read_outbox`` for ``outbox`` and so on, with its rows and names but for what nobody is to see. They are
no security barriers: a query over one follows the indexes of the table. Made by revision 0008.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Boolean, Column, Integer, MetaData, Table, Text

from relay import schema

_HIDDEN = frozenset(
    ("content", "json_ex_content", "headers", "content_sha256", "content_salt", "created_xid", "credential", "nonce")
)
_metadata = MetaData(schema=schema.SCHEMA)  # nothing of the living schema: Alembic would make tables of them


def _window(table: Table, *more: Column[Any]) -> Table:
    columns = [Column(column.name, column.type) for column in table.c if column.name not in _HIDDEN]
    return Table(f"read_{table.name}", _metadata, *columns, *more)


def _messages(table: Table) -> Table:
    """``available_at`` is None where the message is ``held``, and where it was due since ever."""
    shown = (Column("held", Boolean), Column("content_characters", Integer), Column("content_sha256", Text))
    return _window(table, *shown)


read_outbox = _messages(schema.outbox)
read_call = _window(schema.call)
read_attempt = _window(schema.attempt)
read_pause = _window(schema.pause)
read_outbox_archive = _messages(schema.outbox_archive)
read_call_archive = _window(schema.call_archive)
read_attempt_archive = _window(schema.attempt_archive)
read_pause_past = _window(schema.pause_past)
read_action = _window(schema.action)
read_pace = _window(schema.pace)
read_dedupe = _window(schema.dedupe)

WINDOWS = tuple(window.name for window in _metadata.tables.values())
# A worker reads these tables themselves, but for what is archived: relay list looks there too.
WORKERS = ("read_outbox", "read_call", "read_attempt", "read_pause", "read_pace", "read_outbox_archive")
