"""What an answer means for each message of a call. The policy of the relay in one place, as a function of values.

    answer for one index       outcome    pays an attempt   then
    accepted                   done       yes               final
    message refused            failed     yes               final, at once
    provider's fault           retry      yes               backoff
    throttled                  retry      no                again when the ban ends
    credentials, ours          retry      no                paused if nothing in the call was accepted; else a minute
    nobody can tell            unknown    yes               backoff (resend), or held for a person (hold)

    refusal of the whole call
    content                    -          no                split into halves; alone: failed
    provider                   retry      yes               backoff
    throttled                  retry      no                paused until the ban ends
    credentials                retry      no                paused until resumed or the credential changes
    ours                       retry      no                paused for a minute, or as long as named, loudly
    nobody can tell            unknown    yes               backoff, or held

A message pays an attempt only for what concerns it. When its attempts are used up it ends as failed, but not while the
platform is away: a call that came to nothing as a whole blames no message. See ``spared``.

The platform has no idempotency key, so ``unknown`` is kept apart
from ``retry``: only an unknown outcome can lead to a second delivery, and each one is recorded.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from relay.backoff import delay_seconds
from relay.message import (
    NO_CREDENTIALS,
    Answer,
    Answered,
    Batch,
    CallKey,
    Fault,
    Message,
    Outcome,
    Refused,
    Result,
    Scope,
    no_credentials,
)
from relay.reasons import CREDENTIALS_REFUSED, NOWHERE, THROTTLED, UNREADABLE_REQUESTS

HELD = float("inf")  # a due time that never comes: the message waits for a person
EXHAUSTED = "relay.attempts_exhausted"
# What only the relay can know. A producer that answers one of these (a platform said it, perhaps) would be believed.
_NO_ANSWERS = {EXHAUSTED, "relay.discarded", "relay.expired", "relay.unreadable", "relay.lease_expired"}
THROTTLE_SECONDS = 1.0  # when the platform names no time; its clients wait as long
LONGEST_THROTTLE_SECONDS = 86_400.0  # every quota starts anew within a day, so more is a mistake
NO_CREDENTIAL = "none"  # in the place of a fingerprint: any credential that is configured ends such a pause
LOST = "lost"  # likewise: it ends once it is known again where the messages of the account go
ALONE_SECONDS = 60.0  # for a message whose neighbours went through with the credential that it is refused for
OUR_FAULT_SECONDS = 60.0  # a mistake of ours does not pass by itself, but a clock that is set right does
PARTIAL = "partial"
_PAUSING = (Fault.CREDENTIALS, Fault.OURS)  # also where they come index by index, the gravest first


@dataclass(frozen=True, slots=True)
class Policy:
    """How often and when to try again, and what to do when nobody knows."""

    max_attempts: int = 12
    retry_base_seconds: float = 1.0
    retry_max_seconds: float = 900.0
    hold_unknown: bool = False
    outage_seconds: float = 0.0  # so long no message ends because whole calls came to nothing


@dataclass(frozen=True, slots=True)
class History:
    """What a message went through so far, apart from the call that is being settled.

    ``attempts`` are all that it paid; ``blamed`` are those in calls that the platform answered index by index, with
    something accepted or refused for its own sake; ``seconds`` have passed since the first of them.
    """

    attempts: int = 0
    blamed: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """One message of a call that was not accepted.

    ``final``: the message ends as failed. ``delay_seconds``: None leaves its due time alone, HELD holds it.
    ``row_code`` and ``row_message`` are what the message itself will show, ``code`` and ``message`` what the platform
    said in this call; they differ when the attempts are used up.
    """

    message_id: int
    result_index: int
    outcome: Outcome
    pays: bool  # an attempt
    final: bool
    code: str | None
    message: str | None
    row_code: str | None
    row_message: str | None
    delay_seconds: float | None

    @classmethod
    def refused(cls, message_id: int, index: int, result: Result) -> Verdict:
        """Failed at once, for its own sake."""
        said = (result.code, result.message)
        return cls(message_id, index, Outcome.FAILED, True, True, *said, *said, None)

    @classmethod
    def retried(
        cls, message_id: int, index: int, result: Result, *, outcome: Outcome, pays: bool, delay_seconds: float | None
    ) -> Verdict:
        """Tried again when the delay is over."""
        said = (result.code, result.message)
        return cls(message_id, index, outcome, pays, False, *said, *said, delay_seconds)

    @classmethod
    def held(cls, message_id: int, index: int, result: Result) -> Verdict:
        """Nobody can tell whether it arrived, and a person decides."""
        return cls.retried(message_id, index, result, outcome=Outcome.UNKNOWN, pays=True, delay_seconds=HELD)

    @classmethod
    def exhausted(cls, message_id: int, index: int, result: Result, *, outcome: Outcome, attempts: int) -> Verdict:
        """Ended because its ``attempts``, this call included, are used up."""
        kept = f"{attempts} attempts; the last one: {result.code}: {result.message}"
        return cls(message_id, index, outcome, True, True, result.code, result.message, EXHAUSTED, kept, None)


@dataclass(frozen=True, slots=True)
class PauseOrder:
    """Nothing of this account or app is claimed for this many seconds; None: until resumed or another credential."""

    scope: str
    seconds: float | None
    reason: str
    error_code: str | None
    fingerprint: str | None = None  # of the credential that was refused


@dataclass(frozen=True, slots=True)
class Settlement:
    """Everything to write about one finished call. ``done`` and ``verdicts`` name each of its messages at most once."""

    call_id: int
    account: str
    outcome: str  # ok | partial | rejected | unknown | released
    http_status: int | None = None
    request_id: str | None = None
    error_code: str | None = None
    sub_code: str | None = None
    error_message: str | None = None
    request_bytes: int | None = None
    done: tuple[tuple[int, int], ...] = ()  # (message id, result index)
    verdicts: tuple[Verdict, ...] = ()
    halves: tuple[tuple[Message, ...], ...] = ()
    pause: PauseOrder | None = None
    nonce: int = 0

    @property
    def key(self) -> CallKey:
        """The call that this settles."""
        return CallKey(self.call_id, self.nonce)


def decide(batch: Batch, answer: Answer, policy: Policy, rng: random.Random) -> Settlement:
    """What is to be written about this call. Pure but for the jitter drawn from ``rng``."""
    if isinstance(answer, Answered):
        return _answered(batch, answer, policy, rng)
    return _refused(batch, answer, policy, rng)


def released(batch: Batch) -> Settlement:
    """The call was never made: its messages are free again and paid nothing."""
    return Settlement(batch.call_id, batch.account, "released", nonce=batch.nonce)


def lapsed(
    call: CallKey, account: str, messages: Sequence[tuple[int, int]], policy: Policy, rng: random.Random
) -> Settlement:
    """The lease ran out, so the worker is gone. ``messages``: (id, attempts before this call), in the order sent."""
    reason = "the worker that made this call is gone; nobody knows whether the platform got it"
    result = Result(Fault.UNKNOWN, "relay.lease_expired", reason)
    verdicts = tuple(
        _soon(_verdict(id_, index, attempts, result, policy, rng, paused=False), policy, rng)
        for index, (id_, attempts) in enumerate(messages)
    )
    return Settlement(
        call.id,
        account,
        "unknown",
        error_code=result.code,
        error_message=result.message,
        verdicts=verdicts,
        nonce=call.nonce,
    )


def unsound(call: CallKey, account: str) -> Settlement:
    """The lease ran out, and what the call names are no messages in an order: none can be told what it meant for it."""
    reason = "what this call names is not one list of messages, each once: no worker of the relay made it"
    return Settlement(
        call.id, account, "unknown", error_code="relay.unsound_call", error_message=reason, nonce=call.nonce
    )


def _soon(verdict: Verdict, policy: Policy, rng: random.Random) -> Verdict:
    """No later than a first retry: the lease was wait enough, and it is not the platform that is in trouble."""
    if verdict.delay_seconds is None or verdict.delay_seconds == HELD:
        return verdict
    return replace(verdict, delay_seconds=rng.uniform(0.0, policy.retry_base_seconds))


def spared(settlement: Settlement, histories: Mapping[int, History], policy: Policy, rng: random.Random) -> Settlement:
    """The same, but no message ends as exhausted for an outage that is younger than ``policy.outage_seconds``.

    An outage of the platform is nobody's attempt: only calls answered index by index count against a message. Where
    whole calls came to nothing, time counts, so that a message which alone brings the service down ends as well.
    """
    verdicts = tuple(
        _spared(verdict, histories.get(verdict.message_id, History()), settlement.outcome == PARTIAL, policy, rng)
        if verdict.row_code == EXHAUSTED
        else verdict
        for verdict in settlement.verdicts
    )
    return replace(settlement, verdicts=verdicts)


def exhausted_ids(settlements: Iterable[Settlement]) -> list[int]:
    """The messages that are about to end because their attempts are used up."""
    return [v.message_id for s in settlements for v in s.verdicts if v.row_code == EXHAUSTED]


def _spared(verdict: Verdict, history: History, blames: bool, policy: Policy, rng: random.Random) -> Verdict:
    if history.blamed + blames >= policy.max_attempts or history.seconds >= policy.outage_seconds:
        return verdict
    outcome = Outcome.UNKNOWN if verdict.outcome is Outcome.UNKNOWN else Outcome.RETRY
    delay = delay_seconds(
        history.attempts + 1, base_seconds=policy.retry_base_seconds, max_seconds=policy.retry_max_seconds, rng=rng
    )
    code, text = verdict.code, verdict.message
    return replace(verdict, outcome=outcome, final=False, row_code=code, row_message=text, delay_seconds=delay)


def _answered(batch: Batch, answer: Answered, policy: Policy, rng: random.Random) -> Settlement:
    pause = _pause_for_all(batch.account, answer)
    done: list[tuple[int, int]] = []
    verdicts: list[Verdict] = []
    for index, (message, result) in enumerate(zip(batch.messages, answer.results, strict=True)):
        if result.fault is None:
            done.append((message.id, index))
        else:
            paused = pause is not None and result.fault in _PAUSING
            result = replace(result, code=_told(result.code)) if result.code in _NO_ANSWERS else result
            verdicts.append(_verdict(message.id, index, message.attempts, result, policy, rng, paused=paused))
    return Settlement(
        batch.call_id,
        batch.account,
        outcome=_outcome(answer) if verdicts else "ok",
        http_status=answer.http_status,
        request_id=answer.request_id,
        error_code="relay.contract_violation" if answer.violation else None,
        error_message=answer.violation,
        request_bytes=answer.request_bytes,
        done=tuple(done),
        verdicts=tuple(verdicts),
        pause=pause,
        nonce=batch.nonce,
    )


def _told(code: str | None) -> str | None:
    return f"producer:{code}" if code in _NO_ANSWERS else code


def _outcome(answer: Answered) -> str:
    """Of a call that left a message undone.

    ``partial`` is said only of calls in which the platform told messages apart: the others blame none of them.
    """
    if not answer.blames_no_message:
        return PARTIAL
    nobody_knows = any(result.fault is Fault.UNKNOWN for result in answer.results)
    return "unknown" if nobody_knows else "rejected"


def _pause_for_all(account: str, answer: Answered) -> PauseOrder | None:
    """For an index refused as only a whole call should be, unless a neighbour went through with the same credential."""
    if any(result.accepted for result in answer.results):
        return None
    blamed = [result for fault in _PAUSING for result in answer.results if result.fault is fault]
    if not blamed:
        return None
    fault, code, message = blamed[0].fault, blamed[0].code, blamed[0].message
    assert fault is not None
    told = Refused(fault, code, message=message, scope=blamed[0].scope, pause_seconds=blamed[0].pause_seconds)
    return _pause(account, replace(told, app_key=answer.app_key, credential=answer.credential))


def _refused(batch: Batch, answer: Refused, policy: Policy, rng: random.Random) -> Settlement:
    splitting = answer.fault is Fault.CONTENT and len(batch) > 1
    answer = replace(answer, code=_told(answer.code), sub_code=_told(answer.sub_code))
    # The sub code says more than the code ("15" alone means nothing), so it is what a message shows.
    result = Result(answer.fault, answer.sub_code or answer.code, answer.message, answer.pause_seconds)
    verdicts = () if splitting else _same_for_all(batch, result, policy, rng)
    return Settlement(
        batch.call_id,
        batch.account,
        outcome="unknown" if answer.fault is Fault.UNKNOWN else "rejected",
        http_status=answer.http_status,
        request_id=answer.request_id,
        error_code=answer.code,
        sub_code=answer.sub_code,
        error_message=answer.message,
        request_bytes=answer.request_bytes,
        verdicts=verdicts,
        halves=_halves(batch.messages) if splitting else (),
        pause=_pause(batch.account, answer),
        nonce=batch.nonce,
    )


def _same_for_all(batch: Batch, result: Result, policy: Policy, rng: random.Random) -> tuple[Verdict, ...]:
    return tuple(
        _verdict(message.id, index, message.attempts, result, policy, rng, paused=True)
        for index, message in enumerate(batch.messages)
    )


def _halves(messages: tuple[Message, ...]) -> tuple[tuple[Message, ...], ...]:
    """Two halves in the order sent. A culprit among n stands alone after about 2 * log2(n) calls."""
    middle = len(messages) // 2
    return messages[:middle], messages[middle:]


def _verdict(
    message_id: int, index: int, attempts: int, result: Result, policy: Policy, rng: random.Random, *, paused: bool
) -> Verdict:
    """One message that was not accepted; ``attempts`` are those before this call.

    ``paused``: where the fault pauses at all, the whole call did, so the message need not wait by itself.
    """
    match result.fault:
        case Fault.MESSAGE | Fault.CONTENT:
            return Verdict.refused(message_id, index, result)
        case Fault.THROTTLED | Fault.CREDENTIALS | Fault.OURS:
            waits = (result.pause_seconds or None) if result.fault is Fault.THROTTLED else ALONE_SECONDS
            delay = None if paused else _throttle_seconds(waits)
            return Verdict.retried(message_id, index, result, outcome=Outcome.RETRY, pays=False, delay_seconds=delay)
        case Fault.UNKNOWN if policy.hold_unknown:
            return Verdict.held(message_id, index, result)
        case Fault.UNKNOWN:
            again, ended = Outcome.UNKNOWN, Outcome.UNKNOWN
        case _:
            again, ended = Outcome.RETRY, Outcome.FAILED
    attempts += 1
    if attempts >= policy.max_attempts:
        return Verdict.exhausted(message_id, index, result, outcome=ended, attempts=attempts)
    delay = delay_seconds(
        attempts, base_seconds=policy.retry_base_seconds, max_seconds=policy.retry_max_seconds, rng=rng
    )
    return Verdict.retried(message_id, index, result, outcome=again, pays=True, delay_seconds=delay)


def without_credentials(account: str, lost: str | None = None) -> PauseOrder:
    """For an account that no call can be made for; ``lost``: why nobody knows where its messages go."""
    if lost is not None:
        reason = NOWHERE.written(account=repr(account), why=lost.replace("\n", "; "))
        return PauseOrder(f"account:{account}", None, reason, NO_CREDENTIALS, LOST)
    order = _pause(account, no_credentials(account))
    assert order is not None
    return order


def _pause(account: str, answer: Refused) -> PauseOrder | None:
    named = answer.scope is Scope.APP and answer.app_key is not None
    scope = f"app:{answer.app_key}" if named else f"account:{account}"
    code = answer.sub_code or answer.code
    said = answer.message or "no reason given"
    match answer.fault:
        case Fault.THROTTLED:
            return PauseOrder(scope, _throttle_seconds(answer.pause_seconds), THROTTLED.written(said=said), code)
        case Fault.CREDENTIALS:
            fingerprint = answer.credential or NO_CREDENTIAL
            return PauseOrder(scope, None, CREDENTIALS_REFUSED.written(said=said), code, fingerprint)
        case Fault.OURS:
            seconds = OUR_FAULT_SECONDS if answer.pause_seconds is None else _throttle_seconds(answer.pause_seconds)
            return PauseOrder(scope, seconds, UNREADABLE_REQUESTS.written(said=said), code)
        case _:
            return None


def _throttle_seconds(named: float | None) -> float:
    """What the platform named, within reason: the database must be able to add it to its time."""
    return THROTTLE_SECONDS if named is None else max(0.0, min(LONGEST_THROTTLE_SECONDS, named))
