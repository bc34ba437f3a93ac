"""Ordering keys that are just being written: their messages wait for the next claim.

A writer has its bucket, an advisory lock, which any login can take: held by a stranger, it would keep the
messages of its keys from ever being sent. So now and then, and as long as there was a stranger last time, those that
write are told from those that only hold. To tell them costs a look at all locks of the server, so not at each claim.
"""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import Connection

from relay.message import Message
from relay.store.claim import statements as sql
from relay.store.running import fetch

_LOOK_SECONDS = 1.0
_TELL_SECONDS = 60.0


class Writers:
    """What one worker knows of them. ``stranger``: who holds locks of ordering keys and writes nothing; or empty."""

    def __init__(self) -> None:
        self.stranger = ""
        self._look_at_monotonic = self._told_monotonic = 0.0

    def without_written(self, connection: Connection, ready: list[tuple[int, Message]]) -> list[tuple[int, Message]]:
        """Those of these messages whose key nobody is writing."""
        keyed = [message for _, message in ready if message.ordering_key is not None]
        if not keyed:
            return ready
        now = time.monotonic()
        look = bool(self.stranger) or now >= self._look_at_monotonic
        parameters = {
            "accounts": [message.account for message in keyed],
            "keys": [message.ordering_key for message in keyed],
            "look": look,
        }
        held = fetch(connection, sql.KEYS_BEING_WRITTEN, parameters)
        if look and held:
            self._look_at_monotonic = now + _LOOK_SECONDS
            self._meet_strangers(connection, now, any(not row.written for row in held))
        waiting = {keyed[row.position - 1].id for row in held if row.written}
        return [(nth, message) for nth, message in ready if message.id not in waiting]

    def _meet_strangers(self, connection: Connection, now: float, are_there: bool) -> None:
        if not are_there:
            self.stranger = ""
        elif not self.stranger or now >= self._told_monotonic + _TELL_SECONDS:
            self._told_monotonic = now
            self.stranger = next(map(_told, fetch(connection, sql.STRANGERS, {})), "")


def _told(row: Any) -> str:
    since = "" if row.seconds is None else f" for {row.seconds:.0f} s or longer"
    return f"process {row.pid} (role {row.role}) holds {row.locks} locks of ordering keys{since} and writes nothing"
