"""The relay said a second time, in plain Python: what the platform holds, and what each step must leave in the tables.

It is written from the promises, not from the code: a call has an answer, an answer has a meaning for each index, and a
row shows what its calls meant for it. Where this and the tables differ, one of them is wrong.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from relay.message import Answer, Answered, Batch, Fault, Refused

Key = tuple[str, str]  # account, ordering key

PAUSING = {
    Fault.THROTTLED,
    Fault.CREDENTIALS,
    Fault.OURS,
}  # the account or we are at fault, so the message pays nothing
REFUSING = {Fault.MESSAGE, Fault.CONTENT}


class Platform:
    """What it holds, and what it has said. ``stored``: message ids in the order of acceptance."""

    def __init__(self) -> None:
        self.stored: list[int] = []
        self.proofs: set[tuple[int, int]] = set()  # (call id, index): accepted, and the answer says so

    def receive(self, batch: Batch, answer: Answer, keeps_unknown: Sequence[bool]) -> None:
        """The call arrives. ``keeps_unknown``: of which indexes it keeps what the answer leaves in doubt."""
        faults = faults_of(answer, len(batch))
        for index, (message, fault) in enumerate(zip(batch.messages, faults, strict=True)):
            if fault is None:
                self.proofs.add((batch.call_id, index))
            if fault is None or (fault is Fault.UNKNOWN and keeps_unknown[index]):
                self.stored.append(message.id)


def faults_of(answer: Answer, count: int) -> list[Fault | None]:
    """What the answer says about each index, None where the message was accepted."""
    if isinstance(answer, Refused):
        return [answer.fault] * count
    return [result.fault for result in answer.results]


@dataclass
class Message:
    """One committed row as it must be. ``waits``: ``due``, ``later`` or ``held``; it counts while pending only."""

    id: int
    account: str
    key: str | None
    expires: bool = False  # it has a deliver_before, still ahead
    expired: bool = False
    status: str = "pending"
    attempts: int = 0
    call_id: int | None = None
    result_index: int | None = None
    error_code: str | None = None
    waits: str = "due"

    def fails(self, code: str, call_id: int | None = None, index: int | None = None) -> None:
        self.status, self.error_code, self.call_id, self.result_index = "failed", code, call_id, index


@dataclass
class Call:
    id: int
    account: str
    worker: str
    message_ids: tuple[int, ...]
    parent_id: int | None = None
    outcome: str | None = None
    lapsed: bool = False
    sent: bool = False


class Attempt(NamedTuple):
    result_index: int
    outcome: str
    error_code: str | None
    again: bool  # another call is to come, so there is a retry_at


@dataclass
class Model:
    max_attempts: int
    hold_unknown: bool
    failed_holds: bool
    messages: dict[int, Message] = field(default_factory=dict)
    calls: dict[int, Call] = field(default_factory=dict)
    attempts: dict[tuple[int, int], Attempt] = field(default_factory=dict)  # by message id and call id
    paused: set[str] = field(default_factory=set)
    reordered: set[Key] = field(default_factory=set)  # keys of which an operator retried a failed message

    def open_calls(self) -> list[Call]:
        return [call for call in self.calls.values() if call.outcome is None]

    def in_flight(self) -> Counter[int]:
        """Message id -> how many open calls name it."""
        return Counter(id_ for call in self.open_calls() for id_ in call.message_ids)

    def ready(self) -> set[int]:
        """Ids that a claim may take, those that have expired included."""
        in_flight = self.in_flight()
        return {id_ for id_, message in self.messages.items() if self._is_ready(message) and not in_flight[id_]}

    def _is_ready(self, message: Message) -> bool:
        due = message.status == "pending" and message.waits == "due"
        return due and message.account not in self.paused and not self._is_behind(message)

    def _is_behind(self, message: Message) -> bool:
        """Whether an earlier message holds its key."""
        holding = {"pending", "failed"} if self.failed_holds else {"pending"}
        return any(_precedes(other, message) and other.status in holding for other in self.messages.values())

    # What happens to calls.

    def claim(
        self, worker: str, batches: Iterable[Batch], expired: Iterable[int], uncommitted: Sequence[Message]
    ) -> None:
        """Everything named must have been ready, and nothing uncommitted may come before it in its key."""
        ready = self.ready()
        for id_ in expired:
            assert id_ in ready, f"message {id_} ended as expired, but it was not ready"
            assert self.messages[id_].expired
            self.messages[id_].fails("relay.expired")
        for batch in batches:
            self._open(worker, batch, None)
            for message in batch.messages:
                assert message.id in ready, f"call {batch.call_id} names message {message.id}, which was not ready"
                assert not self.messages[message.id].expired
                assert not any(_precedes(other, self.messages[message.id]) for other in uncommitted)
                ready.remove(message.id)

    def _open(self, worker: str, batch: Batch, parent_id: int | None) -> None:
        ids = tuple(message.id for message in batch.messages)
        self.calls[batch.call_id] = Call(batch.call_id, batch.account, worker, ids, parent_id)
        for message in batch.messages:
            known = self.messages[message.id]
            assert (message.account, message.ordering_key) == (batch.account, known.key)
            assert (known.account, message.attempts) == (batch.account, known.attempts)

    def settle(self, call_id: int, answer: Answer | None) -> bool:
        """What the answer means (None: the call was never made). Gives back whether the call goes on as two halves."""
        call = self.calls[call_id]
        call.outcome = _outcome(answer, len(call.message_ids))
        if answer is None:
            return False
        pausing = _pausing(answer)
        if pausing:
            self.paused.add(call.account)
        if isinstance(answer, Refused) and answer.fault is Fault.CONTENT and len(call.message_ids) > 1:
            return True
        for index, fault in enumerate(faults_of(answer, len(call.message_ids))):
            self._mark(call, index, fault, waits_alone=fault not in pausing)
        return False

    def split(self, parent_id: int, worker: str, children: Sequence[Batch]) -> None:
        for child in children:
            self._open(worker, child, parent_id)
        halves = tuple(message.id for child in children for message in child.messages)
        assert halves == self.calls[parent_id].message_ids, "the halves are not the whole"

    def lapse(self, call_id: int) -> None:
        """Another worker found that the lease ran out."""
        call = self.calls[call_id]
        call.outcome = "unknown"
        for index in range(len(call.message_ids)):
            self._mark(call, index, Fault.UNKNOWN, code="relay.lease_expired")

    def _mark(
        self, call: Call, index: int, fault: Fault | None, *, waits_alone: bool = True, code: str | None = None
    ) -> None:
        message = self.messages[call.message_ids[index]]
        assert message.status == "pending"
        message.attempts += fault not in PAUSING
        if fault is None:
            message.status, message.call_id, message.result_index = "done", call.id, index
            return
        held = fault is Fault.UNKNOWN and self.hold_unknown
        exhausted = fault in (Fault.PROVIDER, Fault.UNKNOWN) and not held and message.attempts >= self.max_attempts
        over = exhausted or fault in REFUSING
        message.error_code = code or f"code.{fault.value}"
        outcome = "unknown" if fault is Fault.UNKNOWN else "failed" if over else "retry"
        self.attempts[message.id, call.id] = Attempt(index, outcome, message.error_code, again=not over)
        if over:
            message.fails("relay.attempts_exhausted" if exhausted else message.error_code, call.id, index)
        elif held:
            message.waits = "held"
        elif waits_alone:
            message.waits = "later"

    # What people do.

    def retry(self, ids: Iterable[int]) -> set[int]:
        """Failed and held messages are as new; which of ``ids`` that concerns."""
        in_flight = self.in_flight()
        chosen = {id_ for id_ in ids if self._may_be_retried(self.messages[id_]) and not in_flight[id_]}
        for message in (self.messages[id_] for id_ in chosen):
            if message.status == "failed" and message.key is not None and not self.failed_holds:
                self.reordered.add((message.account, message.key))
            message.status, message.attempts, message.waits = "pending", 0, "due"
            message.call_id = message.result_index = None
        return chosen

    def _may_be_retried(self, message: Message) -> bool:
        stuck = message.status == "failed" or (message.status == "pending" and message.waits == "held")
        return stuck and not message.expired


def _precedes(one: Message, other: Message) -> bool:
    """Whether the order of their key demands that ``one`` is accepted first."""
    return one.key is not None and (one.account, one.key) == (other.account, other.key) and one.id < other.id


def _pausing(answer: Answer) -> set[Fault]:
    """Faults for which the whole account waits, and so no message by itself.

    Index by index they pause it as well, unless a neighbour went through. A ban is then each message's own.
    """
    if isinstance(answer, Refused):
        return {answer.fault} & PAUSING
    faults = {result.fault for result in answer.results}
    return set() if None in faults else {Fault.CREDENTIALS, Fault.OURS} & faults


def _outcome(answer: Answer | None, count: int) -> str:
    """Of the whole call. A list in which every message is refused, and none for its own sake, is no partial success."""
    if answer is None:
        return "released"
    faults = set(faults_of(answer, count))
    if faults == {None}:
        return "ok"
    if isinstance(answer, Answered) and faults & {None, *REFUSING}:
        return "partial"
    return "unknown" if Fault.UNKNOWN in faults else "rejected"
