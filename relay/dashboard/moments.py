"""Times and spans on a page: in the viewer's zone, with UTC beside it; for a program in ``datetime``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from markupsafe import Markup

from relay.dashboard.viewer import Viewer
from relay.readable import Beyond


def time_tag(moment: datetime | None, viewer: Viewer) -> Markup | str:
    """To the second; ``-`` for none. A time beyond the years that Python knows stands as PostgreSQL wrote it."""
    if moment is None:
        return "-"
    if isinstance(moment, Beyond):
        return moment.written
    try:
        local, utc = viewer.local(moment), moment.astimezone(UTC)
    except OverflowError:
        return str(moment)
    shown = local.strftime("%Y-%m-%d %H:%M:%S")
    beside = utc.strftime("%H:%M:%S" if utc.date() == local.date() else "%Y-%m-%d %H:%M:%S")
    small = Markup("") if local.utcoffset() == timedelta(0) else Markup(" <small>{} UTC</small>").format(beside)
    return Markup('<time datetime="{}">{}{}</time>').format(utc.isoformat(timespec="milliseconds"), shown, small)


def span(seconds: float | None) -> str:
    """Two units at most: ``90 s``, ``12 min``, ``3 h 5 min``, ``2 d 4 h``."""
    if seconds is None:
        return "-"
    if seconds < 120:
        return f"{seconds:.3g} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, hours = int(seconds // 60), int(seconds // 3600)
    if minutes < 120:
        return f"{minutes} min"
    if hours < 48:
        return f"{hours} h {minutes % 60} min"
    return f"{hours // 24} d {hours % 24} h"
