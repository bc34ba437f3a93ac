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
    """What was found. ``hint`` is the next step; there is none where all is well.

    ``denied``: a right to look at it is missing.
    """

    state: State
    sentence: str
    hint: str = ""
    denied: bool = False


def ok(sentence: str) -> Finding:
    """As it should be."""
    return Finding(State.OK, sentence)


def warn(sentence: str, hint: str = "") -> Finding:
    """It works, but a person should look."""
    return Finding(State.WARN, sentence, hint)


def denied(sentence: str, hint: str = "") -> Finding:
    """A right to look at it is missing: a warning, unless nobody expects that of this login."""
    return Finding(State.WARN, sentence, hint, denied=True)


def fail(sentence: str, hint: str = "") -> Finding:
    """The relay cannot do its work, or not safely."""
    return Finding(State.FAIL, sentence, hint)
