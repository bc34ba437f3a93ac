"""Writes that another owner's rule or trigger swallows: PostgreSQL reports no error, and nothing has changed.

A message whose outcome is swallowed stays pending and would be sent again and again, each time logged as done. So what
a statement wrote is compared with what it named, by the number of rows, which costs nothing. Only where they differ is
it asked why: a message that a person has changed by hand is no longer pending, a call that another worker has recovered
is no longer open, and neither is a fault. What is still there as it was has been swallowed. That is refused like any
other row that PostgreSQL does not take: nothing is committed, the call stays open with its lease running anew, its
messages are not sent again, and it is tried until a person has mended it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NoReturn

from sqlalchemy import Connection

from relay import statements as sql
from relay.errors import SwallowedError
from relay.outcomes import Settlement
from relay.sql import quoted, schema_of
from relay.store.running import fetch

_NAMED = 5  # ids in a sentence, at most


class Swallowed:
    """Asks about what was just written in this transaction; raises SwallowedError where it is not there."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._schema = schema_of(connection)

    def closing(self, settlements: Sequence[Settlement]) -> None:
        """After CLOSE_CALLS: each of these calls is settled, by whomever."""
        parameters = {"ids": [s.call_id for s in settlements], "nonces": [s.nonce for s in settlements]}
        self._unless_none("call", sql.STILL_OPEN, parameters)

    def done(self, settlements: Sequence[Settlement]) -> None:
        """After MARK_DONE: none of these messages is pending."""
        ids = [id_ for s in settlements for id_, _ in s.done]
        self._unless_none("outbox", sql.STILL_PENDING, {"ids": ids})

    def verdicts(self, settlements: Sequence[Settlement]) -> None:
        """After MARK_NOT_DONE: for each of these messages that is ours to mark, an attempt of this call is there."""
        pairs = [(verdict.message_id, s.call_id) for s in settlements for verdict in s.verdicts]
        parameters = {"ids": [id_ for id_, _ in pairs], "call_ids": [call_id for _, call_id in pairs]}
        table = "attempt" if self._standing_on("attempt") else "outbox"
        self._unless_none(table, sql.WITHOUT_ATTEMPT, parameters)

    def anything(self, table: str, what: str) -> NoReturn:
        """Where no row at all was written to this table, which nothing explains."""
        raise self._error(table, what)

    def if_somebody_else_has_a_say(self, table: str, what: str) -> None:
        """Where nothing was written to this table, and others may have been faster."""
        if self._standing_on(table):
            raise self._error(table, what)

    def _unless_none(self, table: str, question: str, parameters: dict[str, list[int]]) -> None:
        ids = [row.id for row in fetch(self._connection, question, parameters)]
        if ids:
            raise self._error(table, _told(ids))

    def _error(self, table: str, what: str) -> SwallowedError:
        standing = " and ".join(self._standing_on(table)) or "something that cannot be seen"
        return SwallowedError(
            f"What was written on {table} ({what}) is not there: {standing} on {table} swallows it",
            f"Drop it; relay check names it. Nothing that was sent is sent again. The schema is {self._schema}.",
        )

    def _standing_on(self, table: str) -> list[str]:
        parameters = {"table": f"{quoted(self._schema)}.{table}", "ours": quoted(self._schema)}
        return [f"the {row.kind} {row.name}" for row in fetch(self._connection, sql.STANDING_ON, parameters)]


def _told(ids: Collection[int]) -> str:
    few = sorted(ids)[:_NAMED]
    more = len(ids) - len(few)
    return "id " + ", ".join(map(str, few)) + (f" and {more} more" if more else "")
