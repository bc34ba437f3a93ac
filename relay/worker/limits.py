"""What this process has learnt about how much the platform takes at the moment: calls, messages, bytes, time."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Hashable

from relay.message import Answer, Answered, Batch, Fault, Message, Scope
from relay.store import CallLimits
from relay.worker.pacing import FULL, Gate, after_ban, after_fault, after_success, allowed_calls, allowed_messages

_TOO_LARGE = 413
_SMALLEST_PORTION = 2  # slots: a claim costs two statements, whatever it takes
_NEWEST = 0.2  # how much of an average its newest value makes up


class Limits:
    """Starts at what the settings and the producer allow, follows the answers."""

    def __init__(
        self,
        *,
        slots: int,
        batch_size: int,
        max_bytes: int,
        rng: random.Random,
        destination: Callable[[Message], Hashable] | None = None,
        wire_size: Callable[[Message], int] | None = None,
    ) -> None:
        self.slots = slots
        self._batch_size = batch_size
        self._rng = rng
        self._gate = FULL
        self._claim_seconds = self._flight_seconds = 0.0  # averages
        self.max_bytes = max_bytes
        self._destination = destination
        self._wire_size = wire_size

    @property
    def calls(self) -> int:
        """How many calls may be in flight now."""
        return allowed_calls(self._gate, self.slots, time.monotonic())

    @property
    def messages(self) -> int:
        """How many messages a call may carry now."""
        return allowed_messages(self._gate, self._batch_size)

    def of_a_call(self) -> CallLimits:
        """How much a call may carry now."""
        return CallLimits(self.messages, self.max_bytes, self._destination, self._wire_size)

    def portion(self, free: int) -> int:
        """How many of the free slots the next claim is for: as many as come free while two claims are made.

        Calls that were claimed together end together. If the next claim took all their slots at once, the first of
        them would wait until the last one has its messages, round after round.
        """
        if not self._flight_seconds:
            return free
        coming = 2 * self.slots * self._claim_seconds / self._flight_seconds
        return min(free, max(_SMALLEST_PORTION, math.ceil(coming)))

    def claimed(self, seconds: float) -> None:
        """A claim that found something took so long."""
        self._claim_seconds += _NEWEST * (seconds - self._claim_seconds)

    def flown(self, seconds: float) -> None:
        """A call took so long, whoever made it."""
        self._flight_seconds += _NEWEST * (seconds - self._flight_seconds)

    def learn(self, batch: Batch, answer: Answer, seconds: float) -> None:
        """What this answer, ``seconds`` after it was asked for, says about how much the far end takes."""
        self.flown(seconds)
        if isinstance(answer, Answered):
            trouble = answer.is_trouble
            self._gate = self._after_fault() if trouble else after_success(self._gate, self.slots)
            return
        if answer.fault in (Fault.PROVIDER, Fault.UNKNOWN):
            self._gate = self._after_fault()
        elif answer.fault is Fault.THROTTLED and answer.scope is Scope.APP:
            self._gate = after_ban(self._gate)
        if answer.http_status == _TOO_LARGE and len(batch) > 1:
            # The size is not remembered beyond this process: a proxy that is corrected should not need a person here.
            self.max_bytes = min(self.max_bytes, sum(map(self._size, batch.messages)) // 2)

    @property
    def alike(self) -> bool:
        """Whether its far end groups and measures messages as the claim does by itself."""
        return self._destination is None and self._wire_size is None

    def _size(self, message: Message) -> int:
        try:
            return message.size_bytes if self._wire_size is None else int(self._wire_size(message))
        except Exception:  # a producer may be anybody's
            return self.max_bytes

    def _after_fault(self) -> Gate:
        return after_fault(self._gate, time.monotonic(), self._rng)
