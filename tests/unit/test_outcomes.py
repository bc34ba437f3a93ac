"""What an answer means for each message: the whole table, by hand, and what holds for any answer at all."""

from __future__ import annotations

import random
from dataclasses import replace
from math import isinf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.explanations import lacks_permission
from relay.message import ACCEPTED, Answer, Answered, Batch, CallKey, Fault, Message, Outcome, Refused, Result, Scope
from relay.outcomes import EXHAUSTED, PauseOrder, Policy, Verdict, decide, lapsed, released
from relay.tmc.explaining import explain

RNG = random.Random(7)
POLICY = Policy(max_attempts=12, retry_base_seconds=1.0, retry_max_seconds=900.0)
HOLD = replace(POLICY, hold_unknown=True)


def batch_of(*attempts: int, account: str = "shop") -> Batch:
    """Message ids are 101, 102, … so that none equals its index."""
    messages = tuple(
        Message(101 + index, "t", "{}", account=account, attempts=paid) for index, paid in enumerate(attempts)
    )
    return Batch(call_id=9, account=account, messages=messages)


# fault → the call's outcome; each message's outcome, paid, final, whether it waits by itself; whether all is paused
REFUSALS = {
    Fault.PROVIDER: ("rejected", Outcome.RETRY, True, False, "backoff", False),
    Fault.THROTTLED: ("rejected", Outcome.RETRY, False, False, None, True),
    Fault.CREDENTIALS: ("rejected", Outcome.RETRY, False, False, None, True),
    Fault.OURS: ("rejected", Outcome.RETRY, False, False, None, True),
    Fault.UNKNOWN: ("unknown", Outcome.UNKNOWN, True, False, "backoff", False),
    Fault.MESSAGE: ("rejected", Outcome.FAILED, True, True, None, False),
}
# fault of one index → outcome, paid, final, how it waits; its neighbour is done
RESULTS = {
    Fault.MESSAGE: (Outcome.FAILED, True, True, None),
    Fault.CONTENT: (Outcome.FAILED, True, True, None),
    Fault.PROVIDER: (Outcome.RETRY, True, False, "backoff"),
    Fault.THROTTLED: (Outcome.RETRY, False, False, "a second"),
    Fault.CREDENTIALS: (Outcome.RETRY, False, False, "a minute"),
    Fault.OURS: (Outcome.RETRY, False, False, "a minute"),
    Fault.UNKNOWN: (Outcome.UNKNOWN, True, False, "backoff"),
}


def assert_waits(verdict: Verdict, how: str | None, attempts: int) -> None:
    if how is None:
        assert verdict.delay_seconds is None
    elif how in ("a second", "a minute"):
        assert verdict.delay_seconds == {"a second": 1.0, "a minute": 60.0}[how]
    else:
        assert verdict.delay_seconds is not None
        assert 0.0 <= verdict.delay_seconds <= 2.0**attempts


def test_the_tables_are_complete() -> None:
    assert {*REFUSALS, Fault.CONTENT} == set(Fault)
    assert set(RESULTS) == set(Fault)


@pytest.mark.parametrize("fault", REFUSALS, ids=str)
def test_a_refusal_of_the_whole_call(fault: Fault) -> None:
    call_outcome, outcome, paid, final, waits, paused = REFUSALS[fault]
    settlement = decide(batch_of(0, 4), Refused(fault, "15", "isp.x", "said"), POLICY, RNG)
    assert (settlement.call_id, settlement.account, settlement.outcome) == (9, "shop", call_outcome)
    assert (settlement.done, settlement.halves) == ((), ())
    assert [(v.message_id, v.result_index) for v in settlement.verdicts] == [(101, 0), (102, 1)]
    for verdict, attempts in zip(settlement.verdicts, (0, 4), strict=True):
        assert (verdict.outcome, verdict.pays, verdict.final) == (outcome, paid, final)
        assert (verdict.code, verdict.message, verdict.row_code, verdict.row_message) == ("isp.x", "said") * 2
        assert_waits(verdict, waits, attempts)
    assert (settlement.pause is not None) is paused


