"""How faults are written, and when they strike."""

from __future__ import annotations

import pytest

from relay.errors import ConfigurationError
from relay.sandbox.answers import Produced, ProduceResult, Refusal, Reply
from relay.sandbox.checks import Stage
from relay.sandbox.faults import KINDS, BansApp, RefusesCall, RefusesMessage
from relay.sandbox.strikes import FaultPlan, When, parse_fault

NAMES = {
    "refuse", "refuse-later", "refuse-batch", "throttle", "quota", "down", "timeout", "cut-before", "cut-after",
    "http-502", "truncated", "short-list", "long-list", "no-results", "slow", "session-expired", "wrong-sign", "clock",
    "no-permission",
}  # fmt: skip


def test_the_names_are_these_and_each_has_a_sentence_of_help() -> None:
    assert set(KINDS) == NAMES
    for kind in KINDS.values():
        assert kind.help.endswith(".")


@pytest.mark.parametrize("name", sorted(NAMES))
def test_every_fault_works_without_an_argument_and_with_every_when(name: str) -> None:
    assert parse_fault(name).when == When()
    assert parse_fault(f"{name}@3.5%").when == When(chance=0.035)
    assert parse_fault(f"{name}@#2,15").when == When(calls=frozenset({2, 15}))


def test_arguments_may_hold_the_signs_of_the_grammar() -> None:
    effect = parse_fault("refuse=a=b@example.com@#3").effect
    assert isinstance(effect, RefusesMessage)
    assert effect.containing == "a=b@example.com"
    assert parse_fault("throttle=2.5").effect == BansApp("accesscontrol.limited-by-app-api-access-count", 2.5)
    assert parse_fault("quota").effect == BansApp("accesscontrol.limited-by-app-access-count", None)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("down=10", Refusal(10, "Service currently unavailable", "isp.service-unavailable")),
        ("down=50", Refusal(50, "Remote service error", "isp.remote-service-error")),
        ("down", Refusal(15, "Remote service error", "isp.remote-service-error")),
    ],
)
def test_down_comes_in_three_codes(text: str, said: Refusal) -> None:
    assert parse_fault(text).effect == RefusesCall(Stage.BACKEND, said)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("cutafter", "Did you mean 'cut-after'?"),
        ("trottle=3", "Did you mean 'throttle'?"),
        ("http-500", "Did you mean 'http-502'?"),
        ("xyzzyqqq", "Known are: refuse, "),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(text: str, hint: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_fault(text)
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    "text",
    ["", "@3%", "down@", "down@3", "down@0%", "down@101%", "cut-after@#0", "cut-after@#", "timeout=3", "slow=fast",
     "throttle=-1", "throttle=nan", "down=11", "Down", "down=15 ", "throttle=5@2"],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError):
        parse_fault(text)


def test_numbered_calls_are_counted_from_one() -> None:
    plan = FaultPlan(["clock@#1,3"])
    struck = [plan.next_call().answer_at(Stage.CLOCK) is not None for _ in range(4)]
    assert struck == [True, False, True, False]


def test_chance_is_repeated_by_the_same_seed_and_changed_by_another() -> None:
    def pattern(seed: int) -> list[bool]:
        plan = FaultPlan(["down@30%"], seed)
        return [plan.next_call().answer_at(Stage.BACKEND) is not None for _ in range(1000)]

    assert pattern(7) == pattern(7)
    assert pattern(7) != pattern(8)
    assert 250 < sum(pattern(7)) < 350


def test_single_messages_are_struck_one_by_one() -> None:
    strikes = FaultPlan(["refuse-later@30%"]).next_call()
    struck = sum(strikes.result_for("{}") is not None for _ in range(1000))
    assert 250 < struck < 350
    assert strikes.names == ["refuse-later"]


def test_text_selects_messages_and_the_first_fault_wins() -> None:
    strikes = FaultPlan(["refuse=bad", "refuse-later=ba"]).next_call()
    codes = [(strikes.result_for(text) or ProduceResult()).error_code for text in ('{"bad":1}', '{"bar":1}', "{}")]
    assert codes == ["isv.invalid-parameter", "isp.remote-service-error", None]


def test_a_stage_hears_only_its_own_faults() -> None:
    strikes = FaultPlan(["refuse-batch=bad", "wrong-sign"]).next_call()
    assert strikes.answer_at(Stage.BACKEND) is None
    assert strikes.answer_at(Stage.CONTENT, ["good", "worse"]) is None
    assert strikes.names == []
    refusal = strikes.answer_at(Stage.CONTENT, ["good", "a bad one"])
    assert isinstance(refusal, Refusal)
    assert refusal.code == 41
    assert strikes.names == ["refuse-batch"]


def test_lists_of_the_wrong_length_claim_a_failure_so_that_they_are_read() -> None:
    good = Reply(Produced(True, (ProduceResult(), ProduceResult())), "r")
    assert FaultPlan(["short-list"]).next_call().spoil(good).answer == Produced(False, (ProduceResult(),))
    assert FaultPlan(["long-list"]).next_call().spoil(good).answer == Produced(False, (ProduceResult(),) * 3)
    assert FaultPlan(["no-results"]).next_call().spoil(good).answer == Produced(True, None)


def test_spoiling_faults_add_up() -> None:
    good = Reply(Produced(True, (ProduceResult(),)), "r")
    spoilt = FaultPlan(["slow=0.5", "slow=2", "timeout", "no-results", "truncated"]).next_call().spoil(good)
    assert spoilt.delay_seconds == 2.5
    assert spoilt.half
    assert spoilt.answer == Refusal(15, "Remote service error", "isp.remote-service-timeout")
