"""What a new schema no longer takes is told with its place; what cannot be told is never called compatible."""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum
from itertools import permutations
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from relay.topics.comparing import compared

INTEGER, TEXT = {"type": "integer"}, {"type": "string"}


def said(old: Any, new: Any) -> list[str]:
    troubles = compared({"topics": {"t": old}}, {"topics": {"t": new}})
    return [str(each).replace(": t: ", ": ", 1) for each in troubles]


def model(required: tuple[str, ...] = (), /, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


def at(old: Any, new: Any) -> list[str]:
    """Both as a property of a model."""
    return said(model(n=old), model(n=new))


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (model(), model(("a",), a=TEXT), "incompatible: a: is required now, and is missing in old messages"),
        (model(a=TEXT), model(("a",), a=TEXT), "incompatible: a: is required now, and may be missing in old messages"),
        (model(a=TEXT), model(), "incompatible: a: is no longer accepted"),
        (model(a=model(b=TEXT)), model(a=model(b=INTEGER)), "incompatible: a.b: the type was string, and now integer"),
        ({"type": "object"}, model(), "incompatible: *: nothing is accepted here any more"),
        ({"type": "object"}, {"type": "object", "additionalProperties": TEXT},
         "incompatible: *: anything was allowed, and now string"),
        ({"type": "object", "additionalProperties": TEXT}, model(a=INTEGER),
         "incompatible: a: the type was string, and now integer"),
        ({"type": "object", "propertyNames": TEXT}, {"type": "object", "propertyNames": {"enum": ["a"]}},
         "incompatible: names: any string was allowed, and now only 'a'"),
        ({"type": "array"}, {"type": "array", "items": TEXT}, "incompatible: []: anything was allowed, and now string"),
        ({"type": "array", "items": TEXT}, {"type": "array", "prefixItems": [INTEGER], "items": TEXT},
         "incompatible: [0]: the type was string, and now integer"),
        ({"type": "array", "prefixItems": [TEXT, TEXT], "maxItems": 2},
         {"type": "array", "prefixItems": [TEXT, INTEGER], "maxItems": 2},
         "incompatible: [1]: the type was string, and now integer"),
        (model(a=TEXT), model(a=False), "incompatible: a: nothing is accepted here any more"),
    ],
)  # fmt: skip
def test_what_is_missing_or_of_another_type(old: Any, new: Any, sentence: str) -> None:
    assert sentence in said(old, new)
    assert said(old, old) == said(new, new) == []


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ({"enum": ["a", "b"]}, {"enum": ["b"]}, "incompatible: n: 'a' is no longer allowed"),
        ({"enum": ["a", "b"], "type": "string"}, {"const": "b"}, "incompatible: n: 'a' is no longer allowed"),
        ({"enum": [1]}, {"enum": [True]}, "incompatible: n: 1 is no longer allowed"),
        (TEXT, {"enum": ["a"], "type": "string"}, "incompatible: n: any string was allowed, and now only 'a'"),
        ({"const": "a"}, INTEGER, "incompatible: n: 'a' is no longer allowed: the type is now integer"),
        ({"const": "a"}, TEXT | {"minLength": 2}, "undecided: n: whether 'a' fits minLength"),
        ({"type": "number"}, INTEGER, "incompatible: n: the type was number, and now integer"),
        ({}, INTEGER, "incompatible: n: anything was allowed, and now integer"),
        ({}, {"minimum": 1}, "undecided: n: whether all that was allowed fits minimum"),
        (INTEGER, INTEGER | {"minimum": 1}, "incompatible: n: must now be at least 1"),
        (INTEGER | {"minimum": 1}, INTEGER | {"exclusiveMinimum": 1}, "incompatible: n: must now be more than 1"),
        (INTEGER | {"maximum": 9}, INTEGER | {"exclusiveMaximum": 9}, "incompatible: n: must now be less than 9"),
        (INTEGER | {"maximum": 9}, INTEGER | {"maximum": 8}, "incompatible: n: must now be at most 8"),
        (INTEGER | {"multipleOf": 3}, INTEGER | {"multipleOf": 2}, "incompatible: n: must now be a multiple of 2"),
        ({"type": "number"}, {"type": "number", "multipleOf": 1}, "incompatible: n: must now be a multiple of 1"),
        (TEXT, TEXT | {"minLength": 1}, "incompatible: n: minLength is now 1"),
        (TEXT | {"maxLength": 5}, TEXT | {"maxLength": 4}, "incompatible: n: maxLength is now 4"),
        ({"type": "array"}, {"type": "array", "maxItems": 4}, "incompatible: n: maxItems is now 4"),
        ({"type": "array"}, {"type": "array", "uniqueItems": True}, "incompatible: n: items must now be distinct"),
        (TEXT, TEXT | {"pattern": "^a"}, "incompatible: n: pattern '^a' is asked for now"),
        (TEXT | {"pattern": "a"}, TEXT | {"pattern": "b"}, "undecided: n: pattern was 'a' and is now 'b'"),
        (TEXT | {"format": "date"}, TEXT | {"format": "time"}, "undecided: n: format was 'date' and is now 'time'"),
        ({"type": ["integer", "null"]}, INTEGER, "incompatible: n: the type was null, and now integer"),
        ({"anyOf": [TEXT, INTEGER]}, {"anyOf": [TEXT, {"type": "null"}]},
         "incompatible: n: any integer is no longer accepted"),
        (TEXT, {"anyOf": [TEXT | {"maxLength": 1}, INTEGER]}, "incompatible: n: maxLength is now 1"),
        (TEXT, {"anyOf": [TEXT | {"maxLength": 1}, TEXT | {"minLength": 2}]},
         "undecided: n: any string fits none of 2 alternatives as a whole (maxLength is now 1)"),
        (INTEGER, INTEGER | {"not": {"const": 3}}, "undecided: n: what not means is not known here"),
        (INTEGER | {"if": {}}, INTEGER, "undecided: n: what if means is not known here"),
        (INTEGER, {"$ref": "https://elsewhere"}, "undecided: n: where https://elsewhere leads"),
        (INTEGER, {"oneOf": [INTEGER, INTEGER]}, "undecided: n: what oneOf means is not known here"),
        (INTEGER, {"enum": 7, "type": "integer"}, "undecided: n: enum is not as JSON Schema has it"),
        (INTEGER, 7, "undecided: n: this is no JSON Schema"),
    ],
)  # fmt: skip
def test_what_is_narrower(old: Any, new: Any, says: str) -> None:
    assert at(old, new) == [says]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (INTEGER, {"type": "number"}),
        (INTEGER, {"title": "another", "description": "words", "type": "integer", "default": 3}),
        (INTEGER | {"exclusiveMinimum": 0}, INTEGER | {"minimum": 1}),
        (INTEGER | {"minimum": 1}, INTEGER | {"exclusiveMinimum": 0}),
        (INTEGER | {"multipleOf": 6}, INTEGER | {"multipleOf": 3}),
        (INTEGER, INTEGER | {"multipleOf": 1}),
        ({"const": "a"}, {"enum": ["a", "b"]}),
        ({"enum": ["a", 1]}, {"anyOf": [TEXT, INTEGER]}),
        (TEXT | {"pattern": "a", "format": "date"}, TEXT),
        (TEXT, {"anyOf": [{"type": "null"}, TEXT]}),
        (INTEGER | {"not": {"const": 3}}, INTEGER | {"not": {"const": 3}, "title": "same"}),
        (INTEGER, {"allOf": [INTEGER]}),
        (model(("a",), a=TEXT), model(a=TEXT, b=TEXT)),
        (INTEGER, {}),
        (INTEGER, True),
    ],
)
def test_what_is_wider_is_compatible(old: Any, new: Any) -> None:
    assert at(old, new) == []


