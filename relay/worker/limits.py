"""What this process has learnt about how much the platform takes at the moment: calls, messages, bytes."""

from __future__ import annotations

import random
import time

from relay.message import Answer, Answered, Batch, Fault, Scope
from relay.pacing import FULL, after_ban, after_fault, after_success, allowed_calls, allowed_messages

_TOO_LARGE = 413


class Limits:
    """Starts at what the settings and the producer allow, follows the answers."""

    def __init__(self, *, slots: int, batch_size: int, max_bytes: int, rng: random.Random) -> None:
        self._slots = slots
        self._batch_size = batch_size
        self._rng = rng
        self._gate = FULL
        self.max_bytes = max_bytes

    @property
    def calls(self) -> int:
        """How many calls may be in flight now."""
        return allowed_calls(self._gate, self._slots, time.monotonic())

    @property
    def messages(self) -> int:
        """How many messages a call may carry now."""
        return allowed_messages(self._gate, self._batch_size)

    def learn(self, batch: Batch, answer: Answer) -> None:
        if isinstance(answer, Answered):
            self._gate = after_success(self._gate, self._slots)
            return
        if answer.fault in (Fault.PROVIDER, Fault.UNKNOWN):
            self._gate = after_fault(self._gate, time.monotonic(), self._rng)
        elif answer.fault is Fault.THROTTLED and answer.scope is Scope.APP:
            self._gate = after_ban(self._gate)
        if answer.http_status == _TOO_LARGE and len(batch) > 1:
            # The size is not remembered beyond this process: a proxy that is corrected should not need a person here.
            self.max_bytes = min(self.max_bytes, sum(message.size_bytes for message in batch.messages) // 2)
