"""Who drains the table. Each module has one function, ``prepare(job)``: it connects and gives back what is timed.

relay.py    the worker of this project, complete, with a null producer or the real one
bare.py     what a good engineer writes in an afternoon with psycopg and httpx: a lease, batches, threads; nothing else
naive.py    what most people write first: fifty mapped rows, one POST, commit, again; naive_own_clock.py: the same
            with Python's clock, which saves statements
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

# Nobody's: the platform here does not look at them, but signing costs what it costs.
APP_KEY, APP_SECRET, SESSION = "12345678", "0123456789abcdef0123456789abcdef", "6100000000000000000000000000000000"


@dataclass(frozen=True, slots=True)
class Job:
    """``platform_url`` None: a null producer, which accepts everything at once without any I/O."""

    database_url: str
    platform_url: str | None = None
    in_flight: int = 8
    batch_size: int = 50  # the others always take fifty
    noting: bool = False  # the relay notes which messages were accepted; the others cannot


@dataclass(frozen=True, slots=True)
class Tally:
    """What a contender counted itself."""

    statements: int = 0
    accepted: Sequence[int] = ()  # ids of messages, where they were to be noted


Drain = Callable[[], Tally]
