"""``add`` and ``add_many`` for Django: messages in the transaction of ``atomic()``, and nowhere else.

Outside of it the insert would be committed apart from your own rows; in ``on_commit`` it is too late, for a process
that dies in between tells nobody. A TestCase is one long transaction around each test; a block that the application
opens itself is asked for even so, and a test fails where production would.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Never, Unpack, overload

from django.db import DEFAULT_DB_ALIAS, connections

import relay
from relay.errors import MessageError, NotInTransaction
from relay.integrations.django.places import schema


@overload
def add(topic: str, content: object, *, using: str = ..., **columns: Unpack[relay.Columns]) -> int | None: ...
@overload
def add(message: relay.Topic, /, *, using: str = ..., **columns: Unpack[relay.Columns]) -> int | None: ...
def add(*message: Any, using: str = DEFAULT_DB_ALIAS, **columns: Any) -> int | None:
    """Insert a message into the transaction of the database ``using``; its id, or None if the dedupe key was there.

    ``content`` is a dict, a pydantic model, or JSON text that is sent letter for letter; a ``relay.Topic`` stands for
    topic and content. Savepoints are honoured: what an inner ``atomic()`` rolls back takes its messages with it. Raises
    NotInTransaction outside of ``atomic()``, and MessageError, before the database is asked, for what cannot be a
    message.
    """
    _refuse_connection(message, "add")
    if len(message) > 2:
        raise MessageError(
            f"A message is a topic and a content, and add was given {len(message)} things without a name.",
            "Name the others: add(topic, content, account=..., ordering_key=...)",
        )
    return relay.add(_in_transaction(using), *message, schema=schema(), **columns)


def add_many(
    messages: Iterable[relay.NewMessage | relay.Topic | Mapping[str, object]],
    *more: Never,
    using: str = DEFAULT_DB_ALIAS,
) -> list[int | None]:
    """Insert any number of messages in the same way; their ids in the order given, None where the key was there.

    Each is a mapping with ``topic``, ``content`` and further columns, or a ``relay.NewMessage``. All or nothing.
    """
    _refuse_connection((messages,), "add_many")
    if more:
        raise MessageError(
            f"Django's add_many takes messages, and was given {len(more)} more without a name.",
            "Put them into a list: add_many([message, message])",
        )
    return relay.add_many(_in_transaction(using), messages, schema=schema())


def _refuse_connection(given: Sequence[Any], function: str) -> None:
    """Whoever knows ``relay.add`` gives one first: Django's, a cursor, ``transaction``, a session."""
    if given and any(hasattr(given[0], name) for name in ("cursor", "execute", "get_connection")):
        rest = "topic, content" if function == "add" else "messages"
        raise MessageError(
            f"Django's {function} takes no connection here: it is on that of DATABASES which using names.",
            f'Write {function}({rest}), or {function}({rest}, using="alias") for another than "{DEFAULT_DB_ALIAS}".',
        )


def _in_transaction(using: str) -> Any:
    connection = connections[using]
    if _is_within_atomic(connection) or not (connection.in_atomic_block or _commits_at_once(connection)):
        return connection
    named = f', using="{using}"' if using != DEFAULT_DB_ALIAS else ""
    call = f"transaction.atomic({named.removeprefix(', ')})"
    others = [each.alias for each in connections.all(initialized_only=True) if _is_within_atomic(each)]
    hint = f"Write your rows and the message together in one block: with {call}: ... add(...{named}), not in on_commit."
    if others:
        hint += f' The block that is open is that of the database "{others[0]}": add(..., using="{others[0]}")'
    if _is_asynchronous():
        hint += " Asynchronous code hands the block to a thread: await sync_to_async(function_with_the_block)()"
    raise NotInTransaction(
        f'No transaction is open on the database "{using}": the message would be committed apart from your own rows.',
        hint,
    )


def _commits_at_once(connection: Any) -> bool:
    """Asked without connecting, which asynchronous code may not."""
    return bool(connection.settings_dict["AUTOCOMMIT"] if connection.connection is None else connection.autocommit)


def _is_asynchronous() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _is_within_atomic(connection: Any) -> bool:
    """Whether a block is open that the application has opened, and not a TestCase around it."""
    blocks = getattr(connection, "atomic_blocks", ())
    own = [block for block in blocks if not getattr(block, "_from_testcase", False)]
    return bool(connection.in_atomic_block and (own or not blocks))
