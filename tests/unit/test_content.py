"""What becomes of a content: the exact text, or a refusal that names the place and keeps the value to itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import IntEnum, StrEnum
from typing import Any
from uuid import uuid4

import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.errors import MessageError
from relay.outbox.content import ExactText, exact_text
from relay.schema import MAX_CONTENT_CHARACTERS

SECRET = "s3cr3t-王小明"

characters = st.text(st.characters(exclude_categories=["Cs"]))
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | characters
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(characters, inner), max_leaves=20)
objects = st.dictionaries(characters, values, max_size=5)
spaces = st.text(" \t\r\n", max_size=3)


@given(objects)
@settings(deadline=None)
def test_a_dict_comes_back_as_it_was(value: dict[str, Any]) -> None:
    text = exact_text(value)
    assert json.loads(text) == value
    assert json.loads(text.encode()) == value


@given(objects, spaces, spaces, st.booleans())
@settings(deadline=None)
def test_ready_text_stays_letter_for_letter(value: dict[str, Any], before: str, after: str, escaped: bool) -> None:
    text = before + json.dumps(value, ensure_ascii=escaped, indent=1) + after
    assert exact_text(text) == text
    assert exact_text(text.encode()) == text
    assert exact_text(bytearray(text.encode())) == text


class Colour(StrEnum):
    RED = "red"


class Level(IntEnum):
    TWO = 2


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({}, "{}"),
        ({"买家": "王小明", "b": 1, "a": None}, '{"买家":"王小明","b":1,"a":null}'),
        ({"n": [2**63, 10**30, -1, 1.5]}, f'{{"n":[{2**63},{10**30},-1,1.5]}}'),
        ({"t": (1, True)}, '{"t":[1,true]}'),
        (
            {"nul": "\0", "quote": '"', "back": "\\", "emoji": "😀"},
            r'{"nul":"\u0000","quote":"\"","back":"\\","emoji":"😀"}',
        ),
        ({"enum": [Colour.RED, Level.TWO]}, '{"enum":["red",2]}'),
    ],
)
def test_the_text_of_a_dict(value: dict[str, Any], text: str) -> None:
    assert exact_text(value) == text


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1,"a":2}',
        '{"n":0.1000000000000000000001}',
        '{"n":1' + "0" * 5000 + "}",
        r'{"a":"\u0000\/"}',
        ' {"a" : 1}\n',
    ],
)
def test_what_python_would_change_is_not_changed(text: str) -> None:
    assert exact_text(text) == text


class Trace(pydantic.BaseModel):
    tid: int
    buyer: str
    price: Decimal


class Numbers(pydantic.RootModel[list[int]]):
    pass


def test_a_pydantic_model_writes_itself() -> None:
    text = exact_text(Trace(tid=2**70, buyer="王小明", price=Decimal("1.50")))
    assert text == f'{{"tid":{2**70},"buyer":"王小明","price":"1.50"}}'


@dataclass
class Order:
    tid: int


@pytest.mark.parametrize(
    "value",
    [None, 1, [], [{}], Order(1), Trace, Numbers([1]), "[]", '"text"', "1", "", "nonsense", b"\xff{}", "\ufeff{}"],
    ids=repr,
)
def test_only_an_object_is_a_content(value: object) -> None:
    with pytest.raises(MessageError):
        exact_text(value)


@pytest.mark.parametrize(
    ("value", "place", "advice"),
    [
        (
            {"order": {"lines": [{}, {"price": Decimal("9.99")}]}},
            "content.order.lines[1].price is of type Decimal",
            "a string",
        ),
        ({"at": datetime(2026, 1, 1)}, "content.at is of type datetime", "isoformat()"),
        ({"on": date(2026, 1, 1)}, "content.on is of type date", "isoformat()"),
        ({"id": uuid4()}, "content.id is of type UUID", "a string"),
        ({"raw": b"x"}, "content.raw is of type bytes", "a string"),
        ({"tags": {"a"}}, "content.tags is of type set", "a string"),
        ({"n": [1, float("nan")]}, "content.n[1] is NaN", "None"),
        ({"n": float("inf")}, "content.n is NaN or infinite", "None"),
        ({"a": {1: "x"}}, "A key in content.a is of type int", "str(key)"),
        ({None: 1}, "A key in content is of type NoneType", "str(key)"),
        ({"a": ["\ud800"]}, "content.a[0] has half a character", "Repair"),
        ({"\udfff": 1}, "A key in content has half a character", "Repair"),
        ({"n": 10**5000}, "too many digits", "string"),
    ],
)
def test_what_json_cannot_say_is_refused_with_its_place(value: object, place: str, advice: str) -> None:
    with pytest.raises(MessageError) as refused:
        exact_text(value)
    assert place in str(refused.value)
    assert advice in refused.value.hint


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_ready_text_with_a_constant_of_javascript_is_refused(constant: str) -> None:
    with pytest.raises(MessageError, match=constant):
        exact_text(f'{{"n":{constant}}}')


def nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth):
        value = {"a": value}
    return value


def circular() -> dict[str, Any]:
    value: dict[str, Any] = {}
    value["a"] = value
    return value


@pytest.mark.parametrize("make", [lambda: nested(60_000), circular, lambda: '{"a":' * 60_000 + "1" + "}" * 60_000])
def test_too_deep_is_a_sentence_and_no_crash(make: Callable[[], object]) -> None:
    with pytest.raises(MessageError, match="deep"):
        exact_text(make())


def test_the_limit_of_a_content_counts_characters_and_that_of_headers_bytes() -> None:
    frame = len('{"a":""}')
    largest = {"a": "买" * (MAX_CONTENT_CHARACTERS - frame)}
    assert len(exact_text(largest)) == MAX_CONTENT_CHARACTERS
    larger = {"a": "买" * (MAX_CONTENT_CHARACTERS - frame + 1)}
    with pytest.raises(MessageError, match="122,881 characters"):
        exact_text(larger)
    with pytest.raises(MessageError, match="headers has 368,6"):
        exact_text(larger, "headers")


class Broken(pydantic.BaseModel):
    @pydantic.model_serializer
    def written(self) -> dict[str, Any]:
        raise ValueError(SECRET)


@pytest.mark.parametrize(
    "value",
    [
        f'{{"a":"{SECRET}"',
        f'{{"a":{SECRET}}}',
        f'["{SECRET}"]',
        SECRET.encode("utf-16"),
        {"a": [SECRET, Decimal(1)]},
        {"a": SECRET * MAX_CONTENT_CHARACTERS},
        {"a": SECRET + "\ud800"},
        Broken(),
    ],
    ids=lambda value: type(value).__name__,
)
def test_no_error_shows_the_content(value: object) -> None:
    with pytest.raises(MessageError) as refused:
        exact_text(value)
    assert SECRET not in f"{refused.value} {refused.value.hint} {refused.value!r}"
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__ or refused.value.__context__ is None


def test_a_text_hides_itself_from_logs_of_parameters() -> None:
    text = exact_text({"a": SECRET})
    assert isinstance(text, ExactText)
    assert SECRET not in repr({"content": text})
