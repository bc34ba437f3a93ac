"""The platform as a state machine: a call goes in, a reply comes out, and what was accepted stays in memory.

It knows neither sockets nor tasks, and reads the clock only through the function it was given. ``messages`` holds, in
the order of acceptance, each message as often as it was accepted: a message that a caller sent twice is there twice,
with two request ids. ``calls`` holds every call, refused ones too. Both grow without bound until ``forget``.
Meant for one thread: a call is handled whole, so two calls never mix.
"""

from __future__ import annotations

import math
import secrets
import string
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import NamedTuple

from relay.sandbox.answers import CallAnswer, Produced, ProduceResult, Refusal, Reply
from relay.sandbox.checks import CHECKS, GATE, App, Request, Stage
from relay.sandbox.elements import Element, judge, read_elements
from relay.sandbox.records import AcceptedMessage, CallRecord, tail_of, written
from relay.sandbox.strikes import FaultPlan, Strikes

APP_KEY = "10000001"
APP_SECRET = "sandbox-secret-not-a-secret"  # noqa: S105 - says itself that it is none
SESSION = "sandbox-session-0001"
DAY_SECONDS = 86_400
BEIJING_OFFSET_SECONDS = 8 * 3600
REQUEST_ID_ALPHABET = string.ascii_lowercase + string.digits


class ResultsOnSuccess(StrEnum):
    """How the list of results shows when all messages succeeded; the platform's own habit is not documented."""

    FULL = "full"
    EMPTY = "empty"
    ABSENT = "absent"


def default_apps() -> dict[str, App]:
    """The one app that the sandbox knows when it is told of none."""
    return {APP_KEY: App(APP_SECRET, frozenset({SESSION}))}


@dataclass(frozen=True, slots=True)
class PlatformPolicy:
    """Whom the sandbox knows and what it permits. No ``topics``: every topic may be produced."""

    apps: Mapping[str, App] = field(default_factory=default_apps)
    topics: frozenset[str] = frozenset()
    session_required: bool = False
    results_on_success: ResultsOnSuccess = ResultsOnSuccess.FULL


class _Ban(NamedTuple):
    until: float
    sub_code: str
    fault: str


