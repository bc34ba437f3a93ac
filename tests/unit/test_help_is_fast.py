"""``relay --help`` answers at once: it imports click and nothing that is slow to load, whatever the machine's mood."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {
    "aiohttp", "alembic", "asyncio", "httpx", "prometheus_client", "psycopg", "pydantic",
    "sqlalchemy", "starlette", "structlog", "uvicorn"
}  # fmt: skip
PROGRAM = """
import sys
from relay.cli import main
try:
    main()
finally:
    sys.stderr.write(" ".join(sys.modules))
"""


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["version"], ["list", "--help"], ["statsu"]])
def test_nothing_heavy_is_imported(arguments: list[str]) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", PROGRAM, *arguments]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    loaded = set(result.stderr.split())
    assert "relay.cli.verbs" in loaded, result.stderr
    assert not loaded & HEAVY
    if arguments == ["--help"]:
        assert "relay.showing" not in loaded, "its patterns take a quarter of the time"
