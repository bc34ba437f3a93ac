"""Personal data is recognised by its form or by a JSON pointer; what cannot be read is hidden whole."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, text

HIDDEN = {"masked": "cannot be shown"}


@pytest.fixture
def db(engine: Engine) -> Iterator[Connection]:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        yield connection


def masked(db: Connection, content: str, topic: str = "t") -> Any:
    add = text("insert into relay.outbox (topic, content) values (:topic, cast(:content as json)) returning id")
    id_ = db.execute(add, {"topic": topic, "content": content}).scalar_one()
    return db.execute(text("select content from relay.audit_message where id = :id"), {"id": id_}).scalar_one()


def hide(db: Connection, pointer: str, topic: str = "t") -> None:
    db.execute(text("insert into relay.mask values (:topic, :pointer)"), {"topic": topic, "pointer": pointer})


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("13812345678", "138****5678"),
        ("电话13812345678。", "电话138****5678。"),
        ("138-1234-5678 or 138 1234 5678", "138****5678 or 138****5678"),
        ("+86 13812345678, 8613812345678", "+86 138****5678, 86138****5678"),
        ("0571-88156688", "0571-****6688"),
        ("057188156688, (0571)88156688, 0571 8815 6688", "0571****6688, (0571)****6688, 0571 ****6688"),
        ("010-12345678 +86-571-88156688", "010-****5678 +86-571-****6688"),
        ("0086 138-1234-5678, 008613812345678", "0086 138****5678, 0086138****5678"),
        ("\uff11\uff13\uff18\uff11\uff12\uff13\uff14\uff15\uff16\uff17\uff18", "138****5678"),
        (r"{\"m\":\"\\u0031\u0033812345678\"}", r"{\"m\":\"138****5678\"}"),
        (r"zhang\u0040mail.example.com", "z***@mail.example.com"),
        ("110101199003071234", "110*************34"),
        ("11010119900307123x", "110*************3x"),
        ("zhang.san+x@mail.example.com", "z***@mail.example.com"),
    ],
)
def test_a_form_is_recognised(db: Connection, said: str, expected: str) -> None:
    assert db.execute(text("select relay.mask_text(:said)"), {"said": said}).scalar_one() == expected


def test_forms_that_are_written_in_other_signs_are_recognised(db: Connection) -> None:
    """One test, for a database each would cost more than the forms are worth."""
    forms = {
        "138.0013.8000 138  0013  8000": "138****8000 138****8000",
        "138\u20130013\u20118000, 138\u00a00013\u30008000": "138****8000, 138****8000",
        "1\u200b38\u20600013\ufeff8000": "138****8000",
        "+86(138)0013-8000, (138)00138000": "+86(138)****8000, (138)****8000",
        "\u0661\u0663\u0668\u0660\u0660\u0661\u0663\u0668\u0660\u0660\u0660": "138****8000",
        r"1\u200b38\u00a00013\u20108000": "138****8000",
        "邮箱：张三@example.com": "邮箱：张***@example.com",
        "zhang@例子.中国。": "z***@例子.中国。",
        "11010119900307123\uff38": "110*************3X",
        "110101 19900307 1234": "110*************34",
        "110101900307123": "110**********23",
    }
    mask = text("select relay.mask_text(:said)")
    assert {said: db.scalar(mask, {"said": said}) for said in forms} == forms
    others = ("1380013.8000", "1500000.0000", "138.00138000", "991234560507123", "２０２６年１１月")
    assert [said for said in others if db.scalar(mask, {"said": said}) != said] == []


@pytest.mark.parametrize(
    "said",
    ["4213000001", "192837465012345678", "2026-11-11 09:30:00", "1138123456789", "张三", "v1.2.3", "", "26@home"],
)
def test_other_numbers_and_words_stay(db: Connection, said: str) -> None:
    assert db.execute(text("select relay.mask_text(:said)"), {"said": said}).scalar_one() == said


def test_json_in_json_is_looked_at_however_it_is_escaped(db: Connection) -> None:
    inner = '{"mobile":"' + "".join(f"\\u{ord(digit):04x}" for digit in "13812345678") + '"}'
    twice = json.dumps({"inner": json.dumps({"again": inner})})
    assert "138****5678" in json.dumps(masked(db, twice))
    assert "5678" in json.dumps(masked(db, '{"m":"\\uff11\\uff13812345678"}')).replace("****", "")


def test_a_number_that_would_fill_pages_is_not_converted(db: Connection) -> None:
    db.execute(text("set statement_timeout = '5s'"))
    for number in ("1e131071", "1E+131071", "1e0131071", "1.5e-16000"):
        content = '{"a":[' + ",".join([number] * 1900) + "]}"
        assert masked(db, content) == HIDDEN
    shown = {"sha": "4e123ab", "said": 'a " 1e131071', "small": 1.5e10}
    assert masked(db, json.dumps(shown))["said"] == shown["said"]


def test_strings_numbers_keys_and_escapes_are_all_looked_at(db: Connection) -> None:
    content = (
        r'{"a": 13812345678, "b": ["\u0031\u0033812345678"], "13812345678": {"c": "\u000113812345678"}, "n": 7.50}'
    )
    assert masked(db, content) == {
        "a": "138****5678",
        "b": ["138****5678"],
        "138****5678": {"c": "\x01138****5678"},
        "n": 7.50,
    }


def test_pointers_hide_whole_values_of_their_topic(db: Connection) -> None:
    hide(db, "/buyer/name")
    hide(db, "/items/*/note")
    hide(db, "/lines/1")
    hide(db, "/a~1b")
    hide(db, "/nowhere/at/all")
    content = (
        '{"buyer": {"name": {"first": "三"}, "nick": "n"}, "items": [{"note": 1}, {"note": null}, {}],'
        ' "lines": ["x", "y"], "a/b": 1}'
    )
    assert masked(db, content) == {
        "buyer": {"name": "***", "nick": "n"},
        "items": [{"note": "***"}, {"note": "***"}, {}],
        "lines": ["x", "***"],
        "a/b": "***",
    }
    assert masked(db, '{"buyer": {"name": "三"}}', topic="another") == {"buyer": {"name": "三"}}


def test_pointers_through_arrays_in_arrays_hide_what_they_name_and_nothing_else(db: Connection) -> None:
    for pointer in ("/a/*/b/*/c", "/m/*/*", "/k/*/n", "/w/*"):
        hide(db, pointer)
    content = {
        "a": [{"b": [{"c": 1, "d": 1}, {"d": 2}, 3]}, {"b": []}, {"b": {"*": {"c": 1}}}, 4, {"b": [{"c": None}]}],
        "m": [[1, 2], [], {"*": 3}, "x"],
        "k": {"*": {"n": 1}, "n": 2},
        "w": "not a list",
    }
    assert masked(db, json.dumps(content)) == {
        "a": [
            {"b": [{"c": "***", "d": 1}, {"d": 2}, 3]},
            *({"b": []}, {"b": {"*": {"c": "***"}}}, 4, {"b": [{"c": "***"}]}),
        ],
        "m": [["***", "***"], [], {"*": "***"}, "x"],
        "k": {"*": {"n": "***"}, "n": 2},
        "w": "not a list",
    }


def test_depth_and_length_hide_nothing_and_cost_no_more_than_they_have_to(db: Connection) -> None:
    db.execute(text("set statement_timeout = '5s'"))
    masked(db, '{"deep": ' + "[" * 900 + '"13812345678"' + "]" * 900 + "}")
    add = text("insert into relay.outbox (topic, content) values ('t', cast(:content as json))")
    db.execute(add, {"content": '{"deep": ' + "[" * 3000 + '"13812345678"' + "]" * 3000 + "}"})
    shown = text("select cast(content as text) from relay.audit_message order by id desc limit 1")
    assert "[[138****5678]]" in str(db.scalar(shown)).replace('"', "")
    hide(db, "/items/*/n")
    many = masked(db, json.dumps({"items": [{"n": 1}] * 9_000, "m": ["13812345678"] * 500}))
    assert many == {"items": [{"n": "***"}] * 9_000, "m": ["138****5678"] * 500}


def test_only_a_trace_context_is_shown_of_headers(db: Connection) -> None:
    context = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    for said in (context, "13812345678", "00-13812345678"):
        add = text("insert into relay.outbox (topic, content, headers) values ('t', '{}', cast(:headers as json))")
        db.execute(add, {"headers": json.dumps({"traceparent": said})})
    shown = db.scalars(text("select traceparent from relay.audit_message order by id")).all()
    assert shown == [context, None, None]


def test_a_star_as_the_topic_means_all_of_them(db: Connection) -> None:
    hide(db, "/seller", topic="*")
    assert masked(db, '{"seller": 1}', topic="x") == {"seller": "***"}
    hide(db, "", topic="secret")
    assert masked(db, '{"anything": 1}', topic="secret") == "***"


@pytest.mark.parametrize("content", [r'{"a": "\u0000"}', r'{"a": "\ud800"}', '{"a": 1e999999}'])
def test_what_cannot_be_read_is_hidden_and_stops_nobody(db: Connection, content: str) -> None:
    assert masked(db, content) == HIDDEN


def test_a_callers_own_function_of_the_same_name_sees_nothing(db: Connection) -> None:
    for name in ("regexp_replace(text, text, text, text)", "mask_text(text)"):
        db.execute(text(f"create function public.{name} returns text language sql as $$ select 'seen: ' || $1 $$"))
    db.execute(text("set search_path = public, pg_catalog"))
    assert masked(db, '{"a": "13812345678"}') == {"a": "138****5678"}
    db.execute(text("update relay.outbox set error_message = '13812345678'"))
    assert db.execute(text("select error_message from relay.audit_message")).scalar_one() == "138****5678"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-99, 99) | st.text('abc 买\\"/', max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=3),
        max_leaves=8,
    )
)
def test_where_there_is_nothing_to_mask_nothing_changes(db: Connection, value: Any) -> None:
    content = {"v": value, "phone": 13812345678}  # so that the whole value is walked through
    found = db.execute(
        text("select relay.mask_content(cast(:content as json), '{}')"), {"content": json.dumps(content)}
    ).scalar_one()
    assert found == {"v": value, "phone": "138****5678"}
