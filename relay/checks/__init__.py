"""What a doctor looks at: one small function for each question; each stands alone and changes nothing.

To add one, write a function ``(connection, settings)`` that yields findings, in the file it belongs to, and name it in
``examination.py``. It runs in a read-only transaction of its own with a time limit; whatever it raises becomes a
finding as well, so that no check ever stops another.

    ok      as it should be
    warn    works, but a person should look; or could not be looked at
    fail    the relay cannot do its work, or not safely
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sqlalchemy import Connection

from relay.findings import Finding, State, denied, fail, ok, warn
from relay.settings import Settings

__all__ = ["Check", "Finding", "NamedFinding", "State", "denied", "fail", "named", "ok", "warn"]


@dataclass(frozen=True, slots=True)
class NamedFinding:
    """A finding under the name of its check."""

    name: str
    state: State
    sentence: str
    hint: str = ""


Check = Callable[[Connection, Settings], Iterator[Finding]]


def named(name: str, finding: Finding) -> NamedFinding:
    """This finding under the name of the check that found it."""
    return NamedFinding(name, finding.state, finding.sentence, finding.hint)
