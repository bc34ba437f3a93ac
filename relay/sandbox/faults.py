"""Troubles by name, so that a client can be shown on purpose what the platform does to it by chance.

Each name is one entry of ``KINDS`` and has one of four effects:

    RefusesCall     at its stage of the checks; nothing is stored
    BansApp         code 7 now, and for every call of that app until the ban ends; nothing is stored
    RefusesMessage  that message alone is not stored
    SpoilsAnswer    all is stored, then the answer goes wrong: the caller cannot know

When a fault strikes is not decided here but in ``strikes.py``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from relay.errors import ConfigurationError
from relay.sandbox.answers import Broken, CallAnswer, Produced, ProduceResult, Refusal, Reply
from relay.sandbox.checks import Stage

HINT = "Write NAME[=ARG][@WHEN], for example refuse=broken, throttle=5@#2 or cut-after@3%."


@dataclass(frozen=True, slots=True)
class RefusesCall:
    """Refuses the call with ``answer`` at ``stage``. At CONTENT, some content must have ``containing``."""

    stage: Stage
    answer: CallAnswer
    containing: str = ""


@dataclass(frozen=True, slots=True)
class BansApp:
    """Bans the calling app for that many seconds; None: until midnight in Beijing, when daily quotas are reset."""

    sub_code: str
    seconds: float | None


@dataclass(frozen=True, slots=True)
class RefusesMessage:
    """The messages whose content contains this text get this result; an empty text is in every content."""

    result: ProduceResult
    containing: str


@dataclass(frozen=True, slots=True)
class SpoilsAnswer:
    """The messages are stored, and the answer is changed on its way."""

    spoil: Callable[[Reply], Reply]


Effect = RefusesCall | BansApp | RefusesMessage | SpoilsAnswer


@dataclass(frozen=True, slots=True)
class FaultKind:
    """What a name stands for: ``arg`` says how its argument is called (empty: it takes none), ``help`` what happens."""

    arg: str
    help: str
    make: Callable[[str], Effect]


def _seconds(arg: str) -> float:
    if not re.fullmatch(r"\d+(\.\d+)?", arg):
        raise ConfigurationError(f"{arg!r} is not a number of seconds.", HINT)
    return float(arg)


def _refuses_call(stage: Stage, code: int, msg: str, sub_code: str | None = None) -> Callable[[str], Effect]:
    return lambda _: RefusesCall(stage, Refusal(code, msg, sub_code))


def _refuses_content(text: str) -> Effect:
    return RefusesCall(Stage.CONTENT, Refusal(41, "Invalid arguments:messages", "isv.invalid-parameter"), text)


def _is_down(code: str) -> Effect:
    answers = {
        "10": Refusal(10, "Service currently unavailable", "isp.service-unavailable"),
        "15": Refusal(15, "Remote service error", "isp.remote-service-error"),
        "50": Refusal(50, "Remote service error", "isp.remote-service-error"),
    }
    if (code or "15") not in answers:
        raise ConfigurationError(f"down={code}: the platform says 10, 15 or 50 when it is down.", HINT)
    return RefusesCall(Stage.BACKEND, answers[code or "15"])


def _refuses_message(code: str, sentence: str) -> Callable[[str], Effect]:
    return lambda text: RefusesMessage(ProduceResult(code, sentence), text)


def _spoils(spoil: Callable[[Reply], Reply]) -> Callable[[str], Effect]:
    return lambda _: SpoilsAnswer(spoil)


def _answers(answer: CallAnswer) -> Callable[[str], Effect]:
    return _spoils(lambda reply: replace(reply, answer=answer))


def _relists(change: Callable[[tuple[ProduceResult, ...]], tuple[ProduceResult, ...]]) -> Callable[[str], Effect]:
    """The list no longer fits the request, and the answer says not all succeeded, so that the list matters."""

    def spoil(reply: Reply) -> Reply:
        if not isinstance(reply.answer, Produced):
            return reply
        return replace(reply, answer=Produced(False, change(reply.answer.results or ())))

    return _spoils(spoil)


def _drops_results(reply: Reply) -> Reply:
    return replace(reply, answer=replace(reply.answer, results=None)) if isinstance(reply.answer, Produced) else reply


def _slows(arg: str) -> Effect:
    seconds = _seconds(arg or "1")
    return SpoilsAnswer(lambda reply: replace(reply, delay_seconds=reply.delay_seconds + seconds))


BAN = "accesscontrol.limited-by-"
TIMED_OUT = Refusal(15, "Remote service error", "isp.remote-service-timeout")
KINDS: dict[str, FaultKind] = {
    "refuse": FaultKind(
        "TEXT",
        "Each message whose content contains TEXT is refused alone, for good (isv.invalid-parameter).",
        _refuses_message("isv.invalid-parameter", "refused by the sandbox"),
    ),
    "refuse-later": FaultKind(
        "TEXT",
        "Each message whose content contains TEXT fails alone, by the platform's own fault (isp.remote-service-error).",
        _refuses_message("isp.remote-service-error", "try again, says the sandbox"),
    ),
    "refuse-batch": FaultKind(
        "TEXT",
        "The whole call is refused with 41 when any content contains TEXT, without saying which.",
        _refuses_content,
    ),
    "throttle": FaultKind(
        "SECONDS",
        "Too many calls of this app to this API: code 7 for every call of the app until the ban ends (default 1).",
        lambda arg: BansApp(f"{BAN}app-api-access-count", _seconds(arg or "1")),
    ),
    "quota": FaultKind(
        "SECONDS",
        "The app's daily quota is used up: code 7 until midnight in Beijing, or for SECONDS.",
        lambda arg: BansApp(f"{BAN}app-access-count", _seconds(arg) if arg else None),
    ),
    "down": FaultKind("CODE", "The service behind the gateway fails: CODE 10, 15 or 50 (default 15), isp.*.", _is_down),
    "timeout": FaultKind(
        "", "The messages are stored, and the answer is isp.remote-service-timeout all the same.", _answers(TIMED_OUT)
    ),
    "cut-before": FaultKind(
        "", "The connection is cut, nothing is stored.", lambda _: RefusesCall(Stage.ARRIVAL, Broken(None))
    ),
    "cut-after": FaultKind(
        "", "The messages are stored, then the connection is cut without a byte of answer.", _answers(Broken(None))
    ),
    "http-502": FaultKind(
        "",
        "A proxy answers 502 with an HTML page, nothing is stored.",
        lambda _: RefusesCall(Stage.ARRIVAL, Broken(502)),
    ),
    "truncated": FaultKind(
        "",
        "The messages are stored, half of the answer's text arrives.",
        _spoils(lambda reply: replace(reply, half=True)),
    ),
    "short-list": FaultKind(
        "",
        "All is stored, the answer says it was not and leaves out the last result.",
        _relists(lambda results: results[:-1]),
    ),
    "long-list": FaultKind(
        "",
        "All is stored, the answer says it was not and has one result too many.",
        _relists(lambda results: (*results, ProduceResult())),
    ),
    "no-results": FaultKind("", "The messages are stored, the answer has no list of results.", _spoils(_drops_results)),
    "slow": FaultKind("SECONDS", "The messages are stored, the answer takes SECONDS longer (default 1).", _slows),
    "session-expired": FaultKind(
        "", "The session has expired (27).", _refuses_call(Stage.SESSION, 27, "Invalid session", "session-expired")
    ),
    "wrong-sign": FaultKind("", "The sign is not accepted (25).", _refuses_call(Stage.SIGN, 25, "Invalid signature")),
    "clock": FaultKind(
        "", "The time stamp is off by too much (31).", _refuses_call(Stage.CLOCK, 31, "Invalid timestamp")
    ),
    "no-permission": FaultKind(
        "",
        "The app lacks the permission package of this API (11).",
        _refuses_call(Stage.PERMISSION, 11, "Insufficient isv permissions", "isv.permission-api-package-limit"),
    ),
}
