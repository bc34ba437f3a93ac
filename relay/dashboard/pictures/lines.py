"""Lines: how long calls took, stretch by stretch; where no call was answered there is a gap."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from markupsafe import Markup

from relay.dashboard.pictures.paper import FOOT, HIGH, WIDE, paper, round_above, upper_edge, whole
from relay.reports import CallStretch


def latency_picture(found: Sequence[CallStretch], title: str, when: Callable[[datetime], Any]) -> Markup:
    """The half of the calls, and 95 of 100, took at most this many milliseconds."""
    most = round_above(max((one.most_ms or 0 for one in found), default=0))
    drawn = [upper_edge(f"{whole(most)} ms")]
    for name, values in (("most", [one.most_ms for one in found]), ("half", [one.half_ms for one in found])):
        drawn += _line(name, values, most)
    if found:
        drawn.append(Markup('<text x="0" y="{}">{}</text>').format(HIGH - 4, when(found[0].since)))
        drawn.append(
            Markup('<text x="{}" y="{}" text-anchor="end">{}</text>').format(WIDE, HIGH - 4, when(found[-1].until))
        )
    return paper(title, drawn)


def _line(name: str, values: Sequence[int | None], most: float) -> list[Markup]:
    step, runs = WIDE / max(1, len(values)), [list[str]()]
    for place, value in enumerate(values):
        if value is None:
            runs.append([])
            continue
        high = (HIGH - FOOT) * (1 - value / most)
        runs[-1] += [f"{place * step:.1f},{high:.1f}", f"{(place + 1) * step:.1f},{high:.1f}"]
    return [Markup('<polyline class="{}" points="{}"/>').format(name, " ".join(run)) for run in runs if run]