@pytest.mark.parametrize("fault", RESULTS, ids=str)
def test_one_index_that_was_not_accepted(fault: Fault) -> None:
    outcome, paid, final, waits = RESULTS[fault]
    answer = Answered((ACCEPTED, Result(fault, "isv.x", "said"), ACCEPTED))
    settlement = decide(batch_of(0, 4, 0), answer, POLICY, RNG)
    assert settlement.outcome == "partial"
    assert settlement.done == ((101, 0), (103, 2))
    (verdict,) = settlement.verdicts
    assert (verdict.message_id, verdict.result_index) == (102, 1)
    assert (verdict.outcome, verdict.pays, verdict.final) == (outcome, paid, final)
    assert (verdict.code, verdict.message, verdict.row_code, verdict.row_message) == ("isv.x", "said") * 2
    assert_waits(verdict, waits, 4)
    assert (settlement.halves, settlement.pause) == ((), None)


def test_all_accepted_is_ok_and_carries_the_evidence() -> None:
    answer = Answered((ACCEPTED, ACCEPTED), request_id="r1", http_status=200, request_bytes=77)
    settlement = decide(batch_of(0, 11), answer, POLICY, RNG)
    assert (settlement.outcome, settlement.done, settlement.verdicts) == ("ok", ((101, 0), (102, 1)), ())
    assert (settlement.request_id, settlement.http_status, settlement.request_bytes) == ("r1", 200, 77)
    assert (settlement.error_code, settlement.error_message) == (None, None)


def test_an_answer_that_proves_nothing_for_any_index_is_an_unknown_call() -> None:
    unproven = Result(Fault.UNKNOWN, "relay.unproven")
    settlement = decide(batch_of(0, 0), Answered((unproven, unproven), violation="0 results for 2"), POLICY, RNG)
    assert settlement.outcome == "unknown"
    assert (settlement.error_code, settlement.error_message) == ("relay.contract_violation", "0 results for 2")


def test_unknown_beside_a_refused_index_is_partial() -> None:
    answer = Answered((Result(Fault.UNKNOWN), Result(Fault.MESSAGE, "isv.x")))
    assert decide(batch_of(0, 0), answer, POLICY, RNG).outcome == "partial"


def test_a_batch_refused_for_its_content_is_halved_and_costs_nobody_anything() -> None:
    settlement = decide(batch_of(0, 1, 2, 3, 11), Refused(Fault.CONTENT, "41"), POLICY, RNG)
    assert [[message.id for message in half] for half in settlement.halves] == [[101, 102], [103, 104, 105]]
    assert (settlement.outcome, settlement.done, settlement.verdicts, settlement.pause) == ("rejected", (), (), None)


def test_content_refused_alone_fails_at_once() -> None:
    settlement = decide(batch_of(0), Refused(Fault.CONTENT, "41", "isv.invalid-parameter", "no"), POLICY, RNG)
    (verdict,) = settlement.verdicts
    assert (verdict.outcome, verdict.final, verdict.row_code) == (Outcome.FAILED, True, "isv.invalid-parameter")
    assert settlement.halves == ()


def test_the_last_attempt_fails_and_keeps_what_the_platform_said_last() -> None:
    settlement = decide(batch_of(10, 11), Refused(Fault.PROVIDER, "15", "isp.down", "broken"), POLICY, RNG)
    first, last = settlement.verdicts
    assert (first.final, first.row_code) == (False, "isp.down")
    assert (last.outcome, last.pays, last.final) == (Outcome.FAILED, True, True)
    assert (last.row_code, last.row_message) == (EXHAUSTED, "12 attempts; the last one: isp.down: broken")
    assert (last.code, last.message) == ("isp.down", "broken")


def test_an_unknown_stays_unknown_in_its_attempt_also_when_it_was_the_last() -> None:
    (verdict,) = decide(batch_of(11), Refused(Fault.UNKNOWN, "relay.timeout"), POLICY, RNG).verdicts
    assert (verdict.outcome, verdict.final, verdict.row_code) == (Outcome.UNKNOWN, True, EXHAUSTED)


@pytest.mark.parametrize("fault", [Fault.THROTTLED, Fault.CREDENTIALS, Fault.OURS], ids=str)
def test_what_is_nobodys_fault_never_exhausts(fault: Fault) -> None:
    (verdict,) = decide(batch_of(500), Refused(fault, "7"), POLICY, RNG).verdicts
    assert (verdict.pays, verdict.final) == (False, False)


