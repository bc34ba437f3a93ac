"""The blocks of the README and of docs/ run as they stand, with a database and a platform to themselves.

A block that cannot run here says so in the line above it: ``<!-- not run: reason -->``.
"""

from __future__ import annotations

import ast
import inspect
import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy import BigInteger, DateTime, Engine, func, text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from tests.docs.markdown import DOCUMENTS, ROOT, Block, blocks, name_of
from tests.fixtures.processes import StartRelay

EXPORTED = ("URL", "APP_KEY", "APP_SECRET", "SESSION")
NOT_RUN = [block for path in DOCUMENTS for block in blocks(path) if block.reason]
LANGUAGES = ROOT / "docs" / "languages.md"  # whose programs run in test_languages.py
WITH_BLOCKS = [path for path in DOCUMENTS if path != LANGUAGES and any(not block.reason for block in blocks(path))]


class Base(DeclarativeBase):
    pass


class Order(Base):
    """What the README's application has beside the outbox."""

    __tablename__ = "orders"

    tid: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    seller: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


@pytest.fixture
def shell(start_relay: StartRelay, database_url: str, tmp_path: Path) -> dict[str, str]:
    """The environment of a reader who has exported what the README says, with the sandbox for a platform."""
    sandbox = start_relay("sandbox", "--port", "0")
    exports = [sandbox.wait_for_line(rf"export (RELAY_TMC_{name})=(.+)", "stdout") for name in EXPORTED]
    command = tmp_path / "bin" / "relay"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m relay "$@"\n')
    command.chmod(0o755)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("RELAY_")}
    return {
        **inherited,
        "PATH": f"{command.parent}{os.pathsep}{inherited['PATH']}",
        "PYTHONPATH": str(ROOT),
        "RELAY_DATABASE_URL": database_url,
        "RELAY_METRICS_PORT": "0",
        **{match[1]: match[2] for match in exports},
    }


async def run_python(block: Block, engine: Engine, async_engine: AsyncEngine) -> None:
    """With the names that a reader's own program would have."""
    names = {"engine": engine, "async_engine": async_engine, "Order": Order, "__name__": "__main__"}
    code = compile(block.text, str(block), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    result = eval(code, names)
    if inspect.isawaitable(result):
        await result


def run_sql(block: Block, engine: Engine) -> None:
    with engine.begin() as connection:
        for statement in block.text.split(";\n"):
            if statement.strip():
                connection.exec_driver_sql(statement)


def run_shell(block: Block, environment: dict[str, str], folder: Path) -> None:
    script = ["bash", "-euo", "pipefail", "-c", block.text]
    ended = subprocess.run(script, env=environment, cwd=folder, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, f"{block}\n{ended.stdout}{ended.stderr}"


@pytest.mark.parametrize("path", WITH_BLOCKS, ids=name_of)
async def test_every_block_runs(
    path: Path, engine: Engine, async_engine: AsyncEngine, shell: dict[str, str], tmp_path: Path
) -> None:
    Base.metadata.create_all(engine)
    ran = []
    for block in blocks(path):
        match block.language:
            case _ if block.reason:
                continue
            case "python":
                await run_python(block, engine, async_engine)
            case "sql":
                run_sql(block, engine)
            case "sh":
                run_shell(block, shell, tmp_path)
            case _:
                pytest.fail(f"{block} is in a language nobody runs here: {block.language}")
        ran.append(block)
    assert ran == [block for block in blocks(path) if not block.reason]


async def test_the_transactions_of_the_readme_write_both_rows(engine: Engine, async_engine: AsyncEngine) -> None:
    Base.metadata.create_all(engine)
    for block in blocks(ROOT / "README.md"):
        if block.language == "python":
            await run_python(block, engine, async_engine)
    with engine.connect() as connection:
        assert connection.execute(text("select seller from orders")).scalars().all() == ["向阳aa"]
        tids = connection.execute(text("select content ->> 'tid' from relay.outbox order by id")).scalars().all()
    assert tids == ["4213000001", "4213000002"]


def test_the_readme_has_blocks_of_every_kind() -> None:
    assert {block.language for block in blocks(ROOT / "README.md") if not block.reason} == {"python", "sql", "sh"}


def test_what_is_not_run_is_shell_for_a_cluster_a_file_of_settings_or_a_drawing() -> None:
    quoted = {"docs/producers.md", "docs/migrations.md", "docs/testing.md"}  # parts of programs that tests run
    assert {block.language for block in NOT_RUN if block.document not in quoted} <= {"sh", "toml", "yaml", "text"}


@pytest.mark.parametrize("block", [block for block in NOT_RUN if block.language == "sh"], ids=str)
def test_what_is_not_run_is_at_least_good_shell(block: Block) -> None:
    subprocess.run(["bash", "-n", "-c", block.text], check=True)


def test_a_failing_block_is_noticed(engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        run_shell(Block("nowhere", 1, "sh", "false\ntrue\n", ""), dict(os.environ), tmp_path)
    with pytest.raises(ProgrammingError):
        run_sql(Block("nowhere", 1, "sql", "select 1;\nselect * from nowhere;\n", ""), engine)
