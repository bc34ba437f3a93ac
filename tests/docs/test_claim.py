"""docs/claim.md tells what is there: every mood of the code, and tests that exist."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from relay.store.claim.moods import Mood

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "claim.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^### (\w+)\n(.*?)(?=^##|\Z)", PAGE, flags=re.MULTILINE | re.DOTALL))


def test_each_mood_has_a_section_and_no_other_thing_has() -> None:
    assert list(SECTIONS) == [mood.__name__ for mood in get_args(Mood)]


@pytest.mark.parametrize("mood", SECTIONS)
def test_of_each_mood_all_is_told(mood: str) -> None:
    told = re.findall(r"^\| ([a-z ]+) \|", SECTIONS[mood], flags=re.MULTILINE)
    assert told == ["entered when", "left when", "may miss", "tests"]


def test_the_tests_that_it_names_exist() -> None:
    tests = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    assert named == {name for name in named if f"def {name}(" in tests}


def test_the_files_that_it_names_exist() -> None:
    rooms = [ROOT, ROOT / "relay" / "store" / "claim", ROOT / "tests" / "unit", ROOT / "tests" / "integration"]
    named = set(re.findall(r"`([\w/]+\.py)`", PAGE))
    assert [name for name in sorted(named) if not any((room / name).is_file() for room in rooms)] == []
