"""The second statement of a claim: calls that name the chosen messages, and with it the messages that expired."""

from __future__ import annotations

import secrets
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from relay.message import Batch, Message
from relay.sql import numbers
from relay.store.apart import Aside, write_apart
from relay.store.claim import statements as sql
from relay.store.running import fetch
from relay.store.swallowed import Swallowed


def batches_of(rows: Sequence[Any], by_id: Mapping[int, Message]) -> tuple[Batch, ...]:
    """RETURNING promises no order of rows; message_ids alone says which message is at which index."""
    return tuple(Batch(row.id, row.account, tuple(by_id[id_] for id_ in row.message_ids), row.nonce) for row in rows)


def nonces(count: int) -> list[int]:
    """What no other call has: drawn by the worker, so that no database can give it out again."""
    drawn = secrets.token_bytes(8 * count)  # at once: the system is asked each time
    return [max(1, number >> 1) for (number,) in struct.iter_unpack("<Q", drawn)]


@dataclass(frozen=True, slots=True)
class Naming:
    """``first_pending``: (account, ordering key) → its first pending message. ``open_from``: where open calls begin."""

    connection: Connection
    worker: str
    lease_seconds: float
    first_pending: Mapping[tuple[str, str], int]
    open_from: int
    aside: Aside

    def name(self, chosen: Sequence[Sequence[Message]]) -> tuple[Batch, ...]:
        """A call for each of these batches, without the messages that may not be named after all."""
        return self._apart(chosen) if self.aside.careful else self._calls(chosen)

    def fail_expired(self, ids: list[int]) -> int:
        """End the messages that may not be sent any more; how many there were."""

        def fail(some: Sequence[int]) -> int:
            return len(fetch(self.connection, sql.FAIL_EXPIRED, {"ids": list(some)}))

        if not ids:
            return 0
        if self.aside.careful:
            counts: list[int] = []
            self.aside.put(write_apart(self.connection, ids, lambda some: counts.append(fail(some))))
            return sum(counts)
        failed = fail(ids)
        if not failed:
            Swallowed(self.connection).if_somebody_else_has_a_say("outbox", "messages that expired")
        return failed

    def _calls(self, chosen: Sequence[Sequence[Message]]) -> tuple[Batch, ...]:
        if not chosen:
            return ()
        by_id = {message.id: message for batch in chosen for message in batch}
        keyed = [message for message in by_id.values() if message.ordering_key is not None]
        parameters = {
            "worker": self.worker,
            "lease_seconds": self.lease_seconds,
            "accounts": [batch[0].account for batch in chosen],
            "nonces": nonces(len(chosen)),
            "ids": numbers(by_id),
            "batches": numbers(number for number, batch in enumerate(chosen, start=1) for _ in batch),
            "keyed_ids": numbers(message.id for message in keyed),
            "key_accounts": [message.account for message in keyed],
            "keys": [message.ordering_key for message in keyed],
            "keys_from": numbers(self.first_pending.get((m.account, m.ordering_key or ""), 0) for m in keyed),
            "open_from": self.open_from,
        }
        text = sql.NAME_CALLS if keyed else sql.NAME_CALLS_WITHOUT_KEYS
        rows = fetch(self.connection, text, parameters)
        if not rows:
            Swallowed(self.connection).if_somebody_else_has_a_say("call", "a claim")
        return batches_of(rows, by_id)

    def _apart(self, chosen: Sequence[Sequence[Message]]) -> tuple[Batch, ...]:
        """Batch by batch, and a batch by halves: what is refused is put aside."""
        named: list[Batch] = []
        for batch in chosen:
            by_id = {message.id: message for message in batch}

            def name(some: Sequence[int], by_id: dict[int, Message] = by_id) -> None:
                named.extend(self._calls([[by_id[id_] for id_ in some]]))

            self.aside.put(write_apart(self.connection, list(by_id), name))
        return tuple(named)