@pytest.mark.parametrize("attempts", [0, 11, 500])
def test_hold_keeps_an_unknown_for_a_person_whatever_it_has_tried(attempts: int) -> None:
    whole = decide(batch_of(attempts), Refused(Fault.UNKNOWN, "relay.timeout"), HOLD, RNG).verdicts[0]
    single = decide(batch_of(attempts), Answered((Result(Fault.UNKNOWN),)), HOLD, RNG).verdicts[0]
    gone = lapsed(CallKey(9, 5), "shop", [(101, attempts)], HOLD, RNG).verdicts[0]
    for verdict in (whole, single, gone):
        assert (verdict.outcome, verdict.pays, verdict.final) == (Outcome.UNKNOWN, True, False)
        assert verdict.delay_seconds is not None
        assert isinf(verdict.delay_seconds)


def test_hold_is_for_the_unknown_alone() -> None:
    (verdict,) = decide(batch_of(0), Refused(Fault.PROVIDER, "10"), HOLD, RNG).verdicts
    assert verdict.delay_seconds is not None
    assert not isinf(verdict.delay_seconds)


PAUSES = {
    "throttled for a named time": (
        Refused(Fault.THROTTLED, "7", "accesscontrol.x", "wait", scope=Scope.APP, app_key="77", pause_seconds=3.0),
        PauseOrder("app:77", 3.0, "throttled by the platform: wait", "accesscontrol.x"),
    ),
    "a ban that is over already": (
        Refused(Fault.THROTTLED, "7", pause_seconds=0.0),
        PauseOrder("account:shop", 0.0, "throttled by the platform: no reason given", "7"),
    ),
    "throttled without a time": (
        Refused(Fault.THROTTLED, "4", message="wait"),
        PauseOrder("account:shop", 1.0, "throttled by the platform: wait", "4"),
    ),
    "credentials": (
        Refused(Fault.CREDENTIALS, "27", "session-expired", "late", app_key="77", credential="c0ffee"),
        PauseOrder("account:shop", None, "credentials refused: late", "session-expired", "c0ffee"),
    ),
    "credentials of the app": (
        Refused(Fault.CREDENTIALS, "25", message="sign", scope=Scope.APP, app_key="77", credential="c0ffee"),
        PauseOrder("app:77", None, "credentials refused: sign", "25", "c0ffee"),
    ),
    "no credentials at all": (
        Refused(Fault.CREDENTIALS, "relay.no_credentials", message="none", scope=Scope.APP),
        PauseOrder("account:shop", None, "credentials refused: none", "relay.no_credentials", "none"),
    ),
    "our fault": (
        Refused(Fault.OURS, "21", message="method", scope=Scope.APP, app_key="77"),
        PauseOrder("app:77", 60.0, "the platform cannot read our requests: method", "21"),
    ),
    "a clock that is off": (
        Refused(Fault.OURS, "31", message="time", scope=Scope.APP, app_key="77", pause_seconds=5.0),
        PauseOrder("app:77", 5.0, "the platform cannot read our requests: time", "31"),
    ),
}


@pytest.mark.parametrize("case", PAUSES)
def test_what_is_paused_and_for_how_long(case: str) -> None:
    answer, order = PAUSES[case]
    assert decide(batch_of(0), answer, POLICY, RNG).pause == order


@pytest.mark.parametrize(
    ("named", "seconds"),
    [(86_400.0, 86_400.0), (1e18, 86_400.0), (float("inf"), 86_400.0), (float("nan"), 86_400.0), (-5.0, 0.0)],
)
def test_no_platform_can_stop_us_for_longer_than_a_day(named: float, seconds: float) -> None:
    settlement = decide(batch_of(0), Refused(Fault.THROTTLED, "7", pause_seconds=named), POLICY, RNG)
    assert settlement.pause is not None
    assert settlement.pause.seconds == seconds
    answer = Answered((Result(Fault.THROTTLED, "7", pause_seconds=named),))
    assert decide(batch_of(0), answer, POLICY, RNG).verdicts[0].delay_seconds == seconds


