"""``relay topics``: what a module holds, as one document that says the same each time, and what breaks the next one."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from relay.cli.verbs import relay

BEFORE = """
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, Field

import relay


class Line(BaseModel):
    price: Decimal


class TradeTrace(relay.Topic, topic="trade"):
    tid: int
    seller: str = Field(serialization_alias="seller_nick")
    lines: list[Line] = []


class Base(relay.Topic):
    pass


class Weighed(relay.Topic, topic="parcel"):
    kind: Literal["weighed"] = "weighed"
    lines: list[Line] = []


class Packed(relay.Topic, topic="parcel"):
    kind: Literal["packed"] = "packed"


OURS = [TradeTrace]
NOTHING = 5
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


def run(folder: Path, text: str, name: str, *arguments: str) -> Result:
    (folder / f"{name.partition(':')[0]}.py").write_text(text)
    return CliRunner().invoke(relay, ["topics", "--schema", name, *arguments])


def test_a_module_is_a_document_by_topic_and_alias(folder: Path) -> None:
    ended = run(folder, BEFORE, "shop_as_it_is")
    assert ended.exit_code == 0, ended.output
    topics = json.loads(ended.stdout)["topics"]
    assert list(topics) == ["parcel", "trade"]
    assert list(topics["trade"]["properties"]) == ["tid", "seller_nick", "lines"]
    assert topics["trade"]["$defs"]["Line"]["properties"]["price"]["format"] == "decimal"
    packed, weighed = topics["parcel"]["anyOf"]
    assert (packed["title"], weighed["title"]) == ("Packed", "Weighed")
    assert weighed["properties"]["lines"]["items"]["$ref"] == "#/anyOf/1/$defs/Line"
    assert run(folder, BEFORE, "shop_as_it_is").stdout == ended.stdout
    (only,) = json.loads(run(folder, BEFORE, "shop_as_it_is:OURS").stdout)["topics"]
    assert only == "trade"


def test_what_a_new_version_breaks_is_said_and_is_an_exit_code(folder: Path) -> None:
    (folder / "topics.json").write_text(run(folder, BEFORE, "shop_before").stdout)
    same = run(folder, BEFORE, "shop_the_same", "--against", "topics.json")
    assert (same.exit_code, same.stdout, same.stderr) == (0, "", "2 topics take all that they took\n")
    after = BEFORE.replace("price: Decimal", "price: int\n    weight: int").replace("tid: int", "tid: int | str")
    ended = run(folder, after, "shop_after", "--against", "topics.json")
    assert ended.exit_code == 3
    assert ended.stdout.splitlines() == [
        "incompatible: parcel: lines[].weight: is required now, and is missing in old messages",
        "incompatible: parcel: lines[].price: the type was string, and now integer",
        "incompatible: trade: lines[].weight: is required now, and is missing in old messages",
        "incompatible: trade: lines[].price: the type was string, and now integer",
    ]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("shop_wrong:NOTHING", "shop_wrong:NOTHING holds no topic"),
        ("shop_wrong:Missing", "The module shop_wrong has no Missing"),
        ("shop_wrong:Base", "shop_wrong:Base holds no topic"),
    ],
)
def test_a_name_that_holds_no_topic(folder: Path, name: str, sentence: str) -> None:
    ended = run(folder, BEFORE, name)
    assert ended.exit_code == 1
    assert sentence in ended.stderr


def test_a_module_that_is_not_there_and_one_that_lacks_something(folder: Path) -> None:
    missing = CliRunner().invoke(relay, ["topics", "--schema", "shop_nowhere.messages"])
    assert missing.exit_code == 1
    assert "There is no module shop_nowhere" in missing.stderr
    broken = run(folder, "1 / 0", "shop_broken")
    assert (broken.exit_code, broken.stdout) == (1, "")
    assert "The module shop_broken raises ZeroDivisionError when imported." in broken.stderr
    inner = run(folder, "import not_installed_here\n", "shop_lacking")
    assert inner.exit_code == 1
    assert "shop_lacking imports not_installed_here, which is not installed" in inner.stderr
    ours = "from relay.errors import needs\nwith needs('topic', 'relay.Topic'):\n    import not_installed_here\n"
    assert "hint: relay.Topic needs more than an insert does: pip install 'outbox-relay[topic]'" in (
        run(folder, ours, "shop_without_an_extra").stderr
    )


@pytest.mark.parametrize("text", ["[]", "{}", "no json", '{"topics": []}'])
def test_a_file_that_is_no_document_of_topics(folder: Path, text: str) -> None:
    (folder / "topics.json").write_text(text)
    ended = run(folder, BEFORE, "shop_against_nothing", "--against", "topics.json")
    assert ended.exit_code == 1
    assert "topics.json is no document of topics" in ended.stderr


ODD = """
import relay


class Odd(relay.Topic, topic="odd"):
    model_config = {"arbitrary_types_allowed": True}
    it: type(relay)
"""


def test_a_field_without_a_schema_is_told(folder: Path) -> None:
    ended = run(folder, ODD, "shop_odd")
    assert ended.exit_code == 1
    assert "Odd has no JSON Schema" in ended.stderr
