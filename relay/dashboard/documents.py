"""The same read models as JSON, for programs: ``/api`` before the path of a page.

Keys are an interface: they are only added to. Ids are strings, for JavaScript rounds large numbers; times are RFC 3339
with their offset; texts of others are read as their exact value, and printed do nothing. What went wrong is a document
too, with the status of the answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from datetime import datetime
from typing import Any

from relay.dashboard.languages import told
from relay.dashboard.visit import Page, position
from relay.reports import Stretch
from relay.showing import json_text

PREFIX = "/api"
_IDS = ("id", "head_id", "first_ids", "halves")


def is_wanted(path: str) -> bool:
    """Whether this path of the dashboard is a document's."""
    return path == PREFIX or path.startswith(f"{PREFIX}/")


def document(page: Page) -> str:
    """The read models of this page; of one that tells of trouble, the sentence in English."""
    if page.document is None:
        values = page.values
        wrong = {
            "error": told("en", values["key"], **values["given"]),
            "detail": values["detail"],
            "hint": values["hint"],
            **({"command": values["command"]} if values["command"] else {}),
        }
        return json_text(wrong)
    return json_text(_plain(page.document), default=_written)


def listed(found: Stretch[Any]) -> dict[str, Any]:
    """A stretch of a list: ``older`` and ``newer`` are what to ask for the next ones, null where there are none."""
    return {
        "items": found.lines,
        "older": position(found.older),
        "newer": position(found.newer),
        "looked_to": position(found.looked_to),
    }


def _plain(value: Any, name: str = "") -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, Mapping):
        return {key: _plain(item, str(key)) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, name) for item in value]
    return str(value) if isinstance(value, int) and (name in _IDS or name.endswith("_id")) else value


def _written(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no form in JSON")
