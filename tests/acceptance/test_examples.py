"""The programs in ``examples/``, each run as its reader would: a real process, PostgreSQL, and the sandbox."""

from __future__ import annotations

import ast
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.outbox import Outbox, numbered
from tests.acceptance.patience import eventually
from tests.fixtures.processes import StartRelay

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "examples" / "worker_in_asyncio.py"
EXPORTED = ("URL", "APP_KEY", "APP_SECRET", "SESSION")
MOST_LINES = 15


@pytest.fixture
def application(outbox: Outbox, start_relay: StartRelay) -> Iterator[subprocess.Popen[str]]:
    sandbox = start_relay("sandbox", "--port", "0")
    exports = [sandbox.wait_for_line(rf"export (RELAY_TMC_{name})=(.+)", "stdout") for name in EXPORTED]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("RELAY_")}
    with socket.create_server(("127.0.0.1", 0)) as taken:  # the worker has something to warn of, and nobody to tell
        settings = {
            "RELAY_DATABASE_URL": outbox.url,
            "RELAY_METRICS_HOST": "127.0.0.1",
            "RELAY_METRICS_PORT": str(taken.getsockname()[1]),
            "PYTHONPATH": str(ROOT),
        }
        with subprocess.Popen(
            [sys.executable, str(PROGRAM)],
            env=inherited | settings | {match[1]: match[2] for match in exports},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            yield process
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_application_runs_a_worker_and_stops_it_with_itself(
    application: subprocess.Popen[str], outbox: Outbox, number: signal.Signals
) -> None:
    assert application.stdout is not None
    assert application.stdout.readline() == "at work\n"
    outbox.insert(numbered(60))
    eventually(lambda: outbox.statuses() == {"done": 60})
    application.send_signal(number)
    said, complained = application.communicate(timeout=20)
    assert (application.returncode, said, complained) == (0, "", "")
    assert outbox.scalar("select count(*) from relay.call where settled_at is null") == 0


def test_it_is_a_program_of_a_few_lines() -> None:
    text = PROGRAM.read_text()
    (words, *code) = ast.parse(text).body
    assert isinstance(words, ast.Expr)
    lines = [line for line in text.splitlines()[code[0].lineno - 1 :] if line.strip() and not line.startswith("#")]
    assert len(lines) <= MOST_LINES
