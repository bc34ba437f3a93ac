"""One word, one thing: no two rooms give the same name to different classes, and no text makes a reader stumble."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.architecture.trees import tree

ROOT = Path(__file__).parents[2]
MODULES = sorted((ROOT / "relay").rglob("*.py"))

# A class or alias that may share its name, and why.
SHARED_NAMES: dict[str, str] = {"Command": "Django looks for its commands by this name"}

# What makes a reader stumble, and what to write instead.
STUMBLING = {
    r"\bso many\b(?! .{0,80}\bthat\b)": "many; N; the name of the number; this many",
    r"\b(for|after|wait|than) so long\b(?! (as|that)\b)": "this long, or the name of the time",
    r"\bkin\b": "others like it",
    r"\b(is|are|was|were|be|been) had\b": "is held, taken, opened, kept: what is done with it",
    r"\bmore than none\b": "any",
    r"\bso long ago\b": "this long ago",
    r"\bknows? without looking\b": "say why it costs nothing",
    r"\bone step further than\b": "say what the last step is for",
    r"\bwait for nothing\b": "wait without need",
}
# Sentences for people; what is frozen or quoted says what it said.
FROZEN = {ROOT / "relay" / "revisions"}
TEXTS = [
    *(path for path in MODULES if not FROZEN & set(path.parents)),
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]


def named_types(tree: ast.Module) -> Iterator[str]:
    """Public classes of a module, and what it gives a name to in the style of one: ``Answer = Answered | Refused``."""
    for node in tree.body:
        match node:
            case ast.ClassDef(name=name):
                yield name
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                if re.fullmatch(r"[A-Z][a-z]\w*", name):
                    yield name


def test_a_name_stands_for_one_class() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for path in MODULES:
        for name in named_types(tree(path)):
            if not name.startswith("_"):
                places[name].append(str(path.relative_to(ROOT)))
    twice = {name: found for name, found in places.items() if len(found) > 1 and name not in SHARED_NAMES}
    assert twice == {}, "give one of them a name that says whose it is; docs/glossary.md has the words"
    unused = [name for name in SHARED_NAMES if len(places[name]) < 2]
    assert unused == [], "the exception is not needed any more"


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_sentence_makes_a_reader_stumble(path: Path) -> None:
    text = re.sub(r"\s*\n\s*(# )?", " ", path.read_text())
    found = [
        f"{text[max(0, match.start() - 30) : match.end() + 30]!r}: write {better}"
        for stumbling, better in STUMBLING.items()
        for match in re.finditer(stumbling, text, re.IGNORECASE)
    ]
    assert found == []
