"""What a check found: as it should be, worth a look, or broken, in a sentence with the next step."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """How bad it is. The texts are those of ``relay check --json``."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found. ``hint`` is the next step; there is none where all is well."""

    state: State
    sentence: str
    hint: str = ""


def ok(sentence: str) -> Finding:
    """As it should be."""
    return Finding(State.OK, sentence)


def warn(sentence: str, hint: str = "") -> Finding:
    """It works, but a person should look."""
    return Finding(State.WARN, sentence, hint)


def fail(sentence: str, hint: str = "") -> Finding:
    """The relay cannot do its work, or not safely."""
    return Finding(State.FAIL, sentence, hint)
