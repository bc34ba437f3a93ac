"""When to try again: exponential with full jitter, as a function of values.

Full jitter spreads the load best (AWS Architecture Blog, "Exponential Backoff And Jitter", 2015): the delay is
uniform between nothing and a ceiling that doubles with each attempt. The result is a number of seconds; the database
adds it to its own ``now()``, so no host clock takes part.
"""

from __future__ import annotations

import random

_MAX_DOUBLINGS = 62  # beyond it only the ceiling matters, and 2.0 ** attempts would overflow for absurd counts


def ceiling_seconds(attempts: int, *, base_seconds: float, max_seconds: float) -> float:
    """The longest delay after the given number of attempts (1: after the first)."""
    doublings = min(max(attempts, 1) - 1, _MAX_DOUBLINGS)
    return min(max_seconds, base_seconds * 2.0**doublings)


def delay_seconds(attempts: int, *, base_seconds: float, max_seconds: float, rng: random.Random) -> float:
    """Seconds to wait after the given number of attempts: uniform in [0, ceiling]."""
    return rng.uniform(0.0, ceiling_seconds(attempts, base_seconds=base_seconds, max_seconds=max_seconds))
