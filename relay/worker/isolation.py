"""What to do when a claim is refused: find the messages that cannot be read, fail them by name, and let the others go.

A message that PostgreSQL cannot hand out (its bytes are no text in the encoding of the client, its page is damaged)
would spoil every claim that comes near it. It cannot be sent either, so it ends as ``failed`` with
``relay.unreadable``. Where nothing of the kind is found, the claim is tried again, later and later.
"""

from __future__ import annotations

from relay.errors import RefusedError
from relay.events import DatabaseRefused, Events, MessageUnreadable
from relay.store import Store
from relay.worker.report import Report
from relay.worker.threads import Threads

_AT_ONCE = 1000  # messages read in one transaction
_LOOK_AGAIN = 16  # refused claims in a row before everything is read through once more
CLAIM_MAX_SECONDS = 30.0  # between two claims, where each is refused


class Isolation:
    def __init__(self, store: Store, threads: Threads, *, observers: Events, report: Report) -> None:
        self._store = store
        self._threads = threads
        self._events = observers
        self._report = report

    async def isolate(self, error: RefusedError, failures: int) -> bool:
        """Whether the reason was found and is out of the way. ``failures``: claims refused in a row, with this one."""
        failed = await self._fail_unreadable() if failures % _LOOK_AGAIN == 1 else ()
        for message_id in failed:
            self._report.failed += 1
            self._events.emit(MessageUnreadable(message_id, str(error)))
        if not failed:
            self._events.emit(DatabaseRefused("claim", str(error)))
        return bool(failed)

    async def _fail_unreadable(self) -> tuple[int, ...]:
        """The first of them that there are, oldest first."""
        ids = await self._threads.run(self._store.pending_ids)
        for start in range(0, len(ids), _AT_ONCE):
            page = ids[start : start + _AT_ONCE]
            if failed := await self._threads.run(lambda: self._store.fail_unreadable(page)):  # noqa: B023 run at once
                return failed
        return ()