def test_alternatives_that_are_told_apart_by_a_tag() -> None:
    card, cash = model(kind={"const": "card"}), model(kind={"const": "cash"}, change=TEXT)
    union = {"oneOf": [card, cash], "discriminator": {"propertyName": "kind"}}
    assert said(card, union) == said(cash, union) == []
    assert said(cash, card) == [
        "incompatible: kind: 'cash' is no longer allowed",
        "incompatible: change: is no longer accepted",
    ]
    narrower = {**union, "oneOf": [card, model(kind={"const": "cash"})]}
    assert said(union, narrower) == ["incompatible: change: is no longer accepted"]
    untagged = model(change=TEXT)
    assert "incompatible: kind: tells alternatives apart now, and is missing in old messages" in said(untagged, union)


def test_a_topic_that_is_gone_and_one_that_is_new() -> None:
    (gone,) = compared({"topics": {"a": {}, "b": {}}}, {"topics": {"b": {}, "c": {}}})
    assert str(gone) == "incompatible: a: the topic is no longer there"


def test_a_schema_within_itself_comes_to_an_end() -> None:
    def tree(leaf: Any) -> dict[str, Any]:
        node = model(leaf=leaf, more={"type": "array", "items": {"$ref": "#/$defs/Node"}})
        return {"$defs": {"Node": node}, "$ref": "#/$defs/Node"}

    assert said(tree(INTEGER), tree({"type": "number"})) == []
    assert said(tree(INTEGER), tree(TEXT)) == ["incompatible: leaf: the type was integer, and now string"]
    assert said({"$ref": "#"}, INTEGER)[0].startswith("undecided")


