"""docs/outcomes.md says what the code does: every row is asked of the functions that decide."""

from __future__ import annotations

import random
import re

import pytest

from relay.message import ACCEPTED, Answer, Answered, Batch, Fault, Message, Refused, Result
from relay.outcomes import Policy, Settlement, decide
from relay.tmc.codes import classify_call, classify_result, classify_status
from relay.tmc.explaining import entries
from tests.docs.markdown import ROOT, tables

OUTCOMES = ROOT / "docs" / "outcomes.md"
POLICIES = tables(OUTCOMES, "fault", "outcome", "pays an attempt", "then")
CODES = tables(OUTCOMES, "code", "sub code", "fault", "concerns", "could the service have done it?")
INDEX, CALL = POLICIES[: len(Fault)], POLICIES[len(Fault) :]
BATCH = Batch(1, "default", (Message(1, "topic", "{}"), Message(2, "topic", "{}")))


def settled(answer: Answer) -> Settlement:
    return decide(BATCH, answer, Policy(), random.Random(1))


def test_every_fault_has_its_rows() -> None:
    assert [row[0] for row in INDEX] == [row[0] for row in CALL] == [fault.value for fault in Fault]


@pytest.mark.parametrize("row", INDEX, ids=lambda row: row[0])
def test_a_refused_index(row: list[str]) -> None:
    fault, outcome, pays, then = row
    settlement = settled(Answered((ACCEPTED, Result(Fault(fault), "code", "said"))))
    (verdict,) = settlement.verdicts
    assert settlement.done == ((1, 0),)
    assert (verdict.outcome.value, verdict.pays) == (outcome, pays == "yes")
    assert verdict.final == (outcome == "failed")
    assert verdict.final or then.startswith("again")


@pytest.mark.parametrize("row", CALL, ids=lambda row: row[0])
def test_a_refused_call(row: list[str]) -> None:
    fault, outcome, pays, then = row
    settlement = settled(Refused(Fault(fault), "code", app_key="12345678"))
    assert bool(settlement.halves) == ("halves" in then)
    assert (settlement.pause is not None) == ("paused" in then)
    if settlement.pause is not None:
        assert (settlement.pause.seconds is None) == ("another credential" in then)
    assert {verdict.outcome.value for verdict in settlement.verdicts} == ({outcome} - {"–"})
    assert {verdict.pays for verdict in settlement.verdicts} == ({pays == "yes"} if settlement.verdicts else set())


@pytest.mark.parametrize("row", CODES, ids=lambda row: " ".join(row[:2]))
def test_a_code_of_a_call(row: list[str]) -> None:
    code, sub_code, fault, concerns, _ = row
    found, scope, _ = classify_call(code, sub_code, "")
    assert (found.value, scope.value) == (fault, concerns)


@pytest.mark.parametrize("row", CODES, ids=lambda row: " ".join(row[:2]))
def test_unknown_is_where_the_service_could_have_done_it_and_nowhere_else(row: list[str]) -> None:
    _, _, fault, _, answer = row
    assert answer.startswith("yes") == (fault == "unknown")
    assert answer.startswith(("yes", "no"))


def test_every_code_that_is_explained_has_its_question_answered() -> None:
    answered = {code for row in CODES for code in row[:2]}
    patterns = {"accesscontrol.", "isv.permission-", "isv.replayattack-", "isv.appkey-", "isv.", "session"}
    left = {
        code
        for code in entries()
        if not code.startswith("relay.") and code not in answered and not code.startswith(tuple(patterns))
    }
    assert left == {"10[0-5]", "isp.*"}


@pytest.mark.parametrize("row", tables(OUTCOMES, "error code", "fault"), ids=" ".join)
def test_a_code_of_an_index(row: list[str]) -> None:
    assert classify_result(row[0], "")[0].value == row[1]


@pytest.mark.parametrize("row", tables(OUTCOMES, "status", "fault"), ids=" ".join)
def test_a_status(row: list[str]) -> None:
    assert classify_status(int(row[0]))[0].value == row[1]


def test_every_code_of_our_own_is_documented_and_exists() -> None:
    documented = {code for code, _ in tables(OUTCOMES, "code", "meaning")}
    sources = "\n".join(
        path.read_text(encoding="utf-8")
        for room in (
            "message.py",
            "outcomes.py",
            "statements.py",
            "store/claim/statements.py",
            "producers",
            "tmc",
            "worker",
        )
        for path in ([ROOT / "relay" / room] if room.endswith(".py") else sorted((ROOT / "relay" / room).glob("*.py")))
    )
    used = set(re.findall(r"""["'](relay\.[a-z]+(?:_[a-z]+)*)["']""", sources)) - {"relay.producers"}
    assert documented == used
