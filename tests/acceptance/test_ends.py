"""Every run ends: soon after its grace whatever hangs, and after bounded patience where nothing can be written."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import make_url

from tests.acceptance.outbox import Outbox, numbered
from tests.acceptance.patience import eventually
from tests.fixtures.processes import StartRelay
from tests.fixtures.proxy import proxied, way_to
from tests.fixtures.strict_platform import StrictPlatform, answer_when_let_go

# Imported by a child process before anything else: the name server of *.hangs takes a minute.
HANGING_NAMES = """
import socket, sys, time
ask = socket.getaddrinfo
def getaddrinfo(host, *args, **kwargs):
    if str(host).endswith(".hangs"):
        print("looked up", file=sys.__stderr__, flush=True)
        time.sleep(60)
    return ask(host, *args, **kwargs)
socket.getaddrinfo = getaddrinfo
"""
# In C, as the system's own look-up: other threads go on, and no signal ends it or has its handler run there.
HANGING_IN_C = HANGING_NAMES.replace(
    "time.sleep(60)",
    "import ctypes, signal; signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM}); ctypes.CDLL(None).sleep(60)",
)
QUICK = {"RELAY_SHUTDOWN_GRACE_SECONDS": "0.5", "RELAY_TMC_TIMEOUT_SECONDS": "30", "RELAY_LEASE_SECONDS": "60"}
A_FEW_SECONDS = 15  # on a busy machine; what hangs takes a minute


def hanging_names(folder: Path, code: str = HANGING_NAMES) -> dict[str, str]:
    (folder / "sitecustomize.py").write_text(code)
    return {"PYTHONPATH": os.pathsep.join([str(folder), str(Path(__file__).parents[2])])}


def test_a_name_that_is_looked_up_holds_up_no_end_and_nothing_is_unknown(
    outbox: Outbox, env: dict[str, str], start_relay: StartRelay, tmp_path: Path
) -> None:
    outbox.insert(numbered(3))
    url = {"RELAY_TMC_URL": "https://gateway.hangs/router/rest"}
    worker = start_relay("run", env={**env, **QUICK, **hanging_names(tmp_path), **url})
    worker.wait_for_line("looked up")
    worker.terminate()
    assert worker.wait(A_FEW_SECONDS) == 0
    assert outbox.select("select distinct outcome from relay.call") == [("released",)]
    assert outbox.scalar("select max(attempts) from relay.outbox") == 0


def test_sigterm_ends_a_start_that_looks_up_a_name(
    env: dict[str, str], start_relay: StartRelay, tmp_path: Path
) -> None:
    url = {"RELAY_DATABASE_URL": "postgresql://u@db.hangs/d"}
    worker = start_relay("run", env={**env, **QUICK, **hanging_names(tmp_path, HANGING_IN_C), **url})
    worker.wait_for_line("looked up")
    worker.terminate()
    assert worker.wait(A_FEW_SECONDS) == 0


def test_a_check_of_a_platform_whose_name_is_not_found_ends(
    env: dict[str, str], start_relay: StartRelay, tmp_path: Path
) -> None:
    platform = {"RELAY_TMC_URL": "https://gateway.hangs/router/rest", "RELAY_TMC_TIMEOUT_SECONDS": "0.6"}
    check = start_relay("check", env={**env, **hanging_names(tmp_path), **platform})
    assert check.wait(A_FEW_SECONDS) == 1
    check.wait_for_line(r"^fail  platform .*relay\.unreachable", "stdout")


def test_lines_into_a_pipe_that_nobody_reads_hold_up_no_end(outbox: Outbox, env: dict[str, str]) -> None:
    outbox.insert([f'{{"n": {number}, "text": "{"x" * 2000}"}}' for number in range(300)])
    command = [sys.executable, "-m", "relay", "run", "--producer", "stdout"]
    with subprocess.Popen(command, env={**os.environ, **env, **QUICK}, stdout=subprocess.PIPE) as worker:
        eventually(outbox.open_calls)
        worker.terminate()
        assert worker.wait(A_FEW_SECONDS) == 0
    unknown = sum(outbox.attempts("unknown").values())
    assert 0 < unknown <= 50  # the one batch that stuck in the pipe; the others were never begun


def test_a_database_that_stalls_holds_up_no_end(
    outbox: Outbox, platform: StrictPlatform, env: dict[str, str], start_relay: StartRelay
) -> None:
    """What the platform said in the grace cannot be written any more; the lease tells others."""
    outbox.insert(numbered(10))
    platform.script.append(answer_when_let_go)
    with proxied(lambda: way_to(make_url(outbox.url))) as proxy:
        url = make_url(outbox.url).difference_update_query(["host", "port"]).set(host="127.0.0.1", port=proxy.port)
        stalling = {"RELAY_DATABASE_URL": url.render_as_string(hide_password=False)}
        worker = start_relay("run", env={**env, **QUICK, **stalling})
        eventually(lambda: platform.waiting)
        proxy.stall()
        platform.let_go.set()
        worker.terminate()
        assert worker.wait(A_FEW_SECONDS) == 0
    assert outbox.open_calls() == 1


@pytest.fixture
def hangup() -> Iterator[Callable[[signal.Handlers], None]]:
    """What a process that we start inherits for SIGHUP, also where we run under nohup and ignore it ourselves."""
    before = signal.getsignal(signal.SIGHUP)

    def inherited(handler: signal.Handlers) -> None:
        signal.signal(signal.SIGHUP, handler)

    yield inherited
    signal.signal(signal.SIGHUP, before)


def test_a_terminal_that_goes_away_is_a_request_to_stop(
    env: dict[str, str], start_relay: StartRelay, hangup: Callable[[signal.Handlers], None]
) -> None:
    hangup(signal.SIG_DFL)
    worker = start_relay("run", env=env)
    worker.wait_for_line("worker.started")
    worker.send_signal(signal.SIGHUP)
    assert worker.wait(A_FEW_SECONDS) == 0
    worker.wait_for_line("worker.stopped")


def test_a_worker_under_nohup_outlives_its_terminal(
    outbox: Outbox, env: dict[str, str], start_relay: StartRelay, hangup: Callable[[signal.Handlers], None]
) -> None:
    hangup(signal.SIG_IGN)
    worker = start_relay("run", env=env)
    worker.wait_for_line("worker.started")
    worker.send_signal(signal.SIGHUP)
    outbox.insert(numbered(1))
    eventually(outbox.finished)
    worker.terminate()
    assert worker.wait(A_FEW_SECONDS) == 0


def test_a_run_that_is_to_end_does_not_wait_for_ever_for_a_database_that_takes_no_writes(
    outbox: Outbox, env: dict[str, str], start_relay: StartRelay
) -> None:
    """A fail-over passes; a standby does not become a primary by waiting."""
    outbox.insert(numbered(1))
    name = outbox.scalar("select current_database()")
    outbox.execute(f"alter database {name} set default_transaction_read_only = on")
    short = {**env, "RELAY_TMC_TIMEOUT_SECONDS": "0.2", "RELAY_LEASE_SECONDS": "1.2"}
    for worker in [start_relay("run", flag, env=short) for flag in ("--drain", "--once")]:
        assert worker.wait(30) == 69
        worker.wait_for_line(r"^error: Nothing could be written for \d+ s \(RELAY_LEASE_SECONDS\): ")
