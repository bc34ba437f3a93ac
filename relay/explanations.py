"""What a code means, in two languages, and what the relay makes of it.

The texts are in ``explanations.toml``. What the relay does is never written down: the code is classified and settled
here by the same functions as in a worker, for a call of two messages, and what comes out is put into words.
"""

from __future__ import annotations

import random
import tomllib
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files

from relay.message import ACCEPTED, Answer, Answered, Batch, Fault, Message, Outcome, Refused, Result, Scope
from relay.outcomes import Policy, Settlement, decide
from relay.tmc.codes import classify_call, classify_result, classify_status, quota_seconds

_OURS = "relay."
_STATUS = "relay.http_"
_ANY_CODE = "15"  # says nothing itself: the sub code decides
_BATCH = Batch(1, "default", (Message(1, "topic", "{}"), Message(2, "topic", "{}")))
_UNKNOWN = {
    "en": "Not documented; the relay judges it by its beginning.",
    "zh": "未收录的错误码，按前缀处理。",
    "ask": "the platform, with the request id that relay show tells",
}


@dataclass(frozen=True, slots=True)
class Consequence:
    """What follows where the code is the reason for a whole call, or for one message of it.

    ``concerns``: ``account`` or ``app``, None for one message. ``pauses``: whether nothing more is claimed meanwhile.
    """

    fault: Fault
    concerns: Scope | None
    retried: bool
    pays_attempt: bool
    pauses: bool
    sentence: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """``known`` is False where only the beginning of the code says anything."""

    code: str
    known: bool
    meaning: str
    meaning_zh: str
    ask: str
    call: Consequence | None
    message: Consequence | None


def explain(code: str) -> Explanation:
    """Any text is explained. A code of the platform may come with a call or with one message of it."""
    code = code.strip().lower()
    name, entry = _entry(code)
    return Explanation(
        code=code,
        known=bool(name) and not name.endswith(".*"),
        meaning=entry["en"],
        meaning_zh=entry["zh"],
        ask=entry["ask"],
        call=_of_call(code, entry),
        message=_of_message(code, entry),
    )


@cache
def entries() -> dict[str, dict[str, str]]:
    """Code, or a pattern of codes, -> its texts, the special before the general."""
    found: dict[str, dict[str, str]] = tomllib.loads(
        files("relay").joinpath("explanations.toml").read_text(encoding="utf-8")
    )
    return found


def _entry(code: str) -> tuple[str, dict[str, str]]:
    plain = code.partition(":")[0].removesuffix("-tmall")
    for name in (code, plain):
        if name in entries():
            return name, entries()[name]
    return next((item for item in entries().items() if fnmatchcase(plain, item[0])), ("", _UNKNOWN))


def _of_call(code: str, entry: dict[str, str]) -> Consequence | None:
    if code.startswith(_OURS):
        if entry.get("of") == "index":
            return None
        fault, scope = _status(code) or (_named_fault(entry), Scope(entry.get("scope", "account")))
    elif code.isdecimal():
        fault, scope, _ = classify_call(code, "", "")
    else:
        fault, scope, _ = classify_call(entry.get("code", _ANY_CODE), code, "")
    if fault is None:
        return None
    refused = Refused(fault, code, scope=scope, app_key="app key")
    return _consequence(fault, scope, code, refused)


def _of_message(code: str, entry: dict[str, str]) -> Consequence | None:
    if code.startswith(_OURS):
        fault = _named_fault(entry) if entry.get("of") == "index" else None
    else:
        fault, _, _ = classify_result(code, "")
    if fault is None:
        return None
    alone = _consequence(fault, None, code, Answered((ACCEPTED, Result(fault, code))))
    if decide(_BATCH, Answered((Result(fault, code),) * 2), Policy(), random.Random(0)).pause is None:  # noqa: S311 jitter
        return alone
    return replace(alone, sentence=f"{alone.sentence}; where nothing else in its call was accepted, as for a call")


def _status(code: str) -> tuple[Fault, Scope] | None:
    status = code.removeprefix(_STATUS)
    return classify_status(int(status)) if code.startswith(_STATUS) and status.isdecimal() else None


def _named_fault(entry: dict[str, str]) -> Fault | None:
    return Fault(entry["fault"]) if "fault" in entry else None


def _consequence(fault: Fault, scope: Scope | None, code: str, answer: Answer) -> Consequence:
    settlement = decide(_BATCH, answer, Policy(), random.Random(0))  # noqa: S311 jitter
    return Consequence(
        fault=fault,
        concerns=scope,
        retried=bool(settlement.halves) or not settlement.verdicts[0].final,
        pays_attempt=any(verdict.burned for verdict in settlement.verdicts),
        pauses=settlement.pause is not None,
        sentence="; ".join(filter(None, (_fate(settlement), _pause(settlement, fault, scope, code)))),
    )


def _fate(settlement: Settlement) -> str:
    if settlement.halves:
        return "the call is split into halves until the culprit stands alone: that one fails, the others pay nothing"
    verdict = settlement.verdicts[0]
    if verdict.final:
        return "failed at once"
    if verdict.outcome is Outcome.UNKNOWN:
        return "nobody knows whether it arrived: sent again after a delay, or held with RELAY_ON_UNKNOWN=hold"
    if verdict.burned:
        return "sent again after a delay, until RELAY_MAX_ATTEMPTS or, in an outage, RELAY_OUTAGE_HOURS are over"
    return "stays pending and pays no attempt" + ("" if settlement.pause else f", again in {verdict.delay_seconds:g} s")


def _pause(settlement: Settlement, fault: Fault, scope: Scope | None, code: str) -> str:
    if settlement.pause is None:
        return ""
    seconds = settlement.pause.seconds
    if seconds is None:
        return f"the {scope} is paused until it has another credential or somebody resumes it"
    if fault is not Fault.THROTTLED:
        return f"the {scope} is paused for {seconds:g} s, again and again"
    otherwise = f"{seconds:g} s" if quota_seconds(code, 0) is None else "until midnight in Beijing"
    return f"the {scope} is paused for as long as the platform says, else {otherwise}"
