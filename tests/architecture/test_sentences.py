"""Errors speak alike: a sentence begins with a capital letter or the name of what is wrong, and a next step follows."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.architecture.trees import walked

ROOT = Path(__file__).parents[2]
MODULES = sorted((ROOT / "relay").rglob("*.py"))

# First words that are names, written as their reader wrote them: columns, a function, a fault, a program.
NAMES = re.compile(r"(content|messages|topic|relay\.[a-z_]+|psql|relay|initdb)\b|down=")
# A hint may be the command itself, to be copied.
COMMANDS = re.compile(r"(pip install|relay [a-z-]+|kill|openssl|grant|alter) ")
# What already says, in the sentence, what would be right.
RIGHT_WAY = re.compile(r"\bmust\b|see the log")
# Where an error needs no hint, and why.
NO_HINT = {
    "relay/store/connections.py": "a worker tells these in its log and tries again by itself",
    "relay/worker/pauses.py": "the worker that waited for the pace gives the call back by itself",
}
TOLD = "«»"  # what is known only when it happens


class Told(NamedTuple):
    """An error as the code raises it. ``hint`` None: it has none."""

    place: str
    sentence: str
    hint: str | None


def error_classes() -> set[str]:
    """``RelayError`` and every class made of one, by name."""
    names = {"RelayError"}
    classes = [node for path in MODULES for node in walked(path) if isinstance(node, ast.ClassDef)]
    while (
        more := {node.name for node in classes if names & {ast.unparse(base).split(".")[-1] for base in node.bases}}
        - names
    ):
        names |= more
    return names


def literal(node: ast.expr) -> str:
    """The text of an expression, with TOLD where it is put in at run time."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(part.value if isinstance(part, ast.Constant) else TOLD for part in parts)  # type: ignore[misc]
    return TOLD


def all_told() -> Iterator[Told]:
    """Every error made with a sentence of its own; those that pass another one's on begin as that one does."""
    classes = error_classes()
    for path in MODULES:
        for node in walked(path):
            if isinstance(node, ast.Call) and node.args and ast.unparse(node.func).split(".")[-1] in classes:
                hints = [*node.args[1:2], *(word.value for word in node.keywords if word.arg == "hint")]
                place = f"{path.relative_to(ROOT)}:{node.lineno}"
                yield Told(place, literal(node.args[0]), literal(hints[0]) if hints else None)


ERRORS = list(all_told())
SENTENCES = [told for told in ERRORS if told.sentence.replace(TOLD, "").strip(" :\n")]


def test_there_are_errors_to_look_at() -> None:
    assert len(SENTENCES) > 120, "errors are made in a way that this test does not see: teach it to find them"


@pytest.mark.parametrize("told", SENTENCES, ids=lambda told: told.place)
def test_a_sentence_begins_with_a_capital_or_with_the_name_of_what_is_wrong(told: Told) -> None:
    first = told.sentence[0]
    assert first.isupper() or told.sentence.startswith(TOLD) or NAMES.match(told.sentence), (
        f"{told.sentence!r}: begin with a capital letter, or with the setting, column or file that is wrong"
    )


@pytest.mark.parametrize("told", [told for told in ERRORS if told.hint], ids=lambda told: told.place)
def test_a_hint_begins_with_a_capital_or_is_a_command(told: Told) -> None:
    assert told.hint is not None
    assert told.hint[0].isupper() or told.hint.startswith(TOLD) or COMMANDS.match(told.hint), (
        f"{told.hint!r}: begin the hint with a capital letter, or with the command that mends it"
    )


@pytest.mark.parametrize("told", SENTENCES, ids=lambda told: told.place)
def test_an_error_names_the_next_step(told: Told) -> None:
    passed_on = re.search(f"{TOLD}[.)]*$", told.sentence) is not None  # the words of another error, which may say it
    excused = told.place.split(":")[0] in NO_HINT
    assert told.hint or passed_on or excused or RIGHT_WAY.search(told.sentence), (
        f"{told.sentence!r}: give it a hint that says what to do"
    )


def test_no_excuse_is_left_over() -> None:
    silent = {told.place.split(":")[0] for told in SENTENCES if not told.hint}
    left = sorted(NO_HINT.keys() - silent)
    assert not left, f"{left}: every error there has a hint by now, so take it out of NO_HINT"
