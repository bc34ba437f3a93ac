"""What was read a moment ago, for whoever asks next: twenty open tabs cost the database one query.

One thread reads, the others wait for it. An error is nobody's answer, and the next one tries again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(slots=True)
class _Kept:
    lock: threading.Lock = field(default_factory=threading.Lock)
    read_at: float = float("-inf")
    seconds: float = 0.0  # that reading took
    value: Any = None


class Recent:
    """Values by name; the names are few, and ours."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: dict[str, _Kept] = {}
        self._lock = threading.Lock()

    def get(self, name: str, seconds: float, read: Callable[[], T], *, share: float = 0.0) -> T:
        """What ``read`` gave no longer than this ago, else what it gives now.

        ``share``: or no longer ago than so many times what reading took, where that is more.
        """
        with self._lock:
            kept = self._kept.setdefault(name, _Kept())
        with kept.lock:
            begun = self._clock()
            if begun >= kept.read_at + max(seconds, share * kept.seconds):
                kept.value = read()
                kept.read_at = self._clock()
                kept.seconds = kept.read_at - begun
            value: T = kept.value
            return value

    def forget(self, name: str) -> None:
        """It is read anew from now on; what somebody reads just now is waited for."""
        with self._lock:
            kept = self._kept.get(name)
        if kept is not None:
            with kept.lock:
                kept.read_at = float("-inf")
