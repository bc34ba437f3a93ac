"""Calls that may have been named in a commit whose acknowledgement was lost.

Nobody has begun them, and nobody would: left alone they would end as unknown when their leases lapse, although nothing
was sent. So the next claims look for them, by the nonces that were drawn for them, and give them back. They look for
as long as a lease runs: a commit that waits for a standby may come through later. As long as every commit is heard of,
there is nothing to look for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from relay.message import Batch


class Unheard:
    """The memory of one worker, for claims one after another."""

    def __init__(self, lease_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._lease_seconds = lease_seconds
        self._clock = clock
        self._until: dict[int, float] = {}  # by nonce

    def nonces(self) -> list[int]:
        """What to look for now."""
        now = self._clock()
        self._until = {nonce: until for nonce, until in self._until.items() if until > now}
        return list(self._until)

    def committing(self, batches: Iterable[Batch]) -> None:
        """These calls are about to be committed."""
        until = self._clock() + self._lease_seconds
        self._until |= {batch.nonce: until for batch in batches}

    def heard(self, batches: Iterable[Batch]) -> None:
        """These are in the worker's hands."""
        self.forget(batch.nonce for batch in batches)

    def forget(self, nonces: Iterable[int]) -> None:
        """Nothing is to be looked for under these nonces any more."""
        for nonce in nonces:
            self._until.pop(nonce, None)
