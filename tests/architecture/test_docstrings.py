"""Every public item says what its name and signature cannot: shapes, units, errors, what stays true."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.architecture.trees import tree, walked

ROOT = Path(__file__).parents[2]
TREES = {path: tree(path) for path in sorted((ROOT / "relay").rglob("*.py"))}

# Whole modules whose items need none, and why.
DOCUMENTED_ELSEWHERE = {
    "relay/outbox/kinds.py": "its protocols are the shapes of connections of other libraries, which document them",
}

# What Django calls by these names, and documents: in its integration, of its classes.
DJANGO = "relay/integrations/django/"
OF_DJANGO = {
    "Meta",
    *("add_arguments", "handle", "run_from_argv", "ready"),
    *("database_backwards", "database_forwards", "describe", "state_forwards"),
    *("choices", "get_changelist", "get_queryset", "get_results", "has_add_permission", "lookups", "queryset"),
    *("db_type", "save", "select_format"),
}

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def public(body: list[ast.stmt]) -> Iterator[Definition]:
    """What is defined here without an underscore, and is no second form of the same name (``@overload``)."""
    for node in body:
        if not isinstance(node, Definition) or node.name.startswith("_"):
            continue
        if not any("overload" in ast.unparse(decorator) for decorator in node.decorator_list):
            yield node


def is_protocol(node: ast.ClassDef) -> bool:
    return any(ast.unparse(base).startswith("Protocol") for base in node.bases)


def methods(node: ast.ClassDef) -> set[str]:
    return {each.name for each in public(node.body)}


PROTOCOLS = [
    (path, node)
    for path, module in TREES.items()
    for node in module.body
    if isinstance(node, ast.ClassDef) and is_protocol(node)
]


def told_by_a_protocol(node: ast.ClassDef) -> set[str]:
    """The methods of a class that does all that a protocol of ours asks for: that protocol documents them."""
    fitting = (methods(protocol) for _, protocol in PROTOCOLS if protocol is not node)
    return set[str]().union(*(names for names in fitting if names and names <= methods(node)))


def silent(path: Path, module: ast.Module) -> Iterator[str]:
    """The public items of a module that have no docstring; a class is followed by its methods."""
    where = str(path.relative_to(ROOT))
    for item in public(module.body):
        if not ast.get_docstring(item) and where not in DOCUMENTED_ELSEWHERE:
            yield f"{where}:{item.lineno} {item.name}"
        if isinstance(item, ast.ClassDef):
            told = told_by_a_protocol(item)
            for method in public(item.body):
                if where.startswith(DJANGO) and method.name in OF_DJANGO:
                    continue
                if where in DOCUMENTED_ELSEWHERE or method.name in told:
                    continue
                if not ast.get_docstring(method):
                    yield f"{where}:{method.lineno} {item.name}.{method.name}"


def test_every_public_item_says_what_its_name_cannot() -> None:
    missing = [item for path, module in TREES.items() for item in silent(path, module)]
    assert missing == [], "one line what it gives back, then only what the signature cannot say: units, errors, None"


def test_no_docstring_only_repeats_the_name() -> None:
    """``def close``: "Close." tells nobody anything."""
    idle = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in TREES
        for node in walked(path)
        if isinstance(node, Definition)
        and (told := ast.get_docstring(node))
        and told.lower().strip(" .").replace(" ", "_") == node.name.lower()
    ]
    assert idle == [], "say what the name does not: units, errors, what None means, what stays true"