class Colour(StrEnum):
    RED = "red"


class Card(BaseModel):
    kind: Literal["card"] = "card"
    digits: str = ""


class Cash(BaseModel):
    kind: Literal["cash"] = "cash"
    digits: int = 0


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")
    n: int
    more: list[Strict] = []


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    n: int = 0


# Each with values that it has: whatever is called compatible has to take all of them.
TYPES: list[tuple[Any, list[Any]]] = [
    (Any, [1, "a", {"n": "x"}, [], None]),
    (int, [0, -5, 10**12]),
    (Annotated[int, Field(ge=0)], [0, 7]),
    (Annotated[int, Field(gt=0, le=9)], [1, 9]),
    (float, [0.5, -1.0]),
    (str, ["", "red", "long enough"]),
    (Annotated[str, Field(min_length=1, max_length=3)], ["a", "abc"]),
    (Literal["red", "blue"], ["red", "blue"]),
    (Literal["red", 1], ["red", 1]),
    (Colour, [Colour.RED]),
    (date, [date(2026, 1, 2)]),
    (datetime, [datetime(2026, 1, 2, 3)]),
    (bool, [True]),
    (str | None, ["a", None]),
    (int | str, [1, "a"]),
    (list[int], [[], [1, 2]]),
    (list[str | int], [["a", 1]]),
    (tuple[int, str], [(1, "a")]),
    (list[Any], [[None, {}]]),
    (dict[str, int], [{}, {"a": 1, "n": 2}]),
    (dict[Colour, int], [{Colour.RED: 1}]),
    (dict[str, Any], [{"n": "text"}]),
    (Card, [Card(digits="1")]),
    (Cash, [Cash(digits=1)]),
    (Annotated[Card | Cash, Field(discriminator="kind")], [Card(), Cash()]),
    (Card | Cash, [Card(digits="x"), Cash()]),
    (Strict, [Strict(n=1, more=[Strict(n=2)])]),
    (Open, [Open(n=1, other="x"), Open(kind=5)]),  # type: ignore[call-arg]
]  # fmt: skip


def takes(adapter: TypeAdapter[Any], text: bytes) -> bool:
    try:
        adapter.validate_json(text, strict=True)
    except ValidationError:
        return False
    return True


def test_nothing_is_called_compatible_that_refuses_a_value() -> None:
    """Of every pair of types: pydantic itself, as strict as JSON permits, decides whether values of the old one fit."""
    adapters = [TypeAdapter(kind) for kind, _ in TYPES]
    schemas = [adapter.json_schema(mode="serialization") for adapter in adapters]
    wrong, compatible = [], 0
    for old, new in permutations(range(len(TYPES)), 2):
        if said(schemas[old], schemas[new]):
            continue
        compatible += 1
        texts = [adapters[old].dump_json(value) for value in TYPES[old][1]]
        wrong += [(TYPES[old][0], TYPES[new][0], text) for text in texts if not takes(adapters[new], text)]
    assert wrong == []
    assert compatible > len(TYPES)
    assert [said(schema, schema) for schema in schemas] == [[]] * len(TYPES)
