"""The seam: a producer takes a batch and answers one result per index, or one typed refusal of the whole batch.

To add one, write a class like ``stdout.py``, name it in the entry-point group ``relay.producers`` of your package and
set ``RELAY_PRODUCER`` to that name; docs/producers.md has a whole one. The contract that every producer keeps:

- ``factory(context)`` does nothing yet; ``open`` and ``close`` may be called twice, ``close`` also unopened;
- ``produce`` may run many times at once, and never raises for what the platform or the network does: that is a
  ``Refused``, with ``Fault.UNKNOWN`` where nobody can tell whether something was accepted;
- a class with ``needs_credentials = True`` is given no batch of an account that has none: that account is paused;
- a class with ``explain(code)``, a static method, says what a code of its far end means (``relay.explained``);
- one with ``destination`` or ``wire_size`` says what goes together in a call: see ``Grouping`` and ``Measuring``;
- one with ``probe`` is asked by ``relay check``: see ``Probing``;
- a class with ``Options`` (a ``ProducerOptions``) is told options of its own, read and checked before it is made;
- cancelling ``produce`` passes through; the caller then knows that it does not know. A producer that is certain that
  nothing was sent yet says so by raising ``NotSent``, and the messages are free again at once (``InTurn`` does, for
  what blocks).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from typing import Any, Generic, Protocol, TypeVar, cast, runtime_checkable

from relay.credential import Credential
from relay.errors import ConfigurationError, needs
from relay.findings import Finding
from relay.message import Answer, Batch, Message

with needs("worker", "relay.producers"):
    from relay.producers.in_turn import InTurn, NotSent
    from relay.producers.options import BatchSize, ProducerOptions, Secret, Timeout
    from relay.wording import nearest

__all__ = [
    "BUILT_IN",
    "GROUP",
    "BatchSize",
    "Grouping",
    "InTurn",
    "Measuring",
    "NotSent",
    "Probing",
    "Producer",
    "ProducerContext",
    "ProducerFactory",
    "ProducerOptions",
    "Secret",
    "Timeout",
    "known_names",
    "load",
    "options_kind",
]

GROUP = "relay.producers"

OptionsT = TypeVar("OptionsT", bound=ProducerOptions, covariant=True)

# The one list of those in this package: a test for each follows from it. They are found even where the package runs
# without its metadata, and are not to be shadowed by another package's entry point.
BUILT_IN = {
    "stdout": "relay.producers.stdout:StdoutProducer",
    "tmc": "relay.producers.tmc:TmcProducer",
}


class Producer(Protocol):
    """``max_bytes`` bounds the sum of ``Message.size_bytes`` of a batch; a single larger message is still taken.

    ``max_batch`` is what its far end takes in a call. RELAY_BATCH_SIZE bounds it further, or an option ``batch_size``
    of the producer's own, which alone may be more than 50.
    """

    max_batch: int
    max_bytes: int

    async def open(self) -> None:
        """Get ready; may be called twice. Raises ConfigurationError for what is wrong before anything is sent."""
        ...

    async def close(self) -> None:
        """Give everything back; may be called twice, and also unopened."""
        ...

    async def produce(self, batch: Batch) -> Answer:
        """Send one call: a result for each message in the order of the batch, or one refusal for all.

        Whatever it raises means that nobody knows what was accepted; ``NotSent``, when cancelled, that nothing was.
        """
        ...


@runtime_checkable
class Probing(Protocol):
    """A producer that can ask its far end about an account without sending a message: ``relay check`` tells what.

    The sentence continues "the platform": "accepts key and secret of the account shop". No secret is in it.
    """

    async def open(self) -> None:
        """As of a producer."""
        ...

    async def close(self) -> None:
        """As of a producer."""
        ...

    async def probe(self, account: str) -> Finding:
        """What the far end says of this account."""
        ...


@runtime_checkable
class Grouping(Protocol):
    """A producer whose calls go to different places, of one account: each is given messages of one destination."""

    def destination(self, message: Message) -> Hashable:
        """What messages that may go together have in common. Asked for each message of a claim, in another thread: a
        function of the message and the options, quick, without I/O.
        """
        ...


@runtime_checkable
class Measuring(Protocol):
    """A producer that says how large a message is on its wire: ``max_bytes`` bounds the sum of these."""

    def wire_size(self, message: Message) -> int:
        """In the unit of its ``max_bytes``; asked as ``Grouping.destination`` is."""
        ...


@dataclass(frozen=True, slots=True)
class ProducerContext(Generic[OptionsT]):
    """All that a producer is told.

    ``options`` are its own, of the class that it names as ``Options``. ``credentials`` gives the credential of an
    account as it is now, None where the account is unknown. ``timeout_seconds`` is for a whole call, the option of that
    name where there is one: no call may go on for longer. ``now`` gives the seconds since the epoch by the database's
    clock, to sign with.
    """

    options: OptionsT
    credentials: Callable[[str], Credential | None] = lambda _account: None
    timeout_seconds: float = 15.0
    now: Callable[[], float] = time.time


ProducerFactory = Callable[[ProducerContext[Any]], Producer]


def known_names() -> list[str]:
    """The producers that are installed, of this package and of others."""
    return sorted(_points())


def load(name: str) -> ProducerFactory:
    """The factory registered as ``name``. Raises ConfigurationError where there is none, or it cannot be imported."""
    known = _points()
    if name not in known:
        near = nearest(name, known)
        raise ConfigurationError(f"There is no producer {name!r}{near}", f"Known producers: {', '.join(sorted(known))}")
    try:
        return cast(ProducerFactory, known[name].load())
    except (ImportError, AttributeError) as error:
        hint = f"install what {known[name].value} needs: {error}"
        raise ConfigurationError(f"The producer {name!r} cannot be loaded", hint) from error


def options_kind(name: str) -> type[ProducerOptions]:
    """The class of the options of the producer registered as ``name``; one without options where it names none."""
    kind = getattr(load(name), "Options", ProducerOptions)
    if not (isinstance(kind, type) and issubclass(kind, ProducerOptions)):
        raise ConfigurationError(
            f"The producer {name!r} cannot be told options: its Options are no ProducerOptions",
            "Derive them from relay.producers.ProducerOptions: docs/producers.md",
        )
    return kind


def _points() -> Mapping[str, EntryPoint]:
    return _found(entry_points, tuple(sys.path))


@cache
def _found(asked: Callable[..., EntryPoints], path: tuple[str, ...]) -> Mapping[str, EntryPoint]:
    """To ask reads the metadata of all that is installed on this path; a worker needs the answer many times."""
    known = {point.name: point for point in asked(group=GROUP)}
    return known | {built_in: EntryPoint(built_in, target, GROUP) for built_in, target in BUILT_IN.items()}
