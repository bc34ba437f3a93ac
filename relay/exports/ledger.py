"""What the ledger of a later export explains: which messages people retried, discarded, redacted or removed since.

Acts name millions of messages, so their ids are kept in a temporary file, not in memory. Acts from before the older
export do not count: what they changed is in that export already, but for those that were not yet committed then.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from relay.exports.reading import ExportedRow

_TABLE = "create table named (message_id integer, action text, act integer)"
_INDEX = "create index named_message on named (message_id, action)"
_INSERT = "insert into named values (?, ?, ?)"
_FIND = "select max(act) from named where message_id = ? and action = ?"


@dataclass(frozen=True, slots=True)
class Excuse:
    """Why a difference is no tampering: by what, and the id of the act in the ledger if it was one."""

    by: str
    act: int | None = None

    def __str__(self) -> str:
        return self.by if self.act is None else f"{self.by}, act {self.act} of the ledger"


@dataclass(frozen=True, slots=True)
class _Removal:
    """Of messages that are not named one by one: those that had ended before, within these ids."""

    act: int
    by: str
    before: datetime
    first_id: int
    last_id: int


class Ledger:
    """Made by :func:`read`."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self._removals: list[_Removal] = []
        self._call_removals: list[_Removal] = []
        self._general: dict[str, int] = {}
        self._salted: dict[str, tuple[int, int]] = {}  # which table -> up to which id, and the act
        database.execute(_TABLE)

    def add(self, row: ExportedRow) -> None:
        """Take in one row of ``audit_ledger``: which messages it names, or which it removed without naming them."""
        act, action, facts = row.number("id") or 0, row.text("action") or "", row.facts("selection")
        named = row.numbers("message_ids")
        if action == "salt":
            self._salted[str(facts.get("table"))] = (int(facts.get("last_id") or 0), act)
        self._general[action] = act
        if named:
            self._database.executemany(_INSERT, ((id_, action, act) for id_ in named))
        elif action == "prune" and "before" in facts:
            removal = _Removal(act, action, datetime.fromisoformat(str(facts["before"])), 0, 1 << 63)
            (self._call_removals if facts.get("table") == "call" else self._removals).append(removal)
        elif action == "drop" and "month" in facts:
            first, last = facts.get("first_id") or 0, facts.get("last_id") or 0
            removal = _Removal(act, action, _end_of(str(facts["month"])), int(first), int(last))
            self._removals.append(removal)
            self._call_removals.append(removal)

    def seal(self) -> None:
        """All rows are in: from now on look-ups are fast."""
        self._database.execute(_INDEX)

    def named(self, message_id: int | None, action: str) -> Excuse | None:
        """The last such act that names the message."""
        (act,) = self._database.execute(_FIND, (message_id, action)).fetchone()
        return None if act is None else Excuse(action, act)

    def any(self, *actions: str) -> Excuse | None:
        """Whether there was such an act at all: for those that name no message."""
        return next((Excuse(action, self._general[action]) for action in actions if action in self._general), None)

    def salted(self, number: int | None, *tables: str) -> Excuse | None:
        """Whether hashes of an earlier version got a salt since, in one of these tables, this one among them."""
        found = (self._salted[table] for table in tables if table in self._salted)
        return next((Excuse("salt", act) for last, act in found if number is not None and number <= last), None)

    def removed(self, message_id: int | None, ended: datetime | None) -> Excuse | None:
        """Where the message went; ``ended`` None: after the older export, or not known."""
        if message_id is None:
            return None
        return self.named(message_id, "prune") or next(
            (
                Excuse(removal.by, removal.act)
                for removal in self._removals
                if removal.first_id <= message_id <= removal.last_id and (ended is None or ended < removal.before)
            ),
            None,
        )

    def removed_call(self, settled: datetime | None, message_ids: Iterable[int]) -> Excuse | None:
        """A call goes when all of its messages are gone."""
        if not all(self.removed(message_id, None) for message_id in message_ids):
            return None
        return next(
            (
                Excuse(removal.by, removal.act)
                for removal in self._call_removals
                if settled is None or settled < removal.before
            ),
            None,
        )


@contextmanager
def read(
    rows: Iterable[ExportedRow], since: datetime, grace: timedelta, running: frozenset[int] = frozenset()
) -> Iterator[Ledger]:
    """The acts since the older export, and those of transactions that were ``running`` then."""
    database = sqlite3.connect("")  # a temporary file, gone when closed
    try:
        ledger = Ledger(database)
        for row in rows:
            came_later = (at := row.moment("at")) is not None and at >= since - grace
            if came_later or row.number("created_xid") in running:
                ledger.add(row)
        ledger.seal()
        yield ledger
    finally:
        database.close()


def _end_of(month: str) -> datetime:
    begins = datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC)
    return (begins + timedelta(days=31)).replace(day=1)
