"""What comes back: every answer of the vectors, and that nothing else is ever taken for a proof."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relay.message import Answered, Fault, Refused, Result, Scope
from relay.tmc import read_answer
from relay.tmc.codes import classify_call, classify_result, retry_after_seconds, seconds_to_midnight_china
from relay.tmc.xml import MAX_DEPTH, XmlError, parse_xml

VECTORS = Path(__file__).parents[1] / "vectors" / "tmc"
ANSWERS = json.loads((VECTORS / "answers.json").read_text())["cases"]
CALLS, RESULTS = (json.loads((VECTORS / "codes.json").read_text())[name] for name in ("calls", "results"))
BODIES = [case["body"].encode() for case in ANSWERS]
SINGLE = [case["body"].encode() for case in ANSWERS if not case["id"].endswith("after-the-end")]


def read(case: dict[str, Any]) -> Answered | Refused:
    told = {name: case[name] for name in ("count", "retry_after", "unix_seconds", "content_type") if name in case}
    return read_answer(case.get("status", 200), case["body"].encode(), request_bytes=321, **told)


def spoken(result: Result) -> str:
    return "accepted" if result.fault is None else f"{result.fault} {result.code}"


@pytest.mark.parametrize("case", ANSWERS, ids=[case["id"] for case in ANSWERS])
def test_the_answers_of_the_vectors(case: dict[str, Any]) -> None:
    answer = read(case)
    assert (answer.http_status, answer.request_bytes) == (case.get("status", 200), 321)
    assert answer.request_id == case.get("request_id")
    if "refused" in case:
        assert isinstance(answer, Refused)
        assert {name: getattr(answer, name) for name in case["refused"]} == case["refused"]
        return
    assert isinstance(answer, Answered)
    assert [spoken(result) for result in answer.results] == case["results"]
    assert (answer.violation is not None) == case.get("violation", False)
    if "messages" in case:
        assert [result.message for result in answer.results] == case["messages"]
    if "pauses" in case:
        assert [result.pause_seconds for result in answer.results] == case["pauses"]


@pytest.mark.parametrize(("code", "sub_code", "text", "fault", "scope", "seconds"), CALLS)
def test_the_codes_of_the_vectors(
    code: str, sub_code: str, text: str, fault: str, scope: str | None, seconds: float | None
) -> None:
    said = classify_call(code, sub_code, text)
    assert said == (Fault(fault), Scope(scope) if scope else said[1], seconds)


@pytest.mark.parametrize(("code", "text", "fault", "scope", "seconds"), RESULTS)
def test_the_codes_of_one_index(code: str, text: str, fault: str, scope: str, seconds: float | None) -> None:
    assert classify_result(code, text) == (Fault(fault), Scope(scope), seconds)


def test_the_case_of_a_sub_code_does_not_matter() -> None:
    assert classify_call("15", "ISP.Remote-Service-Timeout", "")[0] is Fault.UNKNOWN


def test_stored_texts_are_one_line_and_bounded() -> None:
    error = {"code": 41, "sub_code": "isv." + "c" * 300, "msg": "m\n" * 2000, "request_id": "r" * 300}
    answer = read_answer(200, json.dumps({"error_response": error}).encode(), count=1, request_bytes=0)
    assert isinstance(answer, Refused)
    assert answer.message == ("m " * 2000)[:500]
    assert answer.sub_code == "isv." + "c" * 124
    assert answer.request_id == "r" * 128


@pytest.mark.parametrize(
    ("moment", "seconds"),
    [(1767283199.0, 1.0), (1767283200.0, 86400.0), (1767283200.5, 86399.5), (1767294245.0, 75355.0)],
)
def test_the_day_of_the_quota_ends_at_midnight_in_china(moment: float, seconds: float) -> None:
    assert seconds_to_midnight_china(moment) == seconds


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0", 0.0),
        (" 7 ", 7.0),
        ("99999999999999999999", 86400.0),
        ("Fri, 02 Jan 2026 03:04:05 GMT", 0.0),
        ("Fri, 02 Jan 2099 03:04:05 GMT", 86400.0),
        ("-1", None),
        ("1.5", None),
        ("²", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after(header: str | None, seconds: float | None) -> None:
    assert retry_after_seconds(header, 1767323999.0) == seconds


def test_a_date_says_nothing_without_a_clock() -> None:
    assert retry_after_seconds("Fri, 02 Jan 2099 03:04:05 GMT", None) is None


def test_xml_has_the_shapes_of_json() -> None:
    text = '<a x="1"><b>1</b><c/><b> 2 </b><b><d>&lt;&#20013;</d></b><!-- no --></a><!--host-->'
    assert parse_xml(text) == {"a": {"b": ["1", "2", {"d": "<中"}], "c": ""}}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<a>",
        "<a></b>",
        "<a/>tail",
        "<!DOCTYPE a><a/>",
        '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
        '<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>',
        "<a>&b;</a>",
        "<a>" * (MAX_DEPTH + 1) + "</a>" * (MAX_DEPTH + 1),
    ],
)
def test_xml_that_is_refused(text: str) -> None:
    with pytest.raises(XmlError):
        parse_xml(text)


def test_xml_may_be_as_deep_as_the_bound() -> None:
    assert parse_xml("<a>" * MAX_DEPTH + "</a>" * MAX_DEPTH)


def test_deep_json_is_unreadable() -> None:
    answer = read_answer(200, b'{"a":' + b"[" * 200_000, count=1, request_bytes=0)
    assert isinstance(answer, Refused)
    assert answer.fault is Fault.UNKNOWN


# -- rubbish ---------------------------------------------------------------------------------------------------------

steady = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

flags: st.SearchStrategy[Any] = st.sampled_from([True, False, None, "true", " False ", 1, 0, "yes", {}, []])
codes: st.SearchStrategy[Any] = st.sampled_from(
    [None, "", "isv.x", "isp.x-timeout", "isp.x", "session-expired", 7, 0, True, [], {}]
)
entries = st.fixed_dictionaries({}, optional={"is_success": flags, "error_code": codes, "error_message": codes})
lists: st.SearchStrategy[Any] = st.lists(entries | st.sampled_from([None, "true", True, []]), max_size=6)
counts = st.integers(1, 5)


def says_true(value: object) -> bool:
    """Written apart from the code under test: the real boolean, or its name."""
    return value is True or (isinstance(value, str) and value.strip().lower() == "true")


def says_true_of(entry: object) -> bool:
    return isinstance(entry, dict) and says_true(entry.get("is_success"))


def says_nothing(entry: object) -> bool:
    return entry is None or (isinstance(entry, dict) and all(value in (None, "") for value in entry.values()))


@steady
@given(flags, lists | st.none(), counts, st.booleans(), st.booleans())
def test_accepted_only_on_proof(flag: object, found: Any, count: int, simplified: bool, wrapped: bool) -> None:
    response = {"is_all_success": flag, "results": {"tmc_produce_result": found} if wrapped else found}
    root = response if simplified else {"tmc_messages_produce_response": response}
    answer = read_answer(200, json.dumps(root).encode(), count=count, request_bytes=0)
    proved = [says_true(flag)] * count
    silent = all(says_nothing(entry) for entry in found or [])
    if found and not (says_true(flag) and silent and len(found) == count):
        entry_says = [says_true_of(entry) for entry in found]
        proved = (entry_says + [False] * count)[:count]
    assert isinstance(answer, Answered)
    assert [result.accepted for result in answer.results] == proved


@steady
@given(st.integers(100, 599), st.binary(), counts)
def test_any_bytes_are_read_and_prove_nothing(status: int, body: bytes, count: int) -> None:
    answer = read_answer(status, body, count=count, request_bytes=0)
    assert isinstance(answer, Refused)
    if status == 200:
        assert answer.fault is Fault.UNKNOWN


@steady
@given(st.sampled_from(BODIES), st.data(), counts, st.sampled_from([200, 400, 429, 500, 503]))
def test_a_damaged_answer_is_read(body: bytes, data: st.DataObject, count: int, status: int) -> None:
    start = data.draw(st.integers(0, len(body)))
    end = data.draw(st.integers(start, len(body)))
    damaged = body[:start] + data.draw(st.binary(max_size=8)) + body[end:]
    answer = read_answer(status, damaged, count=count, request_bytes=0)
    if isinstance(answer, Answered):
        assert status == 200
        assert len(answer.results) == count
        accepted = sum(result.accepted for result in answer.results)
        assert accepted <= damaged.lower().count(b"true") or b"all_success" in damaged


@steady
@given(st.sampled_from(SINGLE), st.data())
def test_a_truncated_answer_proves_nothing(body: bytes, data: st.DataObject) -> None:
    whole = body.rstrip()
    cut = whole[: data.draw(st.integers(0, max(whole.rfind(b"}"), whole.rfind(b"</"), 0)))]
    answer = read_answer(200, cut, count=1, request_bytes=0)
    assert isinstance(answer, Refused)
    assert answer.fault is Fault.UNKNOWN


@pytest.mark.parametrize(
    ("code", "sub_code", "seconds"),
    [
        ("31", "", 5.0),
        ("15", "isv.timestamp-limit-error", 5.0),
        ("21", "", None),
        ("15", "isv.invalid-signature", None),
    ],
)
def test_a_request_that_only_needs_a_fresh_time_names_how_long_to_wait(
    code: str, sub_code: str, seconds: float | None
) -> None:
    body = json.dumps({"error_response": {"code": code, "sub_code": sub_code}}).encode()
    refused = read_answer(200, body, count=1, request_bytes=1)
    assert isinstance(refused, Refused)
    assert (refused.fault, refused.pause_seconds) == (Fault.OURS, seconds)
    listed = json.dumps({"is_all_success": False, "results": [{"is_success": False, "error_code": sub_code or code}]})
    answered = read_answer(200, listed.encode(), count=1, request_bytes=1)
    assert isinstance(answered, Answered)
    assert [(result.fault, result.pause_seconds) for result in answered.results] == [(Fault.OURS, seconds)]
