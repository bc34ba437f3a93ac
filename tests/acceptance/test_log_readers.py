"""Whoever reads the log, or does not: deliveries, probes and SIGTERM do not wait for them."""

from __future__ import annotations

import fcntl
import os
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from tests.acceptance.outbox import Outbox, assert_reconciled, numbered
from tests.acceptance.patience import eventually
from tests.fixtures.strict_platform import StrictPlatform, answer_when_let_go

RUN = [sys.executable, "-m", "relay", "run"]
SMALL_CALLS = {"RELAY_BATCH_SIZE": "10", "RELAY_CONCURRENCY": "4"}  # a line a call


@contextmanager
def running(env: dict[str, str], command: list[str] = RUN, **streams: Any) -> Iterator[subprocess.Popen[bytes]]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("RELAY_")}
    with subprocess.Popen(command, env={**inherited, **env}, stdin=subprocess.DEVNULL, **streams) as worker:
        try:
            yield worker
        finally:
            worker.kill()


@pytest.fixture
def full_pipe() -> Iterator[int]:
    """The writing end of a pipe that is full already and is never read."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    os.write(writing, b"x" * fcntl.fcntl(writing, fcntl.F_GETPIPE_SZ))
    os.set_blocking(writing, True)
    yield writing
    os.close(reading)
    os.close(writing)


def test_a_log_that_nobody_reads_stops_nothing(
    outbox: Outbox, platform: StrictPlatform, env: dict[str, str], full_pipe: int, free_port: int
) -> None:
    def probes() -> list[int]:
        paths = ("/livez", "/readyz", "/metrics")
        return [httpx.get(f"http://127.0.0.1:{free_port}{path}", timeout=10).status_code for path in paths]

    outbox.insert(numbered(5000))
    platform.script.append(answer_when_let_go)
    env |= {"RELAY_METRICS_PORT": str(free_port), "RELAY_LOG_LEVEL": "debug", "RELAY_SHUTDOWN_GRACE_SECONDS": "5"}
    with running(env | {"RELAY_TMC_TIMEOUT_SECONDS": "20", "RELAY_LEASE_SECONDS": "30"}, stderr=full_pipe) as worker:
        eventually(lambda: platform.waiting)
        assert probes() == [200, 200, 200]  # with a call under way
        platform.let_go.set()
        eventually(outbox.finished)
        assert probes() == [200, 200, 200]
        assert select.select([], [full_pipe], [], 0) == ([], [], []), "somebody has read from the pipe"
        worker.terminate()
        assert worker.wait(15) == 0
    assert outbox.statuses() == {"done": 5000}
    assert_reconciled(outbox, platform)


@pytest.mark.parametrize("trouble", ["the reader is gone", "the disk is full", "closed at the start"])
def test_a_log_that_cannot_be_written_stops_nothing(
    outbox: Outbox, platform: StrictPlatform, env: dict[str, str], trouble: str
) -> None:
    outbox.insert(numbered(100))
    env |= SMALL_CALLS
    command = [*RUN, "--drain"]
    if trouble == "closed at the start":
        # Nothing of ours may get the number of standard error: what a library writes there would go to PostgreSQL.
        with running(env, ["sh", "-c", 'exec "$@" 2>&-', "sh", *command]) as worker:
            assert worker.wait(30) == 0
    elif trouble == "the disk is full":
        with open("/dev/full", "wb") as full, running(env, command, stderr=full) as worker:
            assert worker.wait(30) == 0
    else:
        reading, writing = os.pipe()
        os.close(reading)
        with running(env, command, stderr=writing) as worker:
            assert worker.wait(30) == 0
        os.close(writing)
    assert outbox.statuses() == {"done": 100}
    assert_reconciled(outbox, platform)


def test_an_error_reaches_whoever_reads_late(env: dict[str, str]) -> None:
    """The last words are written before the process ends."""
    with running({**env, "RELAY_TMC_URL": "nonsense"}, stderr=subprocess.PIPE) as worker:
        assert worker.wait(30) == 78
        assert worker.stderr is not None
        assert worker.stderr.read().startswith(b"error: RELAY_TMC_URL: ")
