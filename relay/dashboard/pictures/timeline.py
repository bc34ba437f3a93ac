"""One message on a line of time: its insert, its calls from claim to answer, and its end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from markupsafe import Markup

from relay.dashboard.pictures.paper import WIDE, paper

_HIGH, _LANE = 56, 20
MOST_CALLS = 60


def timeline_picture(
    created_at: datetime, end: datetime, calls: Sequence[Any], title: str, came: Callable[[Any], str]
) -> Markup:
    """``came``: the class that colours a call. Drawn are the last MOST_CALLS; the table has all."""
    length = max((end - created_at).total_seconds(), 0.001)

    def place(moment: datetime) -> float:
        return min(1.0, max(0.0, (moment - created_at).total_seconds() / length)) * (WIDE - 8) + 4

    drawn = [
        Markup('<line class="edge" x1="4" y1="{0}" x2="{1}" y2="{0}"/>').format(_LANE, WIDE - 4),
        Markup('<circle class="inserted" cx="4" cy="{}" r="4"/>').format(_LANE),
    ]
    for call in calls[-MOST_CALLS:]:
        begun, over = place(call.claimed_at), place(call.settled_at or end)
        drawn.append(
            Markup('<rect class="{}" x="{:.1f}" y="{}" width="{:.1f}" height="24"><title>{}</title></rect>').format(
                came(call), begun, _LANE - 12, max(4.0, over - begun), call.id
            )
        )
    return paper(title, drawn, high=_HIGH)
