"""Which message a test means, and what it is told where there is none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from relay.testing.matching import differences, fitting, refuse_unknown, unmet


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


def test_what_there_is_instead_is_told_the_nearest_first() -> None:
    others = [Row("u", {}), Row("t", {"tid": 9}, "b"), Row("t", {"tid": 1}, "b"), *[Row("v", {})] * 9]
    told = unmet("written", others, "t", {"content": {"tid": 1}, "account": "a"}, None, 0).splitlines()
    assert told[0] == "expected written: 't', content={'tid': 1}, account='a', at least once; there are 0"
    assert told[1:3] == ["  't': content={'tid': 1}, account='b'", "      account is 'b', not 'a'"]
    assert told[3].startswith("  't': content={'tid': 9}")
    assert told[-1] == "  and 2 more"
    assert "3 times; there are 2\n  nothing" in unmet("accepted", [], "t", {}, 3, 2)
