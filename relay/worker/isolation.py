"""What to do when a claim is refused: find the messages that cannot be read, fail them by name, and let the others go.

A message that PostgreSQL cannot hand out (its bytes are no text in the encoding of the client, its page is damaged)
would spoil every claim that comes near it. It cannot be sent either, so it ends as ``failed`` with
``relay.unreadable``. Where a rule or trigger is against that, its account is left alone for a while, so that
the others go on. Where nothing of the kind is found, the claim is tried again, later and later.
"""

from __future__ import annotations

import time
from functools import partial

from relay.errors import RefusedError
from relay.events import DatabaseRefused, Events, MessageUnreadable
from relay.store import Store, Unreadable
from relay.worker.report import Report
from relay.worker.threads import Threads

_AT_ONCE = 1000  # messages read in one transaction
_LOOK_AGAIN = 16  # refused claims in a row before everything is read through once more
CLAIM_MAX_SECONDS = 30.0  # between two claims, where each is refused
_LEFT_ALONE_SECONDS = 60.0  # an account with such a message that stays as it is


class Isolation:
    """Which accounts have outcomes that PostgreSQL refuses, and until when nothing of them is claimed."""

    def __init__(self, store: Store, threads: Threads, *, events: Events, report: Report) -> None:
        self._store = store
        self._threads = threads
        self._events = events
        self._report = report
        self._until: dict[str, float] = {}  # account → monotonic seconds

    @property
    def left_alone(self) -> list[str]:
        """The accounts of which nothing can be claimed, for a message in them that cannot be read and stays."""
        now = time.monotonic()
        return [account for account, until in self._until.items() if until > now]

    async def isolate(self, error: RefusedError, failures: int) -> bool:
        """Whether the reason was found and is out of the way. ``failures``: claims refused in a row, with this one."""
        found = await self._fail_unreadable() if failures % _LOOK_AGAIN == 1 else Unreadable()
        for message_id in found.failed:
            self._report.failed += 1
            self._events.emit(MessageUnreadable(message_id, str(error)))
        if not found.failed:
            self._events.emit(DatabaseRefused("claim", str(error)))
        self._until.update(dict.fromkeys(found.accounts, time.monotonic() + _LEFT_ALONE_SECONDS))
        return bool(found.failed or found.accounts)

    async def _fail_unreadable(self) -> Unreadable:
        """The first of them that there are, oldest first, beside those whose accounts are left alone already."""
        ids = await self._threads.run(self._store.pending_ids)
        for start in range(0, len(ids), _AT_ONCE):
            found = await self._threads.run(partial(self._store.fail_unreadable, ids[start : start + _AT_ONCE]))
            new = found.accounts.difference(self.left_alone)
            if found.failed or new:
                return Unreadable(found.failed, new)
        return Unreadable()
