"""What PostgreSQL refuses of one row, kept apart from what it takes of the others.

An error says that there is a row to blame, but not which: so the rows are written by halves, each half in a savepoint.
That is done only where writing all at once was refused, so that nobody pays for it else.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from relay.errors import SwallowedError
from relay.store.connections import is_cancelled, is_passing, told

_FIRST_SECONDS, _LONGEST_SECONDS = 0.5, 30.0  # aside; each time twice as long


def write_apart(connection: Connection, ids: Sequence[int], write: Callable[[Sequence[int]], None]) -> dict[int, str]:
    """Write what can be written; the ids that are refused, and why. One among n takes some 2 * log2(n) tries."""
    if not ids:
        return {}
    savepoint = connection.begin_nested()
    try:
        write(ids)
    except (DBAPIError, SwallowedError) as error:
        if isinstance(error, DBAPIError) and (is_passing(error) or is_cancelled(error)):
            raise
        savepoint.rollback()
        if len(ids) == 1:
            return {ids[0]: told(error)}
        middle = len(ids) // 2
        return write_apart(connection, ids[:middle], write) | write_apart(connection, ids[middle:], write)
    savepoint.commit()
    return {}


class Aside:
    """Messages that a claim could do nothing with: left alone for a while, so that they take nobody's place.

    ``careful``: this claim writes apart, for the one before it was refused.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until: dict[int, tuple[float, float]] = {}  # and for how long
        self._fresh: dict[int, str] = {}
        self.careful = False

    def ids(self) -> list[int]:
        """What to leave alone now."""
        if not self._until:
            return []
        now = self._clock()
        forgotten = now - 2 * _LONGEST_SECONDS
        self._until = {id_: place for id_, place in self._until.items() if place[0] > forgotten}
        return [id_ for id_, (until, _) in self._until.items() if until > now]

    def put(self, refused: Mapping[int, str]) -> None:
        """Leave these messages alone, each twice as long as the time before (id → reason)."""
        now = self._clock()
        for id_ in refused:
            seconds = min(_LONGEST_SECONDS, 2 * self._until[id_][1] if id_ in self._until else _FIRST_SECONDS)
            self._until[id_] = (now + seconds, seconds)
        self._fresh |= refused

    def take_fresh(self) -> dict[int, str]:
        """What was put here since this was asked the last time, with the reasons."""
        fresh, self._fresh = self._fresh, {}
        return fresh

    def forget(self, ids: Iterable[int]) -> None:
        """These messages went well, or are gone."""
        for id_ in ids:
            self._until.pop(id_, None)
            self._fresh.pop(id_, None)
