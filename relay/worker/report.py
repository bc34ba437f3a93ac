"""What a run has done so far, counted where it is settled."""

from __future__ import annotations

from dataclasses import dataclass

from relay.events import CallSettled
from relay.store import Pause


@dataclass(slots=True)
class Report:
    """Calls settled and outcomes of messages; a message that needed three calls counts in each.

    ``left`` and ``pauses``: what was still pending, and why, when a drain could go no further without a person.
    """

    calls: int = 0
    done: int = 0
    retry: int = 0
    failed: int = 0
    unknown: int = 0
    lost_calls: int = 0
    left: int = 0
    pauses: tuple[Pause, ...] = ()

    def add(self, call: CallSettled) -> None:
        """Count one settled call; a released one was never made."""
        if call.outcome != "released":
            self.calls += 1
        self.done += call.done
        self.retry += call.retry
        self.failed += call.failed
        self.unknown += call.unknown
