"""What leaves: the credential that does not show itself, the sign, and the form body of one call."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from relay.credential import Credential
from relay.message import Message
from relay.tmc import request_body
from relay.tmc.request import form_value, messages_json
from relay.tmc.sign import sign

VECTORS = Path(__file__).parents[1] / "vectors" / "tmc"
SIGNS = [v for v in json.loads((VECTORS / "sign.json").read_text())["vectors"] if v["sign"]]
REQUESTS = json.loads((VECTORS / "requests.json").read_text())["cases"]

CREDENTIAL = Credential("12345678", "f0e1d2c3b4a5968778695a4b3c2d1e0f", "6100e2d0fakefakefake")
steady = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
texts = st.text(st.characters(exclude_categories=["Cs"]))


def body_of(messages: list[Message], **options: Any) -> bytes:
    told: dict[str, Any] = {
        "unix_seconds": 1767294245.0,
        "sign_method": "md5",
        "response_format": "json",
        "simplify": False,
    }
    return request_body(CREDENTIAL, messages, **(told | options))


@pytest.mark.parametrize("vector", SIGNS, ids=[v["id"] for v in SIGNS])
def test_signs_as_the_platforms_own_clients_do(vector: dict[str, Any]) -> None:
    assert sign(vector["params"], vector["secret"], vector["sign_method"]) == vector["sign"]


def test_all_three_methods_are_among_the_vectors() -> None:
    assert {v["sign_method"] for v in SIGNS} == {"md5", "hmac", "hmac-sha256"}


def test_a_sign_already_there_is_not_signed() -> None:
    assert sign({"a": "1", "sign": "X"}, "s", "md5") == sign({"a": "1"}, "s", "md5")


def test_an_unknown_sign_method_is_an_error() -> None:
    with pytest.raises(ValueError, match="sha1"):
        sign({"a": "1"}, "s", "sha1")


@pytest.mark.parametrize("case", REQUESTS, ids=[c["id"] for c in REQUESTS])
def test_the_form_of_a_call(case: dict[str, Any]) -> None:
    body = request_body(
        Credential(**case["credential"]),
        [Message(**message) for message in case["messages"]],
        unix_seconds=case["unix_seconds"],
        sign_method=case["sign_method"],
        response_format=case["response_format"],
        simplify=case["simplify"],
    )
    assert sorted(parse_qsl(body.decode("ascii"), strict_parsing=True)) == sorted(case["form"].items())


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Shanghai"])
def test_the_timestamp_is_chinas_whatever_the_zone_of_the_host(zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        form = dict(parse_qsl(body_of([Message(1, "t", "{}")]).decode()))
    finally:
        monkeypatch.undo()
        time.tzset()
    assert form["timestamp"] == "2026-01-02 03:04:05"


@steady
@given(texts)
@example("100%25 %41 %e5%90 %")
def test_any_text_survives_the_form(text: str) -> None:
    encoded = form_value(text)
    assert parse_qsl("x=" + encoded.decode("ascii"), keep_blank_values=True) == [("x", text)]


@steady
@given(st.lists(st.tuples(texts, texts, st.none() | texts, st.none() | texts, st.none() | texts), max_size=5))
def test_the_messages_parameter_is_json_with_the_texts_unchanged(rows: list[tuple[Any, ...]]) -> None:
    names = ("content", "topic", "target_group", "target_app_key", "json_ex_content")
    messages = [Message(n, row[1], row[0], "a", *row[2:]) for n, row in enumerate(rows)]
    expected = [{k: v for k, v in zip(names, row, strict=True) if v or k in names[:2]} for row in rows]
    assert json.loads(messages_json(messages)) == expected


def test_the_texts_are_sent_raw_and_compact() -> None:
    message = Message(1, "t", '{"tid": 12345678901234567890, "向": 1.0}', target_group="")
    assert messages_json([message]) == r'[{"content":"{\"tid\": 12345678901234567890, \"向\": 1.0}","topic":"t"}]'


def test_no_parameter_is_blank() -> None:
    form = parse_qsl(body_of([Message(1, "t", "{}")], simplify=True).decode(), keep_blank_values=True)
    assert all(value.strip() for _, value in form)
    assert len(form) == len(dict(form)) == 11


def test_a_credential_shows_neither_secret_nor_session() -> None:
    shown = repr(CREDENTIAL) + str(CREDENTIAL)
    assert "5678" in shown
    assert all(hidden not in shown for hidden in ("12345678", "f0e1", "6100"))


def test_the_fingerprint_changes_with_each_part_and_with_nothing_else() -> None:
    parts = ("1", "2", "3")
    others = [("9", "2", "3"), ("1", "9", "3"), ("1", "2", "9"), ("1", "23", ""), ("12", "", "3"), ("1", "2", None)]
    prints = {Credential(*other).fingerprint for other in [parts, *others]}
    assert len(prints) == 7
    assert Credential(*parts).fingerprint == Credential(*parts).fingerprint
    assert all(len(p) == 16 and set(p) <= set("0123456789abcdef") for p in prints)
    assert Credential("1", "2", "").fingerprint == Credential("1", "2").fingerprint
