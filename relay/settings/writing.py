"""Values as TOML, for a file that :func:`relay.settings.load` reads back. Python's own library only reads it.

Texts are pure ASCII, so nothing in them steers a terminal.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from datetime import date, datetime, time
from pathlib import Path

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def toml_value(value: object) -> str:
    """Raises TypeError for what TOML has no form for: None is an option that is left out."""
    match value:
        case bool():
            return str(value).lower()
        case int():
            return str(value)
        case float():
            return repr(value) if math.isfinite(value) else str(value)
        case str() | Path():
            return _text(str(value))
        case datetime() | date() | time():
            return value.isoformat()
        case list() | tuple():
            return f"[{', '.join(map(toml_value, value))}]"
        case Mapping():
            return f"{{{', '.join(f'{toml_key(key)} = {toml_value(item)}' for key, item in value.items())}}}"
    raise TypeError(f"{type(value).__name__} has no form in TOML")


def toml_key(key: object) -> str:
    """Bare where it may be, else in quotes."""
    return str(key) if _BARE.fullmatch(str(key)) else _text(str(key))


def _text(text: str) -> str:
    """What JSON escapes TOML escapes alike, but for pairs of surrogates and the one control character JSON leaves."""
    written = json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
    return "".join(
        sign if sign.isascii() else f"\\u{ord(sign):04x}" if ord(sign) < 0x10000 else f"\\U{ord(sign):08x}"
        for sign in written
    )