class Platform:
    """Plays ``taobao.tmc.messages.produce``. ``now`` gives seconds since the epoch; ``seed`` starts the dice."""

    def __init__(
        self,
        policy: PlatformPolicy | None = None,
        faults: Iterable[str] = (),
        *,
        now: Callable[[], float] = time.time,
        seed: int = 0,
    ) -> None:
        self.policy = policy or PlatformPolicy()
        self.messages: list[AcceptedMessage] = []
        self.calls: list[CallRecord] = []
        self._now = now
        self._seed = seed
        self._calls_seen = 0
        self._last_id = 0
        self._script: dict[int, dict[int, ProduceResult]] = {}
        self._passed_by: list[tuple[int, int]] = []
        self.set_faults(faults)

    def set_faults(self, texts: Iterable[str]) -> None:
        """Replace the faults; running bans end, and ``@#N`` counts from here. ConfigurationError changes nothing."""
        self._plan = FaultPlan(texts, self._seed)
        self._bans: dict[str, _Ban] = {}

    @property
    def faults(self) -> list[str]:
        """The faults in force, as written."""
        return [fault.text for fault in self._plan.faults]

    def script(self, index: int, result: ProduceResult, *, call: int | None = None) -> None:
        """Say this of the message at this index, from 0, of the next call, or of that call, counted from 1."""
        self._script.setdefault(call or self._calls_seen + 1, {})[index] = result

    @property
    def unused(self) -> list[tuple[int, int]]:
        """Call and index of what was scripted and never said; also of calls that may come still."""
        coming = [(call, index) for call, results in self._script.items() for index in results]
        return sorted([*self._passed_by, *coming])

    def forget(self) -> None:
        """Drop all messages and calls; their numbers go on counting."""
        self.messages.clear()
        self.calls.clear()

    def handle(self, verb: str, params: Mapping[str, str]) -> Reply:
        """Answer one call; ``params`` are those of the query and of the form together."""
        request = Request(verb, params, self._now(), self.policy.apps, self.policy.session_required)
        strikes = self._plan.next_call()
        request_id = "".join(secrets.choice(REQUEST_ID_ALPHABET) for _ in range(12))
        elements = self._let_in(request, strikes)
        if isinstance(elements, list):
            return self._produce(request, request_id, elements, strikes)
        reply = Reply(elements, request_id, request.form, request.simplify)
        sent = read_elements(request.get("messages"))
        self._record(request, reply, strikes, len(sent) if isinstance(sent, list) else 0, 0)
        return reply

    def _let_in(self, request: Request, strikes: Strikes) -> list[Element] | CallAnswer:
        """The elements of a call that passed, or what refuses it. A stage's faults come before its check."""
        for stage in GATE:
            refused = strikes.answer_at(stage)
            if refused is None and stage is Stage.THROTTLE:
                refused = self._throttled(request, strikes)
            if refused is None and stage in CHECKS:
                refused = CHECKS[stage](request)
            if refused is not None:
                return refused
        elements = read_elements(request.get("messages"))
        if isinstance(elements, Refusal):
            return elements
        contents = [str(element.get("content", "")) for element in elements]
        return strikes.answer_at(Stage.CONTENT, contents) or strikes.answer_at(Stage.BACKEND) or elements

    def _throttled(self, request: Request, strikes: Strikes) -> Refusal | None:
        """Code 7 while a ban of this app runs. A fault starts a new ban only when none is running."""
        ban = self._bans.get(request.app_key)
        if ban is None or ban.until <= request.now:
            struck = strikes.ban()
            if struck is None:
                return None
            name, effect = struck
            seconds = effect.seconds
            if seconds is None:
                seconds = DAY_SECONDS - (request.now + BEIJING_OFFSET_SECONDS) % DAY_SECONDS
            ban = self._bans[request.app_key] = _Ban(request.now + seconds, effect.sub_code, name)
        strikes.names.append(ban.fault)
        left = math.ceil(ban.until - request.now)
        return Refusal(7, "App Call Limited", ban.sub_code, f"This ban will last for {left} more seconds")

    def _produce(self, request: Request, request_id: str, elements: list[Element], strikes: Strikes) -> Reply:
        """Judge and keep the elements, answer, and let the faults spoil the answer."""
        results = []
        scripted = self._script.pop(self._calls_seen + 1, {})
        for index, element in enumerate(elements):
            result = judge(element, self.policy.topics)
            if result.accepted:
                result = scripted.get(index) or strikes.result_for(element["content"]) or result
            if result.accepted:
                self._keep(request, request_id, index, element)
            results.append(result)
        self._passed_by += [(self._calls_seen + 1, index) for index in scripted if index >= len(elements)]
        accepted = sum(result.accepted for result in results)
        answer = Produced(accepted == len(results), tuple(results))
        reply = self._shape(strikes.spoil(Reply(answer, request_id, request.form, request.simplify)))
        self._record(request, reply, strikes, len(elements), accepted)
        return reply

    def _keep(self, request: Request, request_id: str, index: int, element: Element) -> None:
        self._last_id += 1
        self.messages.append(
            AcceptedMessage(
                id=self._last_id,
                topic=element["topic"],
                content=element["content"],
                target_group=element.get("target_group"),
                target_app_key=element.get("target_app_key"),
                json_ex_content=element.get("json_ex_content"),
                request_id=request_id,
                index=index,
                app_key=request.app_key,
                session_tail=tail_of(request.get("session")),
                received_at=written(request.now),
            )
        )

    def _shape(self, reply: Reply) -> Reply:
        """Show the list of a full success the way the policy wants it shown."""
        answer, wanted = reply.answer, self.policy.results_on_success
        if not isinstance(answer, Produced) or not answer.is_all_success or not answer.results:
            return reply
        shapes = {
            ResultsOnSuccess.FULL: answer.results,
            ResultsOnSuccess.EMPTY: (),
            ResultsOnSuccess.ABSENT: None,
        }
        return replace(reply, answer=Produced(True, shapes[wanted]))

    def _record(self, request: Request, reply: Reply, strikes: Strikes, count: int, accepted: int) -> None:
        answer = reply.answer
        self._calls_seen += 1
        self.calls.append(
            CallRecord(
                number=self._calls_seen,
                request_id=reply.request_id,
                count=count,
                accepted=accepted,
                stored=accepted > 0,
                status=answer.status,
                code=answer.code if isinstance(answer, Refusal) else None,
                sub_code=answer.sub_code if isinstance(answer, Refusal) else None,
                fault=",".join(strikes.names) or None,
                app_key=request.app_key,
                received_at=written(request.now),
            )
        )
