"""What a code of the platform means, in two languages, and what this client makes of it.

The texts are in ``explanations.toml``. Whose fault a code is, and whom it concerns, is never written down: it is
classified here by the same functions as an answer.
"""

from __future__ import annotations

import tomllib
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files

from relay.explained import Explained
from relay.message import Fault, Refused, Result
from relay.tmc.codes import (
    classify_call,
    classify_result,
    classify_status,
    fresh_time_seconds,
    lacks_permission,
    quota_seconds,
)

_STATUS = "relay.http_"
_ANY_CODE = "15"  # says nothing itself: the sub code decides
_UNKNOWN = {
    "en": "Not documented; the relay judges it by its beginning.",
    "zh": "未收录的错误码，按前缀处理。",
    "ask": "the platform, with the request id that relay show tells",
    "ask_zh": "平台，并提供 relay show 给出的请求编号",
}


def explain(code: str) -> Explained:
    """Any text is explained, in lower case. A code of the platform may come with a call or with one message of it."""
    name, entry = _entry(code)
    return Explained(
        meaning=entry["en"],
        meaning_zh=entry["zh"],
        ask=entry["ask"],
        ask_zh=entry["ask_zh"],
        known=bool(name) and not name.endswith(".*"),
        call=_of_call(code, entry),
        result=_of_message(code),
        lasts="" if quota_seconds(code, 0) is None else "until midnight in Beijing",
        lasts_zh="" if quota_seconds(code, 0) is None else "到北京时间零点为止",
        lacks_permission=lacks_permission(code),
    )


@cache
def entries() -> dict[str, dict[str, str]]:
    """Code, or a pattern of codes, -> its texts, the special before the general."""
    found: dict[str, dict[str, str]] = tomllib.loads(
        files("relay").joinpath("tmc", "explanations.toml").read_text(encoding="utf-8")
    )
    return found


def _entry(code: str) -> tuple[str, dict[str, str]]:
    plain = code.partition(":")[0].removesuffix("-tmall")
    for name in (code, plain):
        if name in entries():
            return name, entries()[name]
    return next((item for item in entries().items() if fnmatchcase(plain, item[0])), ("", _UNKNOWN))


def _of_call(code: str, entry: dict[str, str]) -> Refused | None:
    if code.startswith("relay."):
        status = code.removeprefix(_STATUS)
        if not (code.startswith(_STATUS) and status.isdecimal()):
            return None
        fault, scope = classify_status(int(status))
    elif code.isdecimal():
        fault, scope, _ = classify_call(code, "", "")
    else:
        fault, scope, _ = classify_call(entry.get("code", _ANY_CODE), code, "")
    seconds = fresh_time_seconds(code) if fault is Fault.OURS else None
    return Refused(fault, code, scope=scope, pause_seconds=seconds)


def _of_message(code: str) -> Result | None:
    if code.startswith("relay."):
        return None
    fault, _, _ = classify_result(code, "")
    return Result(fault, code, pause_seconds=fresh_time_seconds(code) if fault is Fault.OURS else None)
