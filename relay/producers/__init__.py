"""The seam: a producer takes a batch and answers one result per index, or one typed refusal of the whole batch.

To add one, write a class like ``stdout.py``, name it in the entry-point group ``relay.producers`` of your package and
set ``RELAY_PRODUCER`` to that name. The contract that every producer keeps:

- ``factory(config)`` does nothing yet; ``open`` and ``close`` may be called twice, ``close`` also unopened;
- ``produce`` may run many times at once, and never raises for what the platform or the network does: that is a
  ``Refused``, with ``Fault.UNKNOWN`` where nobody can tell whether something was accepted;
- a class with ``needs_credentials = True`` is given no batch of an account that has none: that account is paused;
- cancelling ``produce`` passes through; the caller then knows that it does not know. A producer that is certain that
  nothing was sent yet says so by raising ``NotSent``, and the messages are free again at once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Protocol, cast

from relay.credential import Credential
from relay.errors import ConfigurationError
from relay.message import Answer, Batch

GROUP = "relay.producers"

# Found even where the package runs without its metadata, and not to be shadowed by another package's entry point.
_BUILT_IN = {
    "stdout": "relay.producers.stdout:StdoutProducer",
    "tmc": "relay.producers.tmc:TmcProducer",
}


class NotSent(asyncio.CancelledError):
    """``produce`` was cancelled before it had begun to send: nothing can have been accepted."""


class Producer(Protocol):
    """``max_bytes`` bounds the sum of ``Message.size_bytes`` of a batch; a single larger message is still taken."""

    max_batch: int
    max_bytes: int

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def produce(self, batch: Batch) -> Answer: ...


@dataclass(frozen=True, slots=True)
class ProducerConfig:
    """All that a producer is told. One that needs more brings its own settings.

    ``credentials`` gives the credential of an account as it is now, None where the account is unknown;
    ``timeout_seconds`` is for a whole call; ``now`` gives the seconds since the epoch to sign with;
    ``sign_method``, ``response_format`` and ``simplify`` are the platform's.
    """

    url: str
    sign_method: str
    response_format: str
    simplify: bool
    timeout_seconds: float
    batch_size: int
    credentials: Callable[[str], Credential | None]
    now: Callable[[], float] = time.time


ProducerFactory = Callable[[ProducerConfig], Producer]


def load(name: str) -> ProducerFactory:
    """The factory registered as ``name``. Raises ConfigurationError where there is none, or it cannot be imported."""
    known = {point.name: point for point in entry_points(group=GROUP)}
    known |= {built_in: EntryPoint(built_in, target, GROUP) for built_in, target in _BUILT_IN.items()}
    if name not in known:
        raise ConfigurationError(f"there is no producer {name!r}", f"known producers: {', '.join(sorted(known))}")
    try:
        return cast(ProducerFactory, known[name].load())
    except (ImportError, AttributeError) as error:
        hint = f"install what {known[name].value} needs: {error}"
        raise ConfigurationError(f"the producer {name!r} cannot be loaded", hint) from error
