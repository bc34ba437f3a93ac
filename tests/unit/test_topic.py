"""``relay.Topic``: a message that is topic, content and keys in one, wherever a topic and a content are taken."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import pydantic
import pytest

import relay
from relay.outbox.columns import parameters
from relay.outbox.new_message import row_of

TOPIC = "taobao_jds_TradeTrace"
T = TypeVar("T")


class Shipped(relay.Topic):
    tid: int


class TradeTrace(Shipped, topic=TOPIC):
    seller: str = pydantic.Field(serialization_alias="seller_nick", default="a")

    def ordering_key(self) -> str:
        return str(self.tid)

    def dedupe_key(self) -> str | None:
        return f"packaged {self.tid}" if self.tid else None


class Packaged(TradeTrace):
    pass


class Envelope(relay.Topic, Generic[T], topic="envelope"):
    body: T


WRITTEN = {
    "topic": TOPIC,
    "content": '{"tid":7,"seller_nick":"a"}',
    "ordering_key": "7",
    "dedupe_key": "packaged 7",
}


def row(*args: Any, **columns: Any) -> dict[str, Any]:
    return row_of(relay.NewMessage(*args, **columns), 0)


@pytest.mark.parametrize("given", [(TradeTrace, {"tid": 7}), (TradeTrace,), (TradeTrace(tid=7), {"tid": 7})], ids=repr)
def test_a_class_or_a_second_content_is_told_how_a_message_of_it_is_given(given: tuple[Any, ...]) -> None:
    with pytest.raises(relay.MessageError, match="topic and content in one") as refused:
        row(*given)
    assert "relay.add(session, TradeTrace(...))" in refused.value.hint


def test_a_message_is_topic_content_and_keys() -> None:
    assert row(TradeTrace(tid=7)) == WRITTEN
    assert row_of(TradeTrace(tid=7), 0) == WRITTEN
    assert row_of({"topic": TOPIC, "content": TradeTrace(tid=7)}, 0) == WRITTEN
    assert relay.insert(TradeTrace(tid=7)).compile().params == WRITTEN
    mapped = relay.OutboxMessage(content=TradeTrace(tid=7), account="shop")
    found = (mapped.topic, mapped.content, mapped.ordering_key, mapped.dedupe_key, mapped.account)
    assert found == (TOPIC, {"tid": 7, "seller_nick": "a"}, "7", "packaged 7", "shop")


def test_a_class_has_the_topic_of_the_class_it_derives_from() -> None:
    assert row(Packaged(tid=7)) == WRITTEN
    assert row(Envelope[int](body=1)) == {"topic": "envelope", "content": '{"body":1}'}


def test_keys_named_by_the_insert_win_and_none_is_none() -> None:
    assert row(TradeTrace(tid=0), ordering_key="other", account=None) == {
        "topic": TOPIC,
        "content": '{"tid":0,"seller_nick":"a"}',
        "ordering_key": "other",
    }
    assert row(TradeTrace(tid=7), dedupe_key=None) == WRITTEN


class NumberedKey(relay.Topic, topic="t"):
    def ordering_key(self) -> str:
        return 7  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ((Shipped(tid=1),), "Shipped is bound to no topic"),
        (("another", TradeTrace(tid=1)), f"TradeTrace is bound to the topic {TOPIC}, and this is another"),
        ((NumberedKey(),), "ordering_key is of type int"),
        ((TOPIC,), "This names no content"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_message_is_refused(given: tuple[Any, ...], sentence: str) -> None:
    with pytest.raises(relay.MessageError) as refused:
        row(*given)
    assert sentence in str(refused.value)
    assert refused.value.hint or "int" in sentence


def test_without_a_topic_there_is_no_mapped_message() -> None:
    with pytest.raises(relay.MessageError, match="names no topic"):
        relay.OutboxMessage(content={"tid": 1})  # type: ignore[call-overload]


def test_one_message_is_not_many() -> None:
    """A model can be gone through, field by field."""
    with pytest.raises(relay.MessageError, match="which is one message"):
        relay.add_many(None, TradeTrace(tid=1))  # type: ignore[arg-type]


def test_a_position_is_told() -> None:
    with pytest.raises(relay.MessageError, match=r"^messages\[3\]: Shipped is bound to no topic"):
        row_of(Shipped(tid=1), 3)


@pytest.mark.parametrize("topic", ["", "t" * 257, "a\nb", 7])
def test_a_topic_that_no_message_could_have_is_refused_where_the_class_is_made(topic: Any) -> None:
    with pytest.raises(relay.MessageError, match="topic"):
        type("Bad", (relay.Topic,), {}, topic=topic)


def test_a_misspelt_topic_is_told_where_the_class_is_made() -> None:
    with pytest.raises(relay.MessageError, match=r"^The class Bad takes no argument topik") as refused:
        type("Bad", (relay.Topic,), {}, topik="t")
    assert 'class Bad(relay.Topic, topic="...")' in refused.value.hint
    assert type("Good", (relay.Topic,), {}, topic="t", title="A").model_config["title"] == "A"  # type: ignore[attr-defined]


def test_what_a_key_is_made_of_is_a_function() -> None:
    with pytest.raises(relay.MessageError, match=r"Bad\.dedupe_key is no function"):
        type("Bad", (relay.Topic,), {"dedupe_key": property(lambda self: "k")}, topic="t")
    with (
        pytest.warns(UserWarning, match="shadows"),
        pytest.raises(relay.MessageError, match=r"ordering_key is a field"),
    ):
        type("Bad", (relay.Topic,), {"__annotations__": {"ordering_key": str}, "ordering_key": "k"}, topic="t")


def test_a_misspelt_field_is_refused_and_values_are_not_quoted() -> None:
    with pytest.raises(pydantic.ValidationError) as refused:
        TradeTrace(tid="王小明", seler="b")  # type: ignore[call-arg, arg-type]
    assert "seler" in str(refused.value)
    assert "王小明" not in str(refused.value)


def test_other_models_are_contents_as_before() -> None:
    class Order(pydantic.BaseModel):
        n: int = 1

    assert parameters("t", Order(), {}) == {"topic": "t", "content": '{"n":1}'}
