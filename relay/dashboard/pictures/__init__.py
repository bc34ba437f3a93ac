"""Pictures as inline SVG, drawn by short functions of values. Colours come from the style sheet, by classes.

    bars.py        messages over time, stacked by what came of their calls
    lines.py       how long calls took over time, the half and 95 of 100
    timeline.py    one message: when it waited, was in a call, and ended

Each is ``role="img"`` with a title, and stands beside the table it was drawn from.
"""

from __future__ import annotations

from relay.dashboard.pictures.bars import ages_picture, outcomes_picture
from relay.dashboard.pictures.lines import latency_picture
from relay.dashboard.pictures.timeline import timeline_picture

PICTURES = {
    "ages_picture": ages_picture,
    "outcomes_picture": outcomes_picture,
    "latency_picture": latency_picture,
    "timeline_picture": timeline_picture,
}
