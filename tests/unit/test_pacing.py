"""Breaker, canary, ramp: what the gate lets through after which answers."""

from __future__ import annotations

import random

import pytest

from relay.message import ACCEPTED, Answered, Batch, Fault, Message, Refused, Scope
from relay.worker import pacing
from relay.worker.limits import Limits
from relay.worker.pacing import FULL, TOLERATED, after_ban, after_fault, after_success, allowed_calls, allowed_messages

RNG = random.Random(7)


def broken(faults: int, now: float = 100.0) -> pacing.Gate:
    gate = FULL
    for _ in range(faults):
        gate = after_fault(gate, now, RNG)
    return gate


def test_a_few_faults_change_nothing() -> None:
    assert allowed_calls(broken(TOLERATED), 8, 100.0) == 8
    assert allowed_messages(broken(TOLERATED), 50) == 50


def test_more_faults_in_a_row_stop_all_calls_for_a_while() -> None:
    gate = broken(TOLERATED + 1)
    assert allowed_calls(gate, 8, 100.0) == 0
    assert 100.25 <= gate.open_until <= 100.5


def test_then_one_small_call_goes_first() -> None:
    gate = broken(TOLERATED + 1)
    assert allowed_calls(gate, 8, gate.open_until) == 1
    assert allowed_messages(gate, 50) == 5
    assert allowed_messages(gate, 3) == 3


def test_each_success_doubles_the_calls_until_all_slots_are_open() -> None:
    gate, seen = broken(TOLERATED + 1), []
    for _ in range(4):
        gate = after_success(gate, 8)
        seen.append(allowed_calls(gate, 8, 1000.0))
    assert seen == [2, 4, 8, 8]
    assert gate == FULL


def test_a_canary_that_fails_closes_for_longer_up_to_half_a_minute() -> None:
    gate, closed = broken(TOLERATED + 1), []
    for _ in range(12):
        now = gate.open_until
        gate = after_fault(gate, now, RNG)
        closed.append(gate.open_until - now)
    assert closed[0] <= 1.0
    assert 15.0 <= closed[-1] <= 30.0


def test_the_other_calls_of_a_burst_say_nothing_new() -> None:
    gate = broken(TOLERATED + 1)
    assert after_fault(gate, 100.1, RNG) == gate


def test_one_success_forgives_chance_faults() -> None:
    assert after_success(broken(TOLERATED), 8) == FULL


def test_a_ban_ends_with_a_canary() -> None:
    assert allowed_calls(after_ban(FULL), 8, 0.0) == 1


def limits() -> Limits:
    return Limits(slots=8, batch_size=50, max_bytes=1000, rng=random.Random(1))


BATCH = Batch(1, "default", tuple(Message(number, "t", '{"a":1}') for number in range(10)))


def test_limits_follow_the_answers() -> None:
    learning = limits()
    for _ in range(TOLERATED + 1):
        learning.learn(BATCH, Refused(Fault.PROVIDER), 0.1)
    assert learning.calls == 0
    learning = limits()
    learning.learn(BATCH, Refused(Fault.THROTTLED, scope=Scope.APP), 0.1)
    assert (learning.calls, learning.messages) == (1, 5)
    learning.learn(BATCH, Answered((ACCEPTED,) * 10), 0.1)
    assert (learning.calls, learning.messages) == (2, 50)


def test_one_account_that_is_throttled_or_refused_slows_nobody_else() -> None:
    learning = limits()
    for fault in (Fault.THROTTLED, Fault.CREDENTIALS, Fault.CONTENT):
        learning.learn(BATCH, Refused(fault, scope=Scope.ACCOUNT), 0.1)
    assert (learning.calls, learning.messages) == (8, 50)


def test_a_byte_limit_is_learnt_from_413() -> None:
    learning = limits()
    learning.learn(BATCH, Refused(Fault.CONTENT, http_status=413), 0.1)
    assert learning.max_bytes == sum(message.size_bytes for message in BATCH.messages) // 2
    alone = Batch(2, "default", BATCH.messages[:1])
    learning.learn(alone, Refused(Fault.CONTENT, http_status=413), 0.1)
    assert learning.max_bytes == 40


def after_many(*, claim_seconds: float, flight_seconds: float, slots: int) -> Limits:
    learning = Limits(slots=slots, batch_size=50, max_bytes=1000, rng=random.Random(1))
    for _ in range(100):
        learning.claimed(claim_seconds)
        learning.learn(BATCH, Answered((ACCEPTED,) * 10), flight_seconds)
    return learning


def test_a_first_claim_is_for_all_free_slots() -> None:
    assert limits().portion(8) == 8


@pytest.mark.parametrize(
    ("claim_seconds", "flight_seconds", "portion"),
    [(0.005, 0.1, 2), (0.02, 0.1, 7), (0.005, 0.02, 8), (0.005, 0.005, 16), (0.0001, 10.0, 2)],
)
def test_a_claim_is_for_what_comes_free_while_two_are_made(
    claim_seconds: float, flight_seconds: float, portion: int
) -> None:
    assert after_many(claim_seconds=claim_seconds, flight_seconds=flight_seconds, slots=16).portion(16) == portion


def test_a_portion_is_never_more_than_what_is_free() -> None:
    assert after_many(claim_seconds=0.02, flight_seconds=0.1, slots=16).portion(1) == 1
