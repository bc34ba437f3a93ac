"""Every reason that the relay itself gives, of a pause and in the ledger, has a Chinese sentence beside the English."""

from __future__ import annotations

import ast
import random
import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest

from relay import reasons
from relay.message import ACCEPTED, NO_CREDENTIALS, Answered, Batch, Fault, Message, Refused, Result, Scope
from relay.outcomes import PauseOrder, Policy, decide, without_credentials
from relay.reasons import OF_PAUSES, OF_THE_LEDGER, OwnReason, of_ledger, of_pause
from relay.store.evidence import plainer
from tests.architecture.trees import walked

ROOT = Path(__file__).parents[2]
MODULES = sorted((ROOT / "relay").rglob("*.py"))
FUNCTIONS = sorted((ROOT / "tests" / "golden" / "functions").glob("*.sql"))
BATCH = Batch(1, "shop", (Message(1, "t", "{}"), Message(2, "t", "{}")))
ALL = {**{f"of a pause: {one.begins}": one for one in OF_PAUSES}}
ALL |= {f"{action}: {one.begins}": one for action, several in OF_THE_LEDGER.items() for one in several}


def orders() -> Iterator[PauseOrder]:
    """Whatever an answer may lead to, with a code or without, with words or without, also where the words are lost."""
    for fault, scope, code, said in product(
        Fault, Scope, (None, "x", NO_CREDENTIALS), (None, "", "平台说", "session expired\nsince yesterday")
    ):
        results = (Result(fault, code, said, scope=scope), Result(fault, code, said, scope=scope))
        for answer in (Refused(fault, code, message=said, scope=scope, app_key="1"), Answered(results, app_key="1")):
            for one in plainer(decide(BATCH, answer, Policy(), random.Random(0)), "UTF8"):
                if one.pause:
                    yield one.pause
    yield without_credentials("shop")
    yield without_credentials("shop", "relay.toml: this\nis wrong")


def test_every_pause_that_the_relay_orders_has_a_chinese_sentence() -> None:
    found = list(orders())
    assert {one.reason for one in found if of_pause(one.reason) is None} == set()
    assert {of_pause(one.reason) for one in found} == set(OF_PAUSES) - {reasons.UNSAID}, "and none is there for nothing"
    assert of_pause(reasons.UNSAID.written()) is reasons.UNSAID
    assert decide(BATCH, Answered((ACCEPTED,) * 2), Policy(), random.Random(0)).pause is None


def test_a_pause_without_credentials_is_told_apart_from_a_refused_one() -> None:
    assert of_pause(without_credentials("shop").reason) is reasons.CREDENTIALS_MISSING
    assert of_pause("credentials refused: Invalid session") is reasons.CREDENTIALS_REFUSED
    for of_a_person in ("maintenance", "because: throttled by the platform: 7", "", "the credentials are refused"):
        assert of_pause(of_a_person) is None


def test_no_other_place_writes_a_reason() -> None:
    """In the code: what a pause or a row of the ledger is given is one of the list, or a person's."""
    elsewhere = []
    for path in MODULES:
        for node in walked(path):
            match node:
                case ast.Call(func=ast.Name(id="PauseOrder"), args=[_, _, given, *_]):
                    said = [given]
                case ast.Call(func=ast.Name(id="Order"), args=[_, given, *_]):
                    said = [given]
                case ast.Call(func=ast.Name(id="ordered"), args=[given, *_]):
                    said = [given]
                case ast.Call(keywords=keywords):
                    said = [keyword.value for keyword in keywords if keyword.arg == "reason"]
                case _:
                    said = []
            elsewhere += [
                f"{path.relative_to(ROOT)}:{one.lineno} {ast.unparse(one)}" for one in said if is_sentence(one)
            ]
    assert elsewhere == [], "put it into relay/reasons.py, with its Chinese sentence"


def is_sentence(given: ast.expr) -> bool:
    """Whether words stand there which are not of the list."""
    match given:
        case ast.Constant(value=str(text)):
            return any(letter.isalpha() for letter in text)
        case ast.JoinedStr():
            return True
        case ast.BoolOp(values=parts) | ast.Tuple(elts=parts):
            return any(map(is_sentence, parts))
        case ast.BinOp(left=left, right=right):
            return is_sentence(left) or is_sentence(right)
        case ast.IfExp(body=body, orelse=other):
            return is_sentence(body) or is_sentence(other)
    return False


def test_no_function_of_the_database_writes_another_reason() -> None:
    """Their texts are frozen, so what they say stands in the list a second time."""
    rows = [
        (action, said)
        for path in FUNCTIONS
        for action, said in re.findall(
            r"(?:record_action\(|values \(\w+, )'(\w+)',(?: \w+,)? '([^']+)'", path.read_text(encoding="utf-8")
        )
    ]
    assert {action for action, _ in rows} == {"start", "mask", "salt"}
    for action, said in rows:
        assert of_ledger(action, said + ("update" if said.endswith(": ") else "")), (action, said)


@pytest.mark.parametrize("name", ALL)
def test_a_reason_is_read_as_it_is_written(name: str) -> None:
    reason = ALL[name]
    assert re.search("[一-鿿]", reason.zh)
    assert not reason.zh.endswith("。")
    values = {value: f"<{value}>" for value in re.findall(r"\{(\w+)\}", reason.en)}
    assert reason.written(**values).startswith(reason.begins)
    assert reason.read(reason.written(**values)) == reason.zh.format(**values)
    assert reason.read("nobody says so") is None


def test_what_a_person_did_keeps_its_reason() -> None:
    assert of_ledger("archive", "finished more than 30 days ago (RELAY_ARCHIVE_AFTER_DAYS)") == (
        "30 天前已结束（RELAY_ARCHIVE_AFTER_DAYS）"
    )
    for action, said in (("retry", "a worker started"), ("start", "because"), ("prune", "retention of 2024")):
        assert of_ledger(action, said) is None
    assert OwnReason("a.b {x}", "甲").read("a-b 1") is None
