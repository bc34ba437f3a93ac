"""Finds the messages that cannot be read among many, by halves: an error says that there is one, but not which."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from relay.errors import RefusedError


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Messages that cannot be read: those that failed by name, and the accounts of those that a rule or
    trigger keeps as they are."""

    failed: tuple[int, ...] = ()
    accounts: frozenset[str] = frozenset()


def unreadable(ids: Sequence[int], read: Callable[[Sequence[int]], object]) -> Iterator[int]:
    """Those of ``ids`` for which ``read`` is refused. A culprit among n is found in about 2 * log2(n) reads."""
    try:
        read(ids)
    except RefusedError:
        if len(ids) == 1:
            yield ids[0]
            return
        middle = len(ids) // 2
        yield from unreadable(ids[:middle], read)
        yield from unreadable(ids[middle:], read)
