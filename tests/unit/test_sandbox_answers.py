"""How answers look on the wire. The expected texts are written by hand."""

from __future__ import annotations

import pytest

from relay.sandbox.answers import Broken, CallAnswer, Produced, ProduceResult, Refusal, Reply, render

PARTIAL = Produced(False, (ProduceResult(), ProduceResult("isv.invalid-parameter", "a/b <向阳> & more")))
COMPLETE = Produced(True, (ProduceResult(),))
THROTTLED = Refusal(7, "App Call Limited", "accesscontrol.limited-by-app-access-count", "This ban will last for 2 more")


def text_of(answer: CallAnswer, form: str = "json", *, simplify: bool = False, half: bool = False) -> str:
    return render(Reply(answer, "zzp0c5fj10y3", form, simplify, half=half)).body.decode("utf-8")


def test_json_is_compact_wrapped_and_escapes_slashes() -> None:
    assert text_of(PARTIAL) == (
        '{"tmc_messages_produce_response":{"is_all_success":false,"results":{"tmc_produce_result":['
        '{"is_success":true},'
        '{"error_code":"isv.invalid-parameter","error_message":"a\\/b <向阳> & more","is_success":false}]},'
        '"request_id":"zzp0c5fj10y3"}}'
    )


def test_simplified_json_has_no_wrappers() -> None:
    assert text_of(COMPLETE, simplify=True) == (
        '{"is_all_success":true,"results":[{"is_success":true}],"request_id":"zzp0c5fj10y3"}'
    )


def test_xml_has_a_declaration_and_ends_with_the_host() -> None:
    assert text_of(PARTIAL, "xml", simplify=True) == (
        '<?xml version="1.0" encoding="utf-8" ?><tmc_messages_produce_response><is_all_success>false</is_all_success>'
        "<results><tmc_produce_result><is_success>true</is_success></tmc_produce_result>"
        "<tmc_produce_result><error_code>isv.invalid-parameter</error_code>"
        "<error_message>a/b &lt;向阳&gt; &amp; more</error_message><is_success>false</is_success></tmc_produce_result>"
        "</results><request_id>zzp0c5fj10y3</request_id></tmc_messages_produce_response><!--sandbox.local-->"
    )


@pytest.mark.parametrize("simplify", [False, True])
def test_errors_come_first_and_stay_wrapped(simplify: bool) -> None:
    assert text_of(THROTTLED, simplify=simplify) == (
        '{"error_response":{"code":7,"msg":"App Call Limited",'
        '"sub_code":"accesscontrol.limited-by-app-access-count",'
        '"sub_msg":"This ban will last for 2 more","request_id":"zzp0c5fj10y3"}}'
    )


def test_absent_parts_of_an_error_are_left_out() -> None:
    assert text_of(Refusal(31, "Invalid timestamp")) == (
        '{"error_response":{"code":31,"msg":"Invalid timestamp","request_id":"zzp0c5fj10y3"}}'
    )
    assert text_of(Refusal(31, "Invalid timestamp"), "xml") == (
        '<?xml version="1.0" encoding="utf-8" ?><error_response><code>31</code><msg>Invalid timestamp</msg>'
        "<request_id>zzp0c5fj10y3</request_id></error_response><!--sandbox.local-->"
    )


@pytest.mark.parametrize(
    ("form", "simplify", "results"),
    [("json", False, '"results":{},'), ("json", True, '"results":[],'), ("xml", False, "<results></results>")],
)
def test_an_empty_list(form: str, simplify: bool, results: str) -> None:
    assert results in text_of(Produced(True, ()), form, simplify=simplify)


@pytest.mark.parametrize("form", ["json", "xml"])
def test_no_list_at_all(form: str) -> None:
    text = text_of(Produced(True, None), form)
    assert "results" not in text
    assert "is_all_success" in text


def test_types_and_status() -> None:
    assert render(Reply(COMPLETE, "r")).content_type == "text/javascript;charset=UTF-8"
    assert render(Reply(THROTTLED, "r", "xml")).content_type == "text/xml;charset=UTF-8"
    assert {render(Reply(answer, "r")).status for answer in (COMPLETE, PARTIAL, THROTTLED)} == {200}
    assert render(Reply(Broken(None), "r")).status is None
    page = render(Reply(Broken(502), "r"))
    assert (page.status, page.content_type) == (502, "text/html;charset=UTF-8")
    assert b"502 Bad Gateway" in page.body


def test_half_an_answer_is_a_true_beginning_of_it() -> None:
    whole, half = text_of(COMPLETE), text_of(COMPLETE, half=True)
    assert whole.startswith(half)
    assert len(half) == len(whole) // 2