def test_a_throttled_index_waits_as_long_as_the_platform_asked() -> None:
    (verdict,) = decide(batch_of(0), Answered((Result(Fault.THROTTLED, pause_seconds=42.0),)), POLICY, RNG).verdicts
    assert verdict.delay_seconds == 42.0


def test_a_call_that_was_never_made_costs_nothing() -> None:
    settlement = released(batch_of(3, 4))
    assert (settlement.outcome, settlement.done, settlement.verdicts, settlement.halves) == ("released", (), (), ())


def test_a_call_of_a_worker_that_is_gone_is_unknown_for_each_message() -> None:
    settlement = lapsed(CallKey(9, 5), "shop", [(101, 0), (102, 11)], POLICY, RNG)
    assert (settlement.outcome, settlement.error_code) == ("unknown", "relay.lease_expired")
    again, ended = settlement.verdicts
    assert (again.message_id, again.result_index, again.outcome, again.final) == (101, 0, Outcome.UNKNOWN, False)
    assert (ended.message_id, ended.result_index, ended.outcome, ended.final) == (102, 1, Outcome.UNKNOWN, True)
    assert (ended.code, ended.row_code) == ("relay.lease_expired", EXHAUSTED)


texts = st.none() | st.text(max_size=20)
seconds = st.none() | st.floats(0, 1e6)
results = st.builds(Result, st.none() | st.sampled_from(Fault), texts, texts, seconds)
refusals = st.builds(
    Refused,
    st.sampled_from(Fault),
    texts,
    texts,
    texts,
    scope=st.sampled_from(Scope),
    pause_seconds=seconds,
    app_key=st.none() | st.text(min_size=1, max_size=8),
    credential=texts,
)


@st.composite
def calls(draw: st.DrawFn) -> tuple[Batch, Answer]:
    attempts = draw(st.lists(st.integers(0, 15), min_size=1, max_size=50))
    count = len(attempts)
    answered = st.lists(results, min_size=count, max_size=count).map(lambda said: Answered(tuple(said)))
    return batch_of(*attempts), draw(answered | refusals)


@given(calls(), st.booleans())
def test_any_answer_names_every_message_exactly_once_and_done_only_the_accepted(
    call: tuple[Batch, Answer], hold: bool
) -> None:
    batch, answer = call
    settlement = decide(batch, answer, HOLD if hold else POLICY, RNG)
    halves = [message.id for half in settlement.halves for message in half]
    named = [id_ for id_, _ in settlement.done] + [v.message_id for v in settlement.verdicts] + halves
    assert sorted(named) == [message.id for message in batch.messages]
    said = answer.results if isinstance(answer, Answered) else ()
    assert [index for _, index in settlement.done] == [index for index, r in enumerate(said) if r.accepted]
    for id_, index in [*settlement.done, *((v.message_id, v.result_index) for v in settlement.verdicts)]:
        assert batch.messages[index].id == id_
    for verdict in settlement.verdicts:
        assert not (verdict.final and verdict.delay_seconds is not None)
        assert verdict.outcome is not Outcome.FAILED or verdict.final
    assert all(settlement.halves) or settlement.halves == ()


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("11", True),
        ("12", True),
        ("13", True),
        ("isv.permission-ip-whitelist-limit", True),
        ("25", False),
        (None, False),
    ],
)
def test_which_pauses_no_other_credential_lifts(code: str | None, expected: bool) -> None:
    assert lacks_permission(code, explain) is expected


@pytest.mark.parametrize("code", [EXHAUSTED, "relay.discarded", "relay.expired", "relay.unreadable"])
def test_what_only_the_relay_can_say_is_believed_of_no_producer(code: str) -> None:
    """A refusal for good would be tried again as exhausted, and a discarded message is a person's alone."""
    told = decide(batch_of(0, 0), Answered((ACCEPTED, Result(Fault.MESSAGE, code, "no"))), POLICY, RNG)
    assert (told.done, [verdict.row_code for verdict in told.verdicts]) == (((101, 0),), [f"producer:{code}"])
    whole = decide(batch_of(0), Refused(Fault.MESSAGE, "27", sub_code=code), POLICY, RNG)
    assert (whole.sub_code, whole.verdicts[0].row_code) == (f"producer:{code}", f"producer:{code}")
