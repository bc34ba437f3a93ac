"""What a type checker tells those who use the package: names are loaded late, and a wrong one is an error even so."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
PROJECTS = ("tested_orders", "spool_producer")
DJANGO = ROOT / "examples" / "django_shop"
NO_TYPES = {"reportAttributeAccessIssue": False, "reportGeneralTypeIssues": False}  # of its models and its atomic()
PROGRAM = """
import relay

relay.ad_async
relay.runing()
relay.drain(None).left


async def application() -> int:
    async with relay.running(concurrency=2) as worker:
        worker.stopp()
    async with relay.open_worker() as other:
        other.stop()
    return (await relay.drain(metrics_port=0)).done


class TradeTrace(relay.Topic, topic="taobao_jds_TradeTrace"):
    tid: int

    def ordering_key(self) -> str:
        return str(self.tid)


relay.insert(TradeTrace(tid=1), account="shop")
relay.insert(TradeTrace(tidd=1))

import relay.testing

relay.testing.Drian
relay.testing.Drain("postgresql://", relay.testing.ScriptedPlatform())().left
"""
WRONG = {
    4: 'Module has no attribute "ad_async"',
    5: 'Module has no attribute "runing"',
    6: 'has no attribute "left"',
    11: '"OpenWorker" has no attribute "stopp"',
    25: 'Unexpected keyword argument "tidd" for "TradeTrace"',
    29: 'Module has no attribute "Drian"',
}


@pytest.mark.timeout(300)
def test_a_misspelt_name_is_an_error_and_a_right_one_is_typed(tmp_path: Path) -> None:
    """The examples are right. This is with pydantic's plugin, as our own configuration has it."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    options = ["--strict", "--no-error-summary", "--hide-error-codes"]
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", *options, str(program), *map(str, EXAMPLES)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    errors = [line for line in checked.stdout.splitlines() if ": error: " in line]
    wrong = [line for line in errors if "examples" in line]
    assert not wrong, "users copy the examples: mend the example, or the type that its names have"
    said = {int(line.split(":")[1]): line for line in errors}
    assert said.keys() == WRONG.keys(), checked.stdout + checked.stderr
    assert not [number for number, part in WRONG.items() if part not in said[number]], checked.stdout


@pytest.mark.timeout(300)
def test_pyright_says_the_same(tmp_path: Path) -> None:
    """As basedpyright, the build that brings all it needs in a wheel, with pyright's own rules.

    The examples are right in its strict mode; that in Django as far as Django, which has no types, lets anybody know.
    """
    pytest.importorskip("basedpyright", reason="basedpyright is not installed: pip install basedpyright")
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    options = {
        "include": [str(program), str(ROOT / "examples")],
        "strict": [*map(str, EXAMPLES), *(str(ROOT / "examples" / name) for name in PROJECTS)],
        "executionEnvironments": [{"root": str(DJANGO), "extraPaths": [str(ROOT)], **NO_TYPES}, {"root": str(ROOT)}],
        "extraPaths": [str(ROOT)],
        "typeCheckingMode": "standard",
        "pythonVersion": "3.11",
    }
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(options))
    command = [sys.executable, "-m", "basedpyright", "--project", str(tmp_path), "--pythonpath", sys.executable]
    checked = subprocess.run([*command, "--outputjson"], cwd=ROOT, capture_output=True, text=True)
    found = json.loads(checked.stdout)
    analyzed = [path for path in (ROOT / "examples").rglob("*.py") if path.name != "__init__.py"]
    assert found["summary"]["filesAnalyzed"] > len(analyzed)
    errors = [one for one in found["generalDiagnostics"] if one["severity"] == "error"]
    wrong = [one for one in errors if Path(one["file"]) != program]
    assert not wrong, "users copy the examples: mend the example, or the type that its names have"
    assert {one["range"]["start"]["line"] + 1 for one in errors} == WRONG.keys(), checked.stdout


