"""An outage of the platform is nobody's attempt: what ends a message, and what does not, with a clock of the test's."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from relay.assembly.worker import policy
from relay.message import ACCEPTED, Answer, Answered, Batch, CallKey, Fault, Message, Outcome, Refused, Result
from relay.outcomes import EXHAUSTED, History, Policy, Settlement, Verdict, decide, exhausted_ids, lapsed, spared
from relay.settings import Settings
from relay.tmc import read_answer

HOUR, DAY = 3600.0, 86_400.0
DEFAULTS = policy(Settings.model_construct())
ANTI_BOT = read_answer(200, b"<html><title>slide to verify</title></html>", count=1, request_bytes=0)
BUSY = Result(Fault.PROVIDER, "isp.service-unavailable", "busy")
AWAY: dict[str, Answer] = {
    "no connection": Refused(Fault.PROVIDER, "relay.unreachable", message="nothing was sent"),
    "HTTP 503": Refused(Fault.PROVIDER, "relay.http_503"),
    "HTTP 502": Refused(Fault.UNKNOWN, "relay.http_502"),
    "time-outs after sending": Refused(Fault.UNKNOWN, "relay.timeout"),
    "an anti-bot page with HTTP 200": ANTI_BOT,
    "isp for the whole call": Refused(Fault.UNKNOWN, "15", "isp.unknown-error"),
    "isp at each index": Answered((BUSY,)),
}


class Life:
    """One message under answers that a test writes: attempts, when they were, and how it ended."""

    def __init__(self, policy: Policy = DEFAULTS, *, attempts: int = 0, seed: int = 1) -> None:
        self.policy, self.rng = policy, random.Random(seed)
        self.now, self.attempts, self.blamed = 0.0, attempts, 0
        self.first: float | None = None
        self.ended: Verdict | None = None

    def settle(self, answer: Answer | None, neighbours: int = 0) -> Settlement:
        """``answer`` None: the worker died over the call."""
        messages = tuple(Message(number, "t", "{}", attempts=self.attempts) for number in range(1 + neighbours))
        if answer is None:
            settlement = lapsed(CallKey(1, 1), "default", [(0, self.attempts)], self.policy, self.rng)
        else:
            settlement = decide(Batch(1, "default", messages), answer, self.policy, self.rng)
        tried = {0: History(self.attempts, self.blamed, self.now - (self.now if self.first is None else self.first))}
        return spared(settlement, tried if exhausted_ids([settlement]) else {}, self.policy, self.rng)

    def until(self, end: float, answer: Answer | None, neighbours: int = 0, lease: float = 0.0) -> int:
        """How many calls until then, or until the message has ended."""
        calls = 0
        while self.now < end and self.ended is None:
            calls += 1
            settlement = self.settle(answer, neighbours)
            verdict = next(v for v in settlement.verdicts if v.message_id == 0)
            self.first = self.now if self.first is None else self.first
            self.attempts += verdict.pays
            self.blamed += settlement.outcome == "partial"
            if verdict.final:
                self.ended = verdict
            else:
                assert verdict.delay_seconds is not None
                self.now += verdict.delay_seconds + lease
        return calls


@pytest.mark.parametrize("kind", AWAY)
def test_with_the_defaults_no_message_fails_because_the_platform_was_away_for_a_day(kind: str) -> None:
    for seed in range(20):
        life = Life(seed=seed)
        calls = life.until(DAY, AWAY[kind])
        assert life.ended is None, life.ended
        assert calls < 400  # a dead platform is asked seldom


def test_what_alone_brings_the_service_down_ends_after_two_days() -> None:
    life = Life()
    life.until(7 * DAY, Refused(Fault.UNKNOWN, "15", "isp.null-pointer-exception", "broken"))
    assert life.ended is not None
    assert 2 * DAY <= life.now <= 2 * DAY + HOUR
    assert (life.ended.row_code, life.ended.outcome) == (EXHAUSTED, Outcome.UNKNOWN)


def test_what_fails_alone_while_its_neighbours_are_accepted_ends_by_its_attempts() -> None:
    life = Life()
    calls = life.until(DAY, Answered((BUSY, ACCEPTED, ACCEPTED)), neighbours=2)
    assert calls == 12
    assert life.ended is not None
    assert life.ended.row_message == "12 attempts; the last one: isp.service-unavailable: busy"


def test_attempts_of_an_outage_do_not_count_against_a_message_that_is_blamed_afterwards() -> None:
    life = Life()
    life.until(20 * HOUR, AWAY["HTTP 502"])
    assert life.attempts > 12
    assert life.until(DAY + 20 * HOUR, Answered((BUSY, ACCEPTED)), neighbours=1) == 12
    assert life.ended is not None


@pytest.mark.parametrize("attempts", [10, 11, 12, 500])
@pytest.mark.parametrize("kind", AWAY)
def test_a_row_of_an_older_version_near_its_maximum_is_not_ended_by_an_outage(kind: str, attempts: int) -> None:
    life = Life(attempts=attempts)
    life.until(DAY, AWAY[kind])
    assert life.ended is None


def test_workers_that_die_for_a_day_end_no_message_and_it_waits_longer_each_time() -> None:
    life = Life()
    assert life.until(DAY, None, lease=60.0) < 400
    assert life.ended is None


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [(Refused(Fault.PROVIDER, "10"), Outcome.RETRY), (Refused(Fault.UNKNOWN, "relay.timeout"), Outcome.UNKNOWN)],
)
def test_who_is_spared_keeps_the_platforms_own_reason(answer: Refused, outcome: Outcome) -> None:
    life = Life(attempts=11)
    (verdict,) = life.settle(answer).verdicts
    assert (verdict.outcome, verdict.pays, verdict.final, verdict.row_code) == (outcome, True, False, answer.code)


def test_with_no_hours_attempts_alone_count() -> None:
    life = Life(Policy(outage_seconds=0.0))
    assert life.until(DAY, AWAY["HTTP 503"]) == 12


ENDS: dict[str, Callable[[], Answer]] = {
    "a refusal of the message": lambda: Answered((Result(Fault.MESSAGE, "isv.x"),)),
    "a content refused alone": lambda: Refused(Fault.CONTENT, "41"),
}


@pytest.mark.parametrize("kind", ENDS)
def test_what_the_platform_refuses_ends_at_once_as_ever(kind: str) -> None:
    life = Life()
    assert life.until(DAY, ENDS[kind]()) == 1
    assert life.ended is not None
    assert life.ended.row_code != EXHAUSTED
