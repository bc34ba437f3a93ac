"""Times and spans on a page: in the viewer's zone, with UTC beside it, spans in the viewer's language;
for a program in ``datetime``.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from markupsafe import Markup

from relay.dashboard.languages import told
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


def span(seconds: float | None, language: str) -> str:
    """Two units at most: ``90 s``, ``12 min``, ``3 h 5 min``, ``2 d 4 h``, ``4 h``."""
    if seconds is None:
        return "-"
    if seconds < 120:
        return lasting(f"{seconds:.3g} s" if seconds < 10 else f"{seconds:.0f} s", language)
    minutes, hours = int(seconds // 60), int(seconds // 3600)
    if minutes < 120:
        return lasting(f"{minutes} min", language)
    whole, rest = (f"{hours} h", f" {minutes % 60} min") if hours < 48 else (f"{hours // 24} d", f" {hours % 24} h")
    return lasting(whole + ("" if rest.startswith(" 0 ") else rest), language)


def lasting(written: str, language: str) -> str:
    """``3 h 5 min`` in that language: numbers and the units ``s``, ``min``, ``h`` and ``d`` in turn."""
    words = written.split()
    return " ".join(
        told(language, f"unit.{unit}", number=number) for number, unit in zip(words[::2], words[1::2], strict=True)
    )
