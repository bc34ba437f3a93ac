"""One word, one thing: no two rooms give the same name to different classes, and no text makes a reader stumble."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
MODULES = sorted((ROOT / "relay").rglob("*.py"))

# A class or alias that may share its name, and why.
SHARED_NAMES: dict[str, str] = {}


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
        for name in named_types(ast.parse(path.read_text())):
            if not name.startswith("_"):
                places[name].append(str(path.relative_to(ROOT)))
    twice = {name: found for name, found in places.items() if len(found) > 1 and name not in SHARED_NAMES}
    assert twice == {}, "give one of them a name that says whose it is; docs/glossary.md has the words"
    unused = [name for name in SHARED_NAMES if len(places[name]) < 2]
    assert unused == [], "the exception is not needed any more"
