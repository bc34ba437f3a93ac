"""Sizes and names: nothing grows until nobody reads it, and nothing is called by what it is not."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "core", "misc"}
LONGEST_MODULE, LONGEST_TEST_FILE, LONGEST_README, LONGEST_FUNCTION, LARGEST_PROTOCOL = 400, 500, 250, 60, 8
CLAIM, LONGEST_STEP = ROOT / "relay" / "store" / "claim", 40

MODULES = sorted((ROOT / "relay").rglob("*.py"))
TEST_FILES = sorted((ROOT / "tests").rglob("*.py"))
OTHERS = sorted(path for folder in ("migrations", "benchmarks", "examples") for path in (ROOT / folder).rglob("*.py"))


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def line_count(path: Path) -> int:
    return len(path.read_text().splitlines())


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


@pytest.mark.parametrize("path", [path for path in MODULES if path.parent == CLAIM], ids=name_of)
def test_the_claim_is_told_in_short_steps(path: Path) -> None:
    long = {f.name: n for f in functions(path) if (n := (f.end_lineno or f.lineno) - f.lineno + 1) >= LONGEST_STEP}
    assert long == {}, "name a part of it: docs/claim.md has the steps"


def is_protocol(node: ast.ClassDef) -> bool:
    return any(isinstance(base, ast.Name) and base.id == "Protocol" for base in node.bases)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_opens_with_its_idea_and_ends_before_it_tires(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text())), "no docstring"
    assert line_count(path) <= LONGEST_MODULE


@pytest.mark.parametrize("path", TEST_FILES, ids=name_of)
def test_a_test_file_stays_readable(path: Path) -> None:
    assert line_count(path) <= LONGEST_TEST_FILE


@pytest.mark.parametrize("path", [*MODULES, *OTHERS, *TEST_FILES], ids=name_of)
def test_functions_are_short(path: Path) -> None:
    long = {f.name: n for f in functions(path) if (n := (f.end_lineno or f.lineno) - f.lineno + 1) > LONGEST_FUNCTION}
    assert long == {}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_protocol_is_small_enough_to_be_implemented(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ClassDef) and is_protocol(node):
            methods = [member for member in node.body if isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef)]
            assert len(methods) <= LARGEST_PROTOCOL, node.name


def test_no_file_or_folder_has_a_name_that_says_nothing() -> None:
    named = {part for path in [*MODULES, *OTHERS, *TEST_FILES] for part in path.relative_to(ROOT).with_suffix("").parts}
    assert not named & FORBIDDEN_NAMES


def test_the_readme_is_read_to_its_end() -> None:
    assert line_count(ROOT / "README.md") <= LONGEST_README
