"""A list in stretches: where one ends, and where the next begins, towards the older lines and towards the newer ones.

Lines are never counted and never skipped over: a stretch begins at a position, the sort key of a line. So the tenth
costs what the first does, and what is inserted meanwhile moves nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")
Position = tuple[Any, ...]  # the sort key of a line: of plain values, so that it can stand in a link


@dataclass(frozen=True, slots=True)
class Cursor:
    """Lines beyond this position: older ones, or newer ones. Without a position: from the newest on."""

    position: Position | None = None
    newer: bool = False


NEWEST = Cursor()


@dataclass(frozen=True, slots=True)
class Stretch(Generic[T]):
    """``lines``: the newest first. ``older``, ``newer``: where the next stretch begins; None: there is none.

    ``looked_to``: the lines were looked for among the next ones only, down (or up) to this position, and there are
    more to look at.
    """

    lines: tuple[T, ...]
    older: Position | None
    newer: Position | None
    looked_to: Position | None = None


def cut(
    rows: Sequence[T], limit: int, cursor: Cursor, key: Callable[[T], Position], looked_to: Position | None = None
) -> Stretch[T]:
    """A stretch of ``rows``, which are in the order they were looked for, one more than ``limit`` if there are more.

    ``looked_to``: how far was looked, where that was not to the end.
    """
    lines, more = tuple(rows[:limit]), len(rows) > limit
    onward = key(lines[-1]) if more else looked_to
    back = (key(lines[0]) if lines else cursor.position) if cursor.position is not None else None
    unfinished = None if more else looked_to
    if cursor.newer:
        return Stretch(lines[::-1], older=back, newer=onward, looked_to=unfinished)
    return Stretch(lines, older=onward, newer=back, looked_to=unfinished)
