"""From a page to HTML: Jinja2 with everything escaped, and what steers a screen made visible.

Each expression of each template goes through ``_shown``: texts of strangers lose what turns a line round or hides
(see ``relay.showing``), and then Jinja2 escapes them for HTML. Only what our own functions made as ``Markup``
is left as it is. A variable that is not there is an error, not an empty place.

Nor does any text make a page large: the tables bound what applications and workers write, but not what was there
before, nor what their owner writes. Whatever an expression gives is cut, but for what the filter ``whole`` lets
through; a cell of a list is shorter (``brief``), and a fact that is cut says so (``parts.fact``).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from relay import __version__
from relay.dashboard.languages import TEXTS, told
from relay.dashboard.languages.causes_zh import told_in_chinese
from relay.dashboard.moments import lasting, span, time_tag
from relay.dashboard.pictures import PICTURES
from relay.dashboard.viewer import ZONES, Viewer
from relay.dashboard.visit import MOST_CHARACTERS, Page, PageVisit, position
from relay.explanations import explain
from relay.reasons import of_ledger, of_pause
from relay.showing import escaped

MOST_IN_A_CELL = 300  # characters
MOST_SHOWN = 2_000  # of anything else; the relay keeps a thousand of what the platform says
MOST_OF_A_TEXT = 130_000  # of what a message says, which has 122,880


def _shown(value: Any) -> Any:
    if isinstance(value, Markup) or not isinstance(value, str):
        return "-" if value is None else value
    return escaped(_cut(value, MOST_SHOWN), keep="\n")


def _cut(value: Any, most: int) -> Any:
    return value[:most] + "…" if isinstance(value, str) and len(value) > most else value


def _brief(value: Any) -> Any:
    """For a cell of a list: a name may be as long as whoever gave it liked."""
    return _cut(value, MOST_IN_A_CELL)


def _whole(value: str) -> Markup:
    """For what is bounded elsewhere: the texts of a message, SQL and commands that are copied."""
    return escape(escaped(_cut(value, MOST_OF_A_TEXT), keep="\n"))


def _exactly(value: str) -> Markup:
    """For a field of a form, which gives back what it was given."""
    return escape(value)


def _can_be_asked(value: Any) -> bool:
    """Whether a page takes this text in its address: a link with a longer one would lead to a refusal."""
    return not isinstance(value, str) or len(value) <= MOST_CHARACTERS


def _is_path(code: str) -> bool:
    """Whether a browser would take this for the way to another page."""
    return any(part in ("", ".", "..") for part in code.replace("\\", "/").split("/"))


def templates() -> Environment:
    """The templates of the package; made once for an application."""
    made = Environment(
        loader=PackageLoader("relay.dashboard"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals.update(
        meaning=told_in_chinese,
        version=__version__,
        position=position,
        most_shown=MOST_SHOWN,
        most_of_a_text=MOST_OF_A_TEXT,
        zones=ZONES,
        **PICTURES,
    )
    made.filters.update(brief=_brief, exactly=_exactly, whole=_whole)
    made.filters["count"] = lambda number: f"{number:,}"
    made.tests["a_path"] = _is_path
    made.tests["ascii"] = str.isascii
    made.tests["to_be_asked"] = _can_be_asked
    return made


def rendered(environment: Environment, visit: PageVisit, page: Page, verbs: frozenset[str] | None = None) -> str:
    """The whole document. ``verbs``: what this person may do on it; None: nobody asked, as of trouble.

    ``interval`` is asked at its end, when it is known how long the rest of it took.
    """
    begun = time.monotonic()

    def interval() -> float | None:
        return visit.answers.interval(page.every, time.monotonic() - begun) if page.every else None

    values = {
        **spoken(visit.viewer),
        "why_paused": lambda reason, code: why_paused(reason, code, visit) if visit.viewer.language == "zh" else None,
        "why_done": lambda reason, action: of_ledger(action, reason) if visit.viewer.language == "zh" else None,
        "visit": visit,
        "link": lambda path, query=None, /, **more: escape(visit.link(path, query, **more)),
        "commands": page.commands,
        "sql": page.sql,
        "name": visit.viewer.name,
        "verbs": verbs or frozenset(),
        "acts": visit.acts if verbs is None else bool(verbs),
        "can_log_out": visit.can_log_out,
        "here": visit.here(),
        "interval": interval,
        "at_most": page.at_most,
        "as_of": visit.answers.at,
        **page.values,
    }
    return environment.get_template(page.template).render(values)


def spoken(viewer: Viewer) -> Mapping[str, Any]:
    """What speaks the viewer's language."""
    language = viewer.language
    return {
        "viewer": viewer,
        "t": lambda key, **values: told(language, key, **{name: _brief(value) for name, value in values.items()}),
        "when": lambda moment: time_tag(moment, viewer),
        "span": lambda seconds: span(seconds, language),
        "did": lambda action: TEXTS[language].get(f"did.{action}", action),
        "lasting": lambda written: lasting(written, language),
        "word": lambda outcome: told(language, f"call.{outcome}"),
        "clock": lambda moment: viewer.local(moment).strftime("%H:%M"),
        "day": lambda moment: viewer.local(moment).strftime("%m-%d"),
    }


def why_paused(reason: str, code: str | None, visit: PageVisit) -> str | None:
    """The reason of a pause in Chinese, with what its code means; None where a person wrote it."""
    found = of_pause(reason)
    if found is None:
        return None
    known = explain(code, *visit.explainers) if code and found.explained else None
    meaning = known.meaning_zh.rstrip("。") if known and known.known else ""
    return found.zh + (f"：{meaning}" if meaning else "")
