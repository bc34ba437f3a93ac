"""Sizes and names: nothing grows until nobody reads it, and nothing is called by what it is not."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.architecture.trees import tree, walked

ROOT = Path(__file__).parents[2]
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "core", "misc"}
LONGEST_MODULE, LONGEST_TEST_FILE, LONGEST_README, LONGEST_FUNCTION, LARGEST_PROTOCOL = 400, 500, 180, 60, 8
CLAIM, LONGEST_STEP = ROOT / "relay" / "store" / "claim", 40

MODULES = sorted((ROOT / "relay").rglob("*.py"))
TEST_FILES = sorted((ROOT / "tests").rglob("*.py"))
OTHERS = sorted(path for folder in ("migrations", "benchmarks", "examples") for path in (ROOT / folder).rglob("*.py"))


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def line_count(path: Path) -> int:
    return len(path.read_text().splitlines())


def longest(paths: list[Path]) -> dict[str, int]:
    """How many lines each function has, the decorators not counted: ``file: function`` -> lines."""
    return {
        f"{name_of(path)}: {node.name}": (node.end_lineno or node.lineno) - node.lineno + 1
        for path in paths
        for node in walked(path)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def over(limit: int, counted: dict[str, int]) -> dict[str, int]:
    assert counted, "nothing was looked at"
    return {name: count for name, count in counted.items() if count > limit}


def test_the_claim_is_told_in_short_steps() -> None:
    steps = longest([path for path in MODULES if path.parent == CLAIM])
    assert over(LONGEST_STEP - 1, steps) == {}, "name a part of it: docs/claim.md has the steps"


def is_protocol(node: ast.ClassDef) -> bool:
    return any(isinstance(base, ast.Name) and base.id == "Protocol" for base in node.bases)


def test_a_module_opens_with_its_idea() -> None:
    assert [name_of(path) for path in MODULES if not ast.get_docstring(tree(path))] == [], (
        "begin it with a docstring: what is in it, in one sentence"
    )


def test_a_module_ends_before_it_tires() -> None:
    remedy = f"more than {LONGEST_MODULE} lines: move one part with an idea of its own into a file beside it"
    assert over(LONGEST_MODULE, {name_of(path): line_count(path) for path in MODULES}) == {}, remedy


def test_a_test_file_stays_readable() -> None:
    remedy = f"more than {LONGEST_TEST_FILE} lines: move the tests of one thing into a file of their own"
    assert over(LONGEST_TEST_FILE, {name_of(path): line_count(path) for path in TEST_FILES}) == {}, remedy


def test_functions_are_short() -> None:
    remedy = f"more than {LONGEST_FUNCTION} lines: give a step of it a name and make it a function"
    assert over(LONGEST_FUNCTION, longest([*MODULES, *OTHERS, *TEST_FILES])) == {}, remedy


def test_a_protocol_is_small_enough_to_be_implemented() -> None:
    methods = {
        f"{name_of(path)}: {node.name}": sum(isinstance(it, ast.FunctionDef | ast.AsyncFunctionDef) for it in node.body)
        for path in MODULES
        for node in walked(path)
        if isinstance(node, ast.ClassDef) and is_protocol(node)
    }
    assert over(LARGEST_PROTOCOL, methods) == {}, "more methods than that: make two protocols, by who asks for them"


def test_no_file_or_folder_has_a_name_that_says_nothing() -> None:
    named = {part for path in [*MODULES, *OTHERS, *TEST_FILES] for part in path.relative_to(ROOT).with_suffix("").parts}
    assert not named & FORBIDDEN_NAMES, "call it by what it knows: docs/glossary.md has the words"


def test_the_readme_is_read_to_its_end() -> None:
    """Rows of tables do not count: who adds a setting or a verb owes it one."""
    told = [line for line in (ROOT / "README.md").read_text().splitlines() if not line.startswith("|")]
    remedy = f"more than {LONGEST_README} lines beside its tables: move a part to a page of docs/ and link to it"
    assert len(told) <= LONGEST_README, remedy
