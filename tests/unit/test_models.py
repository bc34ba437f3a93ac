"""A pydantic model writes itself, by alias; what it would hide or change without a word is refused with its place."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any
from uuid import UUID

import pytest
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    RootModel,
    Secret,
    SecretBytes,
    SecretStr,
    computed_field,
)

from relay.errors import MessageError
from relay.outbox.content import exact_text

HIDDEN = "hunter2-王小明"


class Colour(Enum):
    RED = "red"


class Everything(BaseModel):
    price: Decimal = Decimal("0.1000000000000000000000000000001")
    colour: Colour = Colour.RED
    id: UUID = UUID(int=7)
    at: datetime = datetime(2026, 11, 26, 1, 2, 3, 4, tzinfo=UTC)
    took: timedelta = timedelta(seconds=90)
    raw: bytes = "买".encode()
    tid: int = 2**70


def test_what_json_has_no_form_for_is_written_exactly() -> None:
    assert json.loads(exact_text(Everything())) == {
        "price": "0.1000000000000000000000000000001",
        "colour": "red",
        "id": "00000000-0000-0000-0000-000000000007",
        "at": "2026-11-26T01:02:03.000004Z",
        "took": "PT1M30S",
        "raw": "买",
        "tid": 2**70,
    }


class Line(BaseModel):
    seller: str = Field(alias="sellerNick", default="a")


class Order(BaseModel):
    buyer: str = Field(serialization_alias="buyer_nick", default="b")
    lines: list[Line] = Field(default_factory=lambda: [Line()])


class ByName(Order):
    model_config = ConfigDict(serialize_by_alias=False)


def test_names_are_the_aliases_unless_the_model_says_otherwise() -> None:
    assert exact_text(Order()) == '{"buyer_nick":"b","lines":[{"sellerNick":"a"}]}'
    assert exact_text(ByName()) == '{"buyer":"b","lines":[{"seller":"a"}]}'
    assert exact_text(Order(), "headers") == exact_text(Order())


@dataclasses.dataclass
class Plain:
    key: Any = dataclasses.field(default_factory=lambda: SecretStr(HIDDEN))


class Key(BaseModel):
    key: SecretStr = SecretStr(HIDDEN)


class Computed(BaseModel):
    @computed_field  # type: ignore[prop-decorator]  # mypy takes no decorators of properties
    @property
    def key(self) -> SecretStr:
        return SecretStr(HIDDEN)


class Number(Secret[int]):
    def _display(self) -> str:
        return "a number"


class Anything(BaseModel):
    model_config = ConfigDict(extra="allow")
    it: Any = None


@pytest.mark.parametrize(
    ("model", "place"),
    [
        (Key(), "Key.key is a SecretStr"),
        (Computed(), "Computed.key is a SecretStr"),
        (Anything(it=[Key(), 1]), "Anything.it[0].key is a SecretStr"),
        (Anything(it=Plain()), "Anything.it.key is a SecretStr"),
        (Anything(it={"a": ({SecretBytes(b"x")},)}), "Anything.it.a[0][0] is a SecretBytes"),
        (Anything(it={SecretStr("x"): 1}), "Anything.it's key is a SecretStr"),
        (Anything(more=SecretStr("x")), "Anything.more is a SecretStr"),
        (Anything(it=Secret[int](0)), "Anything.it is a Secret"),
        (Anything(it=Number(5)), "Anything.it is a Number"),
        (RootModel[dict[str, SecretStr]]({"k": SecretStr("x")}), ".root.k is a SecretStr"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_secret_is_refused_where_asterisks_would_be_sent(model: BaseModel, place: str) -> None:
    with pytest.raises(MessageError) as refused:
        exact_text(model)
    assert place in str(refused.value)
    assert HIDDEN not in f"{refused.value!r} {refused.value.hint}"


class Meant(BaseModel):
    key: Annotated[SecretStr, PlainSerializer(SecretStr.get_secret_value)] = SecretStr("sent")
    left_out: SecretStr = Field(default=SecretStr("kept"), exclude=True)
    empty: SecretStr = SecretStr("")


def test_a_secret_that_is_written_out_or_left_out_is_none() -> None:
    assert exact_text(Meant()) == '{"key":"sent","empty":""}'


class Weight(BaseModel):
    kilos: float = float("nan")


class Told(BaseModel):
    model_config = ConfigDict(ser_json_inf_nan="strings")
    kilos: float = float("inf")
    other: None = None


class Constants(Weight):
    model_config = ConfigDict(ser_json_inf_nan="constants")


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        (Weight(), "content: Weight.kilos is NaN or infinite"),
        (Anything(it=[float("-inf")]), "content: Anything.it[0] is NaN or infinite"),
        (Anything(it={float("nan"): 1}), "content: Anything.it's key is NaN or infinite"),
        (Constants(), "NaN is no JSON"),
    ],
)
def test_a_float_that_is_no_number_does_not_become_null(model: BaseModel, sentence: str) -> None:
    with pytest.raises(MessageError, match="NaN") as refused:
        exact_text(model)
    assert sentence in str(refused.value)


def test_a_model_may_say_how_it_writes_what_is_no_number() -> None:
    assert exact_text(Told()) == '{"kilos":"Infinity","other":null}'


class Twice(BaseModel):
    one: int = Field(serialization_alias="n", default=1)
    two: int = Field(serialization_alias="n", default=2)


@pytest.mark.parametrize("model", [Twice(), Anything(it=[{1: "a", "1": "b"}])], ids=["aliases", "keys"])
def test_two_values_of_one_name_are_refused(model: BaseModel) -> None:
    with pytest.raises(MessageError, match="two values of one name"):
        exact_text(model)


def test_what_does_not_fit_its_field_is_refused_and_not_quoted(recwarn: pytest.WarningsRecorder) -> None:
    key = Everything()
    key.tid = HIDDEN  # type: ignore[assignment]
    with pytest.raises(MessageError, match="content: Everything cannot be written as JSON") as refused:
        exact_text(key)
    assert HIDDEN not in f"{refused.value!r} {refused.value.hint} {[str(each.message) for each in recwarn]}"
    assert refused.value.__suppress_context__


class Node(BaseModel):
    parent: Any = Field(default=None, exclude=True)
    child: Any = None


def test_a_way_back_that_is_left_out_is_no_circle() -> None:
    node = Node(child=Node())
    node.child.parent = node
    assert exact_text(node) == '{"child":{"child":null}}'
    node.child.child = node
    with pytest.raises(MessageError, match="cannot be written as JSON"):
        exact_text(node)
