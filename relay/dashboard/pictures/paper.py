"""What the pictures have in common: the paper they are drawn on, and round numbers for its edge."""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil, floor, log10

from markupsafe import Markup

WIDE, HIGH, FOOT = 640, 160, 18  # in units of the drawing; the page scales it


def paper(title: str, drawn: Iterable[Markup], *, high: int = HIGH) -> Markup:
    """The picture with its title, as wide as the page lets it be."""
    return Markup('<svg class="picture" role="img" aria-label="{}" viewBox="0 0 {} {}">{}</svg>').format(
        title, WIDE, high, Markup("").join(drawn)
    )


def round_above(most: float) -> float:
    """The next of 1, 2, 5, 10, 20, ...: the value of the upper edge."""
    if most <= 0:
        return 1.0
    step = 10.0 ** floor(log10(most))
    return next(step * times for times in (1, 2, 5, 10) if step * times >= most * 0.999999)


def upper_edge(said: str) -> Markup:
    """The line at the top, and what it stands for."""
    return Markup('<line class="edge" x1="0" y1="1" x2="{}" y2="1"/><text class="edge" x="4" y="13">{}</text>').format(
        WIDE, said
    )


def whole(number: float) -> str:
    """A number of the edge, without needless digits."""
    return f"{ceil(number):,}" if number >= 1 else f"{number:g}"
