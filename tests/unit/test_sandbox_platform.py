"""The platform as a state machine: the order of its checks, what it keeps, and how bans run."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pytest

from relay.errors import ConfigurationError
from relay.sandbox.answers import Produced, Refusal, Reply
from relay.sandbox.checks import App, moment_of
from relay.sandbox.platform import APP_KEY, APP_SECRET, SESSION, Platform, PlatformPolicy, ResultsOnSuccess

NOON_IN_BEIJING = 1767326400.0  # 2026-01-02 04:00:00 UTC


@dataclass
class Clock:
    now: float = NOON_IN_BEIJING

    def __call__(self) -> float:
        return self.now


def element(**changes: Any) -> dict[str, Any]:
    return {"topic": "taobao_jds_TradeTrace", "content": '{"tid":1}', **changes}


def call_params(elements: object = None, secret: str = APP_SECRET, **changes: str) -> dict[str, str]:
    """A good call of one message, then the changes; an empty string leaves the parameter out."""
    params = {
        "method": "taobao.tmc.messages.produce",
        "app_key": APP_KEY,
        "timestamp": "2026-01-02 12:00:00",
        "v": "2.0",
        "format": "json",
        "sign_method": "hmac-sha256",
        "messages": json.dumps([element()] if elements is None else elements),
        **changes,
    }
    params = {name: value for name, value in params.items() if value}
    text = "".join(name + params[name] for name in sorted(params) if name != "sign")
    params.setdefault("sign", hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest().upper())
    return params


def platform(policy: PlatformPolicy | None = None, faults: Iterable[str] = (), clock: Clock | None = None) -> Platform:
    return Platform(policy, faults, now=clock or Clock())


def refusal_of(reply: Reply) -> Refusal:
    assert isinstance(reply.answer, Refusal)
    return reply.answer


def codes_of(reply: Reply) -> list[str | None]:
    assert isinstance(reply.answer, Produced)
    assert reply.answer.results is not None
    return [result.error_code for result in reply.answer.results]


# --- the gate ---------------------------------------------------------------------------------------------------------

WRONG = "0" * 64
GATE: list[tuple[int, dict[str, str]]] = [
    (28, {"app_key": ""}),
    (24, {"sign": " "}),
    (21, {"method": ""}),
    (30, {"timestamp": ""}),
    (32, {"v": ""}),
    (23, {"format": "yaml"}),
    (33, {"v": "two"}),
    (34, {"v": "3.0"}),
    (31, {"timestamp": "2026-01-02 04:00:00"}),
    (29, {"app_key": "20000002"}),
    (22, {"method": "taobao.tmc.message.produce"}),
    (25, {"sign": WRONG}),
    (27, {"session": "not-granted"}),
    (40, {"messages": ""}),
]


@pytest.mark.parametrize(("code", "changes"), GATE)
def test_each_check_has_its_code(code: int, changes: dict[str, str]) -> None:
    sandbox = platform()
    assert refusal_of(sandbox.handle("POST", call_params(**changes))).code == code
    assert sandbox.messages == []


@pytest.mark.parametrize("position", range(len(GATE) - 1))
def test_the_earlier_check_is_reported_when_two_fail(position: int) -> None:
    (code, changes), (_, later) = GATE[position : position + 2]
    assert refusal_of(platform().handle("POST", call_params(**{**later, **changes}))).code == code


def test_the_verb_comes_before_everything() -> None:
    assert refusal_of(platform().handle("PUT", {})).code == 9
    assert codes_of(platform().handle("GET", call_params())) == [None]


def test_sub_codes_where_they_are_known() -> None:
    sandbox = platform()
    assert refusal_of(sandbox.handle("POST", call_params(app_key="1"))).sub_code == "isv.appkey-not-exists"
    assert refusal_of(sandbox.handle("POST", call_params(session="x"))).sub_code == "invalid-sessionkey"


@pytest.mark.parametrize(
    ("timestamp", "accepted"),
    [
        ("2026-01-02 12:10:00", True),
        ("2026-01-02 11:50:00", True),
        ("2026-01-02 12:10:01", False),
        ("2026-01-02 11:49:59", False),
        ("1767326400000", True),
        ("1767327000000", True),
        ("1767327001000", False),
        ("1767326400", False),  # seconds are not milliseconds
        ("2026-01-02T12:00:00", False),
        ("2026-13-02 12:00:00", False),
        ("2026-1-2 12:00:00", False),
        ("9" * 5000, False),
    ],
)
def test_time_is_beijing_or_milliseconds_within_ten_minutes(timestamp: str, accepted: bool) -> None:
    answer = platform().handle("POST", call_params(timestamp=timestamp)).answer
    assert isinstance(answer, Produced) if accepted else answer == Refusal(31, "Invalid timestamp")


def test_moments_are_seconds_since_the_epoch() -> None:
    assert moment_of("2026-01-02 12:00:00") == NOON_IN_BEIJING
    assert moment_of("1767326400500") == NOON_IN_BEIJING + 0.5


def test_a_session_is_optional_unless_the_policy_says_otherwise() -> None:
    assert codes_of(platform().handle("POST", call_params(session=SESSION))) == [None]
    strict = platform(PlatformPolicy(session_required=True))
    assert refusal_of(strict.handle("POST", call_params())).code == 26
    assert codes_of(strict.handle("POST", call_params(session=SESSION))) == [None]


def test_a_session_belongs_to_its_app() -> None:
    apps = {"1": App("one", frozenset({"session-of-1"})), "2": App("two", frozenset({"session-of-2"}))}
    sandbox = platform(PlatformPolicy(apps=apps))
    crossed = call_params(app_key="1", session="session-of-2", secret="one")
    assert refusal_of(sandbox.handle("POST", crossed)).code == 27
    assert codes_of(sandbox.handle("POST", call_params(app_key="2", session="session-of-2", secret="two"))) == [None]


def test_xml_is_the_default_and_simplify_is_true_or_1() -> None:
    reply = platform().handle("POST", call_params(format="", simplify="1"))
    assert (reply.form, reply.simplify) == ("xml", True)
    assert not platform().handle("POST", call_params(simplify="false")).simplify


# --- the messages -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["{}", "[]", "null", "[1]", "[null]", "[{}", "[NaN]", json.dumps([element()] * 51)])
def test_what_is_not_1_to_50_objects_refuses_the_call(text: str) -> None:
    refusal = refusal_of(platform().handle("POST", call_params(messages=text)))
    assert (refusal.code, refusal.msg) == (41, "Invalid arguments:messages")


@pytest.mark.parametrize(
    "changes",
    [
        {"content": None},
        {"content": {"tid": 1}},
        {"content": ""},
        {"content": "[1]"},
        {"content": '{"a":NaN}'},
        {"content": "{"},
        {"content": "[" * 100_000},
        {"content": '{"a":"' + "x" * 122_873 + '"}'},
        {"topic": None},
        {"topic": " "},
        {"topic": 7},
        {"topic": "t" * 257},
        {"target_group": 1},
        {"target_app_key": ["1"]},
        {"json_ex_content": "x"},
        {"json_ex_content": {}},
        {"json_ex_content": '{"a":"' + "x" * 500 + '"}'},
    ],
)
def test_an_unacceptable_element_is_refused_alone(changes: dict[str, Any]) -> None:
    sandbox = platform()
    reply = sandbox.handle("POST", call_params([element(content='{"n":0}'), element(**changes), element()]))
    assert codes_of(reply) == [None, "isv.invalid-parameter", None]
    assert isinstance(reply.answer, Produced)
    assert not reply.answer.is_all_success
    assert [(message.index, message.content) for message in sandbox.messages] == [(0, '{"n":0}'), (2, '{"tid":1}')]


@pytest.mark.parametrize(
    "changes",
    [
        {"content": '{"a":"' + "向" * 122_872 + '"}'},
        {"content": '{"tid":' + "9" * 5000 + "}"},
        {"topic": "t" * 256},
        {"target_group": None, "target_app_key": None, "json_ex_content": None, "unheard_of": 1},
        {"target_group": "default", "target_app_key": "87654321", "json_ex_content": '{"full_link_test":true}'},
    ],
)
def test_limits_are_inclusive_and_null_is_absent(changes: dict[str, Any]) -> None:
    assert codes_of(platform().handle("POST", call_params([element(**changes)]))) == [None]


def test_topics_can_be_restricted() -> None:
    sandbox = platform(PlatformPolicy(topics=frozenset({"taobao_jds_TradeTrace"})))
    reply = sandbox.handle("POST", call_params([element(), element(topic="another")]))
    assert codes_of(reply) == [None, "isv.invalid-permission"]


def test_what_is_kept_of_a_message() -> None:
    sandbox = platform()
    content = '{"tid": 1234554321, "seller_nick": "向阳aa\\/"}'
    sent = [element(), element(content=content, target_group="g", target_app_key="8", json_ex_content="{}")]
    reply = sandbox.handle("POST", call_params(sent, session=SESSION))
    first, second = sandbox.messages
    assert (first.id, first.index, first.target_group) == (1, 0, None)
    assert (second.id, second.index, second.content, second.topic) == (2, 1, content, "taobao_jds_TradeTrace")
    assert (second.target_group, second.target_app_key, second.json_ex_content) == ("g", "8", "{}")
    assert (second.app_key, second.session_tail, second.request_id) == (APP_KEY, "0001", reply.request_id)
    assert second.received_at == "2026-01-02T04:00:00.000000+00:00"
    assert SESSION not in repr(sandbox.messages) + repr(sandbox.calls) + repr(sandbox.policy)
    assert APP_SECRET not in repr(sandbox.policy)


@pytest.mark.parametrize(
    ("wanted", "results"), [(ResultsOnSuccess.FULL, 2), (ResultsOnSuccess.EMPTY, 0), (ResultsOnSuccess.ABSENT, None)]
)
def test_the_list_of_a_full_success_shows_as_wanted(wanted: ResultsOnSuccess, results: int | None) -> None:
    sandbox = platform(PlatformPolicy(results_on_success=wanted))
    answer = sandbox.handle("POST", call_params([element()] * 2)).answer
    assert isinstance(answer, Produced)
    assert answer.is_all_success
    assert (None if answer.results is None else len(answer.results)) == results
    assert codes_of(sandbox.handle("POST", call_params([element(), element(topic="")]))) == [
        None,
        "isv.invalid-parameter",
    ]


# --- faults over time -------------------------------------------------------------------------------------------------


def test_a_ban_holds_for_every_call_of_the_app_until_it_ends() -> None:
    clock = Clock()
    sandbox = platform(faults=["throttle=5@#2"], clock=clock)
    assert codes_of(sandbox.handle("POST", call_params())) == [None]
    banned = refusal_of(sandbox.handle("POST", call_params()))
    assert banned.code == 7
    assert banned.sub_code == "accesscontrol.limited-by-app-api-access-count"
    assert banned.sub_msg == "This ban will last for 5 more seconds"
    clock.now += 3.5
    again = refusal_of(sandbox.handle("POST", call_params(method="none", sign=WRONG)))
    assert again.sub_msg == "This ban will last for 2 more seconds"
    clock.now += 1.5
    assert codes_of(sandbox.handle("POST", call_params())) == [None]
    assert [call.fault for call in sandbox.calls] == [None, "throttle", "throttle", None]


def test_a_ban_leaves_other_apps_alone() -> None:
    sandbox = platform(PlatformPolicy(apps={"1": App("one"), "2": App("two")}), ["throttle=60@#1"])
    assert refusal_of(sandbox.handle("POST", call_params(app_key="1", secret="one"))).code == 7
    assert codes_of(sandbox.handle("POST", call_params(app_key="2", secret="two"))) == [None]
    assert refusal_of(sandbox.handle("POST", call_params(app_key="1", secret="one"))).code == 7


def test_a_quota_lasts_until_midnight_in_beijing() -> None:
    banned = refusal_of(platform(faults=["quota"]).handle("POST", call_params()))
    assert banned.sub_code == "accesscontrol.limited-by-app-access-count"
    assert banned.sub_msg == f"This ban will last for {12 * 3600} more seconds"


def test_new_faults_end_bans_and_count_afresh() -> None:
    sandbox = platform(faults=["quota@#1"])
    assert refusal_of(sandbox.handle("POST", call_params())).code == 7
    sandbox.set_faults(["clock@#2"])
    assert codes_of(sandbox.handle("POST", call_params())) == [None]
    assert refusal_of(sandbox.handle("POST", call_params())).code == 31


def test_faults_that_cannot_be_read_change_nothing() -> None:
    sandbox = platform(faults=["clock"])
    with pytest.raises(ConfigurationError):
        sandbox.set_faults(["down", "dwon"])
    assert sandbox.faults == ["clock"]


@pytest.mark.parametrize(
    ("fault", "code", "sub_code"),
    [
        ("clock", 31, None),
        ("wrong-sign", 25, None),
        ("session-expired", 27, "session-expired"),
        ("no-permission", 11, "isv.permission-api-package-limit"),
        ("refuse-batch=tid", 41, "isv.invalid-parameter"),
        ("down", 15, "isp.remote-service-error"),
        ("down=10", 10, "isp.service-unavailable"),
    ],
)
def test_faults_that_refuse_the_call_store_nothing(fault: str, code: int, sub_code: str | None) -> None:
    sandbox = platform(faults=[fault])
    refusal = refusal_of(sandbox.handle("POST", call_params([element()] * 3)))
    assert (refusal.code, refusal.sub_code) == (code, sub_code)
    assert sandbox.messages == []
    (call,) = sandbox.calls
    assert (call.number, call.count, call.accepted, call.stored) == (1, 3, 0, False)
    assert (call.status, call.code, call.sub_code, call.fault) == (200, code, sub_code, fault.partition("=")[0])


def test_an_imitated_fault_keeps_its_place_in_the_order() -> None:
    sandbox = platform(faults=["down", "session-expired"])
    assert refusal_of(sandbox.handle("POST", call_params(sign=WRONG))).code == 25
    assert refusal_of(sandbox.handle("POST", call_params())).code == 27


def test_faults_after_storing_are_told_by_the_records() -> None:
    sandbox = platform(faults=["refuse=bad", "cut-after"])
    reply = sandbox.handle("POST", call_params([element(), element(content='{"bad":1}')]))
    assert reply.answer.status is None
    (call,) = sandbox.calls
    assert (call.count, call.accepted, call.stored, call.status, call.fault) == (2, 1, True, None, "refuse,cut-after")
    assert call.request_id == sandbox.messages[0].request_id


def test_forgetting_keeps_the_numbers_going() -> None:
    sandbox = platform()
    sandbox.handle("POST", call_params())
    sandbox.forget()
    assert (sandbox.messages, sandbox.calls) == ([], [])
    sandbox.handle("POST", call_params())
    assert (sandbox.messages[0].id, sandbox.calls[0].number) == (2, 2)
