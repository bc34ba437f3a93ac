"""Which message a test means, and what it is told where there is none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

import relay
from relay.testing import AsyncOutbox, Outbox, ScriptedPlatform
from relay.testing.matching import differences, fitting, named, refuse_unknown, unmet


@dataclass(frozen=True)
class Row:
    topic: str
    content: Any
    account: str = "default"
    ordering_key: str | None = None


ORDER = Row("t", {"tid": 1, "to": {"city": "杭州", "zip": None}, "lines": [1, 2]}, ordering_key="1")


@pytest.mark.parametrize(
    ("wanted", "wrong"),
    [
        ({}, []),
        ({"content": {}}, []),
        ({"content": {"tid": 1}}, []),
        ({"content": {"to": {"city": "杭州"}}, "account": "default"}, []),
        ({"content": {"lines": [1, 2]}}, []),
        ({"content": {"lines": [1]}}, ["content['lines'] is [1, 2], not [1]"]),
        ({"content": {"to": {"zip": None}}}, []),
        ({"content": {"to": {"street": None}}}, ["content['to']['street'] is missing"]),
        ({"content": {"tid": "1"}}, ["content['tid'] is 1, not '1'"]),
        ({"content": [1]}, [f"content is {ORDER.content!r}, not [1]"]),
        ({"account": "a", "ordering_key": None}, ["account is 'default', not 'a'", "ordering_key is '1', not None"]),
    ],
)
def test_a_mapping_may_name_less_and_everything_else_is_equal(wanted: dict[str, Any], wrong: list[str]) -> None:
    assert differences(ORDER, wanted) == wrong
    assert fitting([ORDER], "t", wanted) == ([] if wrong else [ORDER])
    assert fitting([ORDER], "another", wanted) == []


def test_a_misspelt_field_is_told_with_the_nearest() -> None:
    refuse_unknown(Row, ["content", "account"])
    with pytest.raises(TypeError, match="no field 'acount'; did you mean account"):
        refuse_unknown(Row, ["acount"])
    with pytest.raises(TypeError, match=r"content=\{'tid': \.\.\.\}"):
        refuse_unknown(Row, ["tid"])


class Packed(relay.Topic, topic="packed"):
    """A message as a class of the application's."""


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (Row, "the class Row is no topic; give its name, or a class that derives from relay.Topic"),
        (Packed(), "the object of type Packed is no topic"),
        (b"packed", "the object of type bytes is no topic"),
        (relay.Topic, "Topic is bound to no topic"),
    ],
)
async def test_what_is_no_topic_is_refused_by_every_question(given: Any, said: str) -> None:
    """Else it fits nothing, and an assertion that nothing was written proves nothing."""
    nowhere: Any = object()
    platform, outbox, other = ScriptedPlatform(), Outbox(nowhere), AsyncOutbox(nowhere)
    asked = [outbox.written, outbox.assert_written, outbox.assert_nothing_written]
    asked += [other.written, other.assert_written, other.assert_nothing_written]
    asked += [platform.arrived, platform.assert_arrived, platform.assert_nothing_arrived]
    for question in asked:
        with pytest.raises(TypeError, match=said):
            question(given)
    assert other.forgotten() == []
    assert (named(Packed), named("packed")) == ("packed", "packed")


def test_what_there_is_instead_is_told_the_nearest_first() -> None:
    others = [Row("u", {}), Row("t", {"tid": 9}, "b"), Row("t", {"tid": 1}, "b"), *[Row("v", {})] * 9]
    told = unmet("written", others, "t", {"content": {"tid": 1}, "account": "a"}, None, 0).splitlines()
    assert told[0] == "expected written: 't', content={'tid': 1}, account='a', at least once; there are 0"
    assert told[1:3] == ["  't': content={'tid': 1}, account='b'", "      account is 'b', not 'a'"]
    assert told[3].startswith("  't': content={'tid': 9}")
    assert told[-1] == "  and 2 more"
    assert "3 times; there are 2\n  nothing" in unmet("accepted", [], "t", {}, 3, 2)