@pytest.mark.parametrize("package", ["relay", "relay.testing"])
def test_type_checkers_know_every_name_that_is_handed_out(package: str) -> None:
    handing = import_module(package)
    tree = ast.parse(Path(str(handing.__file__)).read_text())
    (known,) = [node for node in tree.body if isinstance(node, ast.If) and isinstance(node.test, ast.Name)]
    names = {alias.name for node in known.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert names | ({"__version__"} if package == "relay" else set()) == set(handing.__all__)
    assert all(getattr(handing, name) is not None for name in handing.__all__)
    with pytest.raises(AttributeError, match=rf"module '{package}' has no attribute 'ad'"):
        _ = handing.ad


APPLICATION = """
import relay
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session


class Psycopg:
    autocommit = False

    def fileno(self) -> int: ...
    def transaction(self) -> AbstractContextManager[object]: ...


class Asyncpg:
    def is_in_transaction(self) -> bool: ...
    def is_closed(self) -> bool: ...


class TradeTrace(relay.Topic, topic="taobao_jds_TradeTrace"):
    tid: int

    def dedupe_key(self) -> str:
        return f"packaged {self.tid}"


async def application(one: Session, other: AsyncSession, own: Psycopg, wire: Asyncpg) -> list[int | None]:
    message = relay.NewMessage("topic", {}, ordering_key="k")
    found: int | None = relay.add(one, "topic", {}, account="shop")
    relay.add_many(own, [message, {"topic": "topic", "content": {"n": found}}])
    await relay.add_async(wire, "topic", {})
    relay.add(one, TradeTrace(tid=1), account="shop")
    await relay.add_async(wire, TradeTrace(tid=1))
    relay.add_many(one, [TradeTrace(tid=1), relay.NewMessage(TradeTrace(tid=1), producer="shop")])
    one.add(relay.OutboxMessage(content=TradeTrace(tid=1)))
    relay.add(one, TradeTrace(tidd=1))
    relay.add(one, "no content")
    relay.add(other, "topic", {})
    relay.add(wire, "topic", {})
    await relay.add_async(own, "topic", {})
    relay.NewMessage("topic", {}, delay=5)
    relay.add_many(one, [1])
    return await relay.add_many_async(other, (message for _ in range(3)))
"""
WRONG_LINES = {
    "tidd=1",
    "no content",
    "relay.add(other",
    "relay.add(wire",
    "relay.add_async(own",
    "delay=5",
    "relay.add_many(one, [1])",
}


@pytest.mark.timeout(300)
def test_connections_are_typed_where_no_driver_is_installed(tmp_path: Path) -> None:
    """Nor pydantic's plugin for mypy."""
    import annotated_types
    import pydantic
    import pydantic_core
    import sqlalchemy
    import typing_extensions
    import typing_inspection

    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=True)
    (packages,) = (tmp_path / "bare" / "lib").glob("python*/site-packages")
    folders = (annotated_types, pydantic, pydantic_core, sqlalchemy, typing_inspection)
    linked = [Path(str(each.__file__)).parent for each in folders]
    for here in (*linked, Path(typing_extensions.__file__), ROOT / "relay"):
        (packages / here.name).symlink_to(here)
    program = tmp_path / "program.py"
    program.write_text(f"from contextlib import AbstractContextManager\n{APPLICATION}")
    python = str(tmp_path / "bare" / "bin" / "python")
    # Nobody comes back to what would be remembered here.
    options = ["--strict", "--no-error-summary", "--disable-error-code=empty-body", "--cache-dir=/dev/null"]
    options.append(f"--python-executable={python}")
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", *options, str(program)], cwd=tmp_path, capture_output=True, text=True
    )
    lines = program.read_text().splitlines()
    errors = {int(line.split(":")[1]) for line in checked.stdout.splitlines() if ": error: " in line}
    wrong = {n for n, line in enumerate(lines, start=1) if any(part in line for part in WRONG_LINES)}
    assert errors == wrong, checked.stdout + checked.stderr
