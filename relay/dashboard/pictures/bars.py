"""Bars: messages over time, stacked by what came of their calls; and how long those that are due have waited."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any

from markupsafe import Markup

from relay.dashboard.pictures.paper import FOOT, HIGH, WIDE, paper, round_above, upper_edge, whole
from relay.reports import OUTCOMES, CallStretch

_BAR = Markup('<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"><title>{}</title></rect>')


def outcomes_picture(
    found: Sequence[CallStretch], title: str, told: Callable[[str], str], when: Callable[[datetime], Any]
) -> Markup:
    """``told`` names an outcome, ``when`` the beginning of a stretch, as text."""
    most = round_above(max((one.all_messages for one in found), default=0))
    return paper(title, [upper_edge(whole(most)), *_stacks(found, most, told, when)])


def ages_picture(found: Sequence[int], names: Sequence[str], title: str) -> Markup:
    """One bar for each age, the youngest first; no axis of time."""
    most = round_above(max(found, default=0))
    step = WIDE / max(1, len(found))
    drawn = [upper_edge(whole(most))]
    for place, (count, name) in enumerate(zip(found, names, strict=True)):
        high = (HIGH - FOOT) * count / most
        drawn.append(
            _BAR.format("due", place * step + 4, HIGH - FOOT - high, step - 8, high, f"{name} · {count:,}")
            + Markup('<text x="{:.1f}" y="{}" text-anchor="middle">{}</text>').format(
                (place + 0.5) * step, HIGH - 4, name
            )
        )
    return paper(title, drawn)


def _stacks(
    found: Sequence[CallStretch], most: float, told: Callable[[str], str], when: Callable[[datetime], Any]
) -> Iterator[Markup]:
    step = WIDE / max(1, len(found))
    for place, one in enumerate(found):
        bottom = float(HIGH - FOOT)
        for outcome in OUTCOMES:
            if count := one.messages[outcome]:
                high = (HIGH - FOOT) * count / most
                bottom -= high
                said = f"{when(one.since)} {told(outcome)} · {count:,}"
                yield _BAR.format(outcome, place * step, bottom, max(1.0, step - 1), high, said)
    if found:
        yield Markup('<text x="0" y="{}">{}</text>').format(HIGH - 4, when(found[0].since))
        yield Markup('<text x="{}" y="{}" text-anchor="end">{}</text>').format(WIDE, HIGH - 4, when(found[-1].until))
