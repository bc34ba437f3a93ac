"""Who looks at a page: the language and the zone that person wants, and the name where one is known.

A link sets both (``?lang=zh``, ``?zone=Asia/Shanghai``), a cookie keeps them; without them the browser's languages
decide, and the setting of the zone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

LANGUAGES = ("en", "zh")
LANGUAGE_COOKIE, ZONE_COOKIE = "relay_lang", "relay_zone"
ZONES = ("UTC", "Asia/Shanghai", "Asia/Hong_Kong", "Asia/Singapore", "Europe/Berlin", "America/Los_Angeles")


@dataclass(frozen=True, slots=True)
class Viewer:
    """``name`` None: nobody has to say who it is."""

    language: str
    zone: ZoneInfo
    name: str | None

    def local(self, moment: datetime) -> datetime:
        """This moment in the viewer's zone. OverflowError at the ends of time."""
        return moment.astimezone(self.zone)

    def moment(self, written: str) -> datetime:
        """What a field for a date and a time gives, in the viewer's zone. ValueError or OverflowError: none."""
        read = datetime.fromisoformat(written)
        return read.astimezone(self.zone) if read.tzinfo else read.replace(tzinfo=self.zone)


def viewer(cookies: Mapping[str, str], accept_language: str, zone: str, name: str | None) -> Viewer:
    """``zone``: that of the settings, for whoever has chosen none."""
    language = cookies.get(LANGUAGE_COOKIE, "")
    chosen = language if language in LANGUAGES else preferred(accept_language)
    return Viewer(chosen, known_zone(cookies.get(ZONE_COOKIE, "")) or known_zone(zone) or ZoneInfo("UTC"), name)


def preferred(accept_language: str) -> str:
    """The one of LANGUAGES that a browser wants most: ``zh-CN,zh;q=0.9,en;q=0.8``."""
    wanted = []
    for place, part in enumerate(accept_language[:500].split(",")):
        tag, _, quality = part.strip().partition(";q=")
        try:
            weight = float(quality or 1)
        except ValueError:
            weight = 0.0
        wanted.append((-weight, place, tag.lower().partition("-")[0]))
    return next((tag for weight, _, tag in sorted(wanted) if tag in LANGUAGES and weight < 0), LANGUAGES[0])


def known_zone(name: str) -> ZoneInfo | None:
    """None where there is no zone of this name."""
    try:
        return ZoneInfo(name) if name and len(name) < 64 else None
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None
