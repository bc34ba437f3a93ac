"""``add_many`` and ``add_many_async``: any number of messages, a statement a thousand.

Messages are taken from the iterable, checked and written chunk by chunk, so a hundred thousand need the memory of two
chunks. All or nothing: one chunk is one statement, and several are written behind a savepoint (in autocommit, which is
only taken where it is meant, in a transaction). What goes wrong later, in a message, in the iterable or in the
database, undoes those before, and the caller's transaction goes on as if nothing had been asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from sqlalchemy import Connection

from relay.errors import MessageError
from relay.outbox.absent import told_if_absent
from relay.outbox.adding import of_async_session, of_session
from relay.outbox.columns import NAMES
from relay.outbox.drivers import Driver, at_once, of_async, of_sqlalchemy, of_sync, refuse_autocommit_of
from relay.outbox.kinds import is_a
from relay.outbox.models import is_model
from relay.outbox.new_message import NewMessage, row_of
from relay.outbox.notations import insert_many
from relay.outbox.tracing import NewRow, creating
from relay.schema import SCHEMA

if TYPE_CHECKING:
    from relay.outbox.adding import Asynchronous, Synchronous
    from relay.outbox.topic import Topic

    Messages = Iterable[NewMessage | Topic | Mapping[str, object]]

_CHUNK = 1_000
_CHUNK_CHARACTERS = 4_000_000  # of contents: a thousand of the largest would be half a gigabyte in one statement
_WITHIN = ("savepoint relay_add_many", "release savepoint relay_add_many", "rollback to savepoint relay_add_many")
_ALONE = ("begin", "commit", "rollback")


def add_many(
    connection: Synchronous, messages: Messages, *, allow_autocommit: bool = False, schema: str = SCHEMA
) -> list[int | None]:
    """Insert messages into the transaction of ``connection``; their ids, in the order given.

    Each is a mapping with ``topic``, ``content`` and further columns, a ``relay.Topic`` or a ``relay.NewMessage``. None
    stands where the dedupe key was there already, also by an earlier message of the same call. ``connection`` is what
    :func:`add` takes.
    Raises MessageError that names the position, counted from 0; then none of them is written.
    """
    _refuse_what_is_not_many(messages)
    return _many(of_session(connection), messages, "add_many", allow_autocommit, schema)


async def add_many_async(
    connection: Asynchronous, messages: Messages, *, allow_autocommit: bool = False, schema: str = SCHEMA
) -> list[int | None]:
    """The same as :func:`add_many` for what :func:`add_async` takes."""
    _refuse_what_is_not_many(messages)
    held = await of_async_session(connection)
    if is_a(held, "sqlalchemy.ext.asyncio", "AsyncConnection"):
        ids: list[int | None] = await held.run_sync(_many, messages, "add_many_async", allow_autocommit, schema)
        return ids
    driver = of_async(held, "add_many_async", schema)
    if not allow_autocommit:
        refuse_autocommit_of(driver, held)
    with told_if_absent(schema), creating() as creation:
        return await _write(driver, creation.over(_chunks(messages)))


def _many(held: object, messages: Messages, function: str, allow_autocommit: bool, schema: str) -> list[int | None]:
    driver = of_sqlalchemy(held, function, schema) if isinstance(held, Connection) else of_sync(held, function, schema)
    if not allow_autocommit:
        refuse_autocommit_of(driver, held)
    with told_if_absent(schema), creating() as creation:
        return at_once(_write(driver, creation.over(_chunks(messages))))


async def _write(driver: Driver, chunks: Iterator[list[NewRow]]) -> list[int | None]:
    chunk, following = next(chunks, None), next(chunks, None)
    if chunk is None:
        return []
    if following is None:
        return await _write_chunk(driver, chunk)
    ids: list[int | None] = []
    begin, end, undo = _ALONE if driver.commits_at_once else _WITHIN
    await driver.run(begin, None)
    try:
        while chunk is not None:
            ids += await _write_chunk(driver, chunk)
            chunk, following = following, next(chunks, None)
    except BaseException:
        with suppress(Exception):  # of a lost connection, which the error itself tells
            await driver.run(undo, None)
        raise
    await driver.run(end, None)
    return ids


async def _write_chunk(driver: Driver, chunk: list[NewRow]) -> list[int | None]:
    named = frozenset().union(*chunk)
    columns = tuple(name for name in NAMES if name in named)
    arrays = {name: [row.get(name) for row in chunk] for name in columns}
    ids: list[int | None] = [None] * len(chunk)
    for found, position in await driver.run(insert_many(columns, driver.schema, driver.notation), arrays):
        ids[position - 1] = found
    return ids


def _chunks(messages: Messages) -> Iterator[list[NewRow]]:
    chunk: list[NewRow] = []
    characters = 0
    for position, message in enumerate(messages):
        row = row_of(message, position)
        chunk.append(row)
        characters += len(row["content"])
        if len(chunk) == _CHUNK or characters >= _CHUNK_CHARACTERS:
            yield chunk
            chunk, characters = [], 0
    if chunk:
        yield chunk


def _refuse_what_is_not_many(messages: object) -> None:
    kind = type(messages).__name__
    if isinstance(messages, Mapping | NewMessage) or is_model(messages):  # which could be gone through, field by field
        raise MessageError(f"messages is of type {kind}, which is one message.", "Put it into a list: [message]")
    if hasattr(messages, "__aiter__"):
        raise MessageError(
            f"messages is of type {kind}, which only asynchronous code can go through.",
            "Collect a part of it: [message async for message in ...]",
        )
    if isinstance(messages, str | bytes) or not hasattr(messages, "__iter__"):
        raise MessageError(f"messages is of type {kind}, no messages.", "Give a list, or any other iterable, of them.")
