"""What a code means, in two languages, and what the relay makes of it.

The texts of our own codes are in ``explanations.toml``, those of a far end are its producer's. What the relay does is
never written down: what the producer answers for the code is settled here by the same functions as in a worker, for a
call of two messages, and what comes out is put into words.
"""

from __future__ import annotations

import random
import tomllib
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files

from relay.explained import Explained, Explainer
from relay.message import ACCEPTED, Answer, Answered, Batch, Fault, Message, Outcome, Refused, Result, Scope
from relay.outcomes import Policy, Settlement, decide

_NOBODY_KNOWS = Explained(
    "No producer that is asked knows this code.",
    "the author of the producer",
    "没有生产者认识该错误码。",
    known=False,
    ask_zh="生产者的作者",
)
_SCOPES_ZH: dict[Scope | None, str] = {Scope.ACCOUNT: "该账户", Scope.APP: "该应用"}
_BATCH = Batch(1, "default", (Message(1, "topic", "{}"), Message(2, "topic", "{}")))


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
    sentence_zh: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """``known`` is False where only the beginning of the code says anything."""

    code: str
    known: bool
    meaning: str
    meaning_zh: str
    ask: str
    ask_zh: str
    call: Consequence | None
    message: Consequence | None


def explain(code: str, *explainers: Explainer) -> Explanation:
    """Any text is explained: by the relay if the code is its own, else by the first explainer that knows it."""
    code = code.strip().lower()
    if code in ours():
        found = _of_ours(code, ours()[code])
    else:
        said = (explainer(code) for explainer in explainers)
        found = next((explained for explained in said if explained is not None), _NOBODY_KNOWS)
    return Explanation(
        code=code,
        known=found.known,
        meaning=found.meaning,
        meaning_zh=found.meaning_zh,
        ask=found.ask,
        ask_zh=found.ask_zh,
        call=_of_call(found),
        message=_of_message(found),
    )


def lacks_permission(code: str | None, *explainers: Explainer) -> bool:
    """Whether a pause with this code is about a right: the credential was good, another one is no cure."""
    if code is None or code in ours():
        return False
    said = (explainer(code.lower()) for explainer in explainers)
    return any(explained is not None and explained.lacks_permission for explained in said)


@cache
def ours() -> dict[str, dict[str, str]]:
    """Code -> its texts."""
    found: dict[str, dict[str, str]] = tomllib.loads(
        files("relay").joinpath("explanations.toml").read_text(encoding="utf-8")
    )
    return found


def _of_ours(code: str, entry: dict[str, str]) -> Explained:
    fault = Fault(entry["fault"]) if "fault" in entry else None
    whole = fault is not None and entry.get("of") != "index"
    return Explained(
        entry["en"],
        entry["ask"],
        entry["zh"],
        ask_zh=entry["ask_zh"],
        call=Refused(fault, code, scope=Scope(entry.get("scope", "account"))) if fault and whole else None,
        result=Result(fault, code) if fault and not whole else None,
    )


def _of_call(found: Explained) -> Consequence | None:
    if found.call is None:
        return None
    answer = replace(found.call, app_key="app key")
    return _consequence(answer.fault, answer.scope, found, answer)


def _of_message(found: Explained) -> Consequence | None:
    if found.result is None or found.result.fault is None:
        return None
    alone = _consequence(found.result.fault, None, found, Answered((ACCEPTED, found.result)))
    if decide(_BATCH, Answered((found.result,) * 2), Policy(), random.Random(0)).pause is None:  # noqa: S311 jitter
        return alone
    return replace(
        alone,
        sentence=f"{alone.sentence}; where nothing else in its call was accepted, as for a call",
        sentence_zh=f"{alone.sentence_zh}；同一调用中没有其他消息被接受时，与整个调用相同",
    )


def _consequence(fault: Fault, scope: Scope | None, found: Explained, answer: Answer) -> Consequence:
    settlement = decide(_BATCH, answer, Policy(), random.Random(0))  # noqa: S311 jitter
    fate, fate_zh = _fate(settlement)
    pause, pause_zh = _pause(settlement, fault, scope, found)
    return Consequence(
        fault=fault,
        concerns=scope,
        retried=bool(settlement.halves) or not settlement.verdicts[0].final,
        pays_attempt=any(verdict.pays for verdict in settlement.verdicts),
        pauses=settlement.pause is not None,
        sentence="; ".join(filter(None, (fate, pause))),
        sentence_zh="；".join(filter(None, (fate_zh, pause_zh))),
    )


def _fate(settlement: Settlement) -> tuple[str, str]:
    if settlement.halves:
        return (
            "the call is split into halves until the culprit stands alone: that one fails, the others pay nothing",
            "调用逐次对半拆分，直到有问题的消息单独一次调用：该消息失败，其余不计尝试次数",
        )
    verdict = settlement.verdicts[0]
    if verdict.final:
        return "failed at once", "立即失败"
    if verdict.outcome is Outcome.UNKNOWN:
        return (
            "nobody knows whether it arrived: sent again after a delay, or held with RELAY_ON_UNKNOWN=hold",
            "是否送达未知：延迟后再次发送；设置 RELAY_ON_UNKNOWN=hold 时挂起",
        )
    if verdict.pays:
        return (
            "sent again after a delay, until RELAY_MAX_ATTEMPTS or, in an outage, RELAY_OUTAGE_HOURS are over",
            "延迟后再次发送，直到用尽 RELAY_MAX_ATTEMPTS，平台中断时则直到超过 RELAY_OUTAGE_HOURS",
        )
    again, again_zh = "", ""
    if not settlement.pause:
        again, again_zh = (f", again in {verdict.delay_seconds:g} s", f"，{verdict.delay_seconds:g} 秒后再次发送")
    return "stays pending and pays no attempt" + again, "保持待发送，不计尝试次数" + again_zh


def _pause(settlement: Settlement, fault: Fault, scope: Scope | None, found: Explained) -> tuple[str, str]:
    if settlement.pause is None:
        return "", ""
    seconds, whose = settlement.pause.seconds, _SCOPES_ZH.get(scope, "")
    if seconds is None:
        return (
            f"the {scope} is paused until it has another credential or a person resumes it",
            f"{whose}暂停，直到换了凭证或有人解除",
        )
    if fault is not Fault.THROTTLED:
        return f"the {scope} is paused for {seconds:g} s, again and again", f"{whose}暂停 {seconds:g} 秒，反复如此"
    return (
        f"the {scope} is paused for as long as the platform says, else {found.lasts or f'{seconds:g} s'}",
        f"{whose}暂停，时长以平台所说为准，平台没有说明时{found.lasts_zh or f'为 {seconds:g} 秒'}",
    )
