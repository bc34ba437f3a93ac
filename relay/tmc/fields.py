"""What one field of an answer says, whichever way it is written: number or text, real boolean or text.

Whatever leaves here is fit to be stored and logged: one line, bounded, without control characters and without half
characters (a NUL or a lone surrogate, both possible in JSON, would make PostgreSQL refuse the whole settlement).
"""

from __future__ import annotations

import re
from functools import lru_cache

MAX_CODE = 128
MAX_MESSAGE = 500
OURS = "relay."  # how the codes begin by which the relay says what the platform did not say

_UNPRINTABLE = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u2028\u2029]+")


def truth(value: object) -> bool | None:
    """True and False for the booleans and their names in any case; None for everything else, numbers included."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return {"true": True, "false": False}.get(value.strip().lower())
    return None


def code_text(value: object) -> str:
    """A code as one short word; empty when there is none. One that looks like the relay's own bears whose it is."""
    word = word_text(value)
    return f"platform:{word}"[:MAX_CODE] if word.startswith(OURS) else word


def word_text(value: object) -> str:
    """Number or text as one short word; empty when there is none."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    text = str(value)
    return _short_code(text) if len(text) <= MAX_CODE else one_line(_without_content(text))[:MAX_CODE]


@lru_cache(maxsize=256)  # fifty results of a call have the same few codes
def _short_code(text: str) -> str:
    return one_line(_without_content(text))


def message_text(*values: object) -> str | None:
    """The texts among ``values`` as one line, joined by a colon; None when there are none."""
    lines = [one_line(_without_content(value)) for value in values if isinstance(value, str)]
    return ": ".join(filter(None, lines))[:MAX_MESSAGE] or None


def one_line(text: str) -> str:
    """Runs of blanks and control characters become one blank, half characters a question mark."""
    return _UNPRINTABLE.sub(" ", text).strip().encode("utf-8", "replace").decode()


def _without_content(text: str) -> str:
    """Cut at the first brace: what a platform echoes of a content must not reach a log."""
    return text.partition("{")[0]
