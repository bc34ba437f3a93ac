"""The promises of the relay as functions of what is in the tables and what the platform holds.

They know neither the code nor the model: an auditor with both books before him could check them.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from sqlalchemy import Connection, text

from tests.model.model import Attempt, Key, Platform


class MessageRow(NamedTuple):
    account: str
    key: str | None
    status: str
    attempts: int
    call_id: int | None
    result_index: int | None
    error_code: str | None
    finished: bool
    waits: str


class CallRow(NamedTuple):
    account: str
    worker: str
    message_ids: tuple[int, ...]
    parent_id: int | None
    outcome: str | None
    settled_at: str | None


_MESSAGES = """
select id, account, ordering_key, status, attempts, call_id, result_index, error_code, finished_at is not null,
    case when available_at = 'infinity' then 'held' when available_at > now() then 'later' else 'due' end
from relay.outbox
"""
_CALLS = "select id, account, worker, message_ids, parent_id, outcome, settled_at::text from relay.call"
_ATTEMPTS = "select message_id, call_id, result_index, outcome, error_code, retry_at is not null from relay.attempt"


class Tables:
    """What is committed at this moment."""

    def __init__(self, connection: Connection) -> None:
        self.messages = {id_: MessageRow(*rest) for id_, *rest in connection.execute(text(_MESSAGES))}
        self.calls = {
            id_: CallRow(account, worker, tuple(message_ids), *rest)
            for id_, account, worker, message_ids, *rest in connection.execute(text(_CALLS))
        }
        self.attempts = {
            (message_id, call_id): Attempt(*rest) for message_id, call_id, *rest in connection.execute(text(_ATTEMPTS))
        }

    def in_flight(self) -> list[int]:
        """The messages that open calls name, each as often as it is named."""
        return [id_ for call in self.calls.values() if call.outcome is None for id_ in call.message_ids]

    def unknown(self) -> Counter[int]:
        """Message id -> how many of its calls nobody knows the end of."""
        return Counter(message_id for (message_id, _), row in self.attempts.items() if row.outcome == "unknown")


def nothing_rolled_back_is_produced(tables: Tables, platform: Platform) -> None:
    named = {id_ for call in tables.calls.values() for id_ in call.message_ids}
    assert named <= tables.messages.keys(), "a call names a message that was never committed"
    assert set(platform.stored) <= named


def done_only_on_proof(tables: Tables, platform: Platform) -> None:
    for id_, row in tables.messages.items():
        if row.status == "done":
            assert row.call_id is not None
            assert row.result_index is not None
            assert tables.calls[row.call_id].message_ids[row.result_index] == id_
            assert (row.call_id, row.result_index) in platform.proofs, f"{id_} is done, but nobody said so"


def what_is_over_stays(before: Tables, now: Tables) -> None:
    """Done messages, settled calls and attempts never change again."""
    for id_, row in before.messages.items():
        assert row.status != "done" or now.messages[id_] == row
    for id_, call in before.calls.items():
        assert call.outcome is None or now.calls[id_] == call, f"call {id_} was settled twice"
    assert before.attempts.items() <= now.attempts.items()


def finished_rows_say_why(tables: Tables) -> None:
    for id_, row in tables.messages.items():
        assert row.finished == (row.status != "pending")
        assert row.status != "failed" or row.error_code, f"message {id_} failed, nobody knows why"


def nobody_holds_what_another_holds(tables: Tables, reordered: set[Key]) -> None:
    """One open call a message, and one message a key: while it is in flight, the next one of its key waits."""
    in_flight = tables.in_flight()
    assert len(in_flight) == len(set(in_flight)), "two open calls name one message"
    keys = Counter((row.account, row.key) for row in (tables.messages[id_] for id_ in in_flight) if row.key)
    together = {key for key, times in keys.items() if times > 1}
    assert together <= reordered, f"two messages of one key are in flight: {together}"


def duplicates_are_explained(tables: Tables, platform: Platform, in_doubt: set[int]) -> None:
    """Whatever the platform holds beyond what is done, an ``unknown`` tells of; or its call is still open."""
    unknown = tables.unknown()
    for id_, times in Counter(platform.stored).items():
        told = unknown[id_] + (tables.messages[id_].status == "done") + (id_ in in_doubt)
        assert times <= told, f"message {id_} was stored {times} times, {told} are explained"


def keys_are_accepted_in_order(tables: Tables, platform: Platform, reordered: set[Key]) -> None:
    """The first acceptance of each message; a second one comes when it comes."""
    last: dict[Key, int] = {}
    for id_ in dict.fromkeys(platform.stored):
        row = tables.messages[id_]
        if row.key is None or (row.account, row.key) in reordered:
            continue
        assert last.get((row.account, row.key), 0) < id_, f"message {id_} of key {row.key} was overtaken"
        last[row.account, row.key] = id_
