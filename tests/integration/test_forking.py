"""A process that was forked is like one that was executed: to the test that signals it, and to the program in it."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.forking import ForkServer
from tests.fixtures.processes import PROJECT, RelayProcess, StartRelay, inherited
from tests.fixtures.waiting import eventually

# What a program finds at its start, as far as it is the same for any two.
LOOK = """
import gc, json, locale, os, resource, signal, sys, threading, time
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
descriptors = {number: os.stat(int(number)).st_mode for number in os.listdir("/proc/self/fd") if int(number) < 3}
with os.scandir("/proc/self/fd") as listing:
    open_ones = sum(1 for _ in listing) - 1  # without the one that lists
print(json.dumps({
    "arguments": sys.argv, "folder": os.getcwd(), "path": sys.path, "flags": list(sys.flags), "zone": time.tzname,
    "environment": dict(os.environ), "tracer": str(sys.gettrace()),
    "group": os.getpgrp(), "session": os.getsid(0), "umask": status["Umask"],
    "blocked": status["SigBlk"], "ignored": status["SigIgn"], "caught": status["SigCgt"], "threads": status["Threads"],
    "interrupt": str(signal.getsignal(signal.SIGINT)), "nice": os.nice(0), "locale": locale.getlocale(),
    "limits": [resource.getrlimit(getattr(resource, name)) for name in dir(resource) if name.startswith("RLIMIT_")],
    "descriptors": descriptors, "open": open_ones, "main": __name__, "collector": gc.isenabled(),
    "named": [thread.name for thread in threading.enumerate()],
    "streams": [
        [s.encoding, s.errors, s.newlines, s.line_buffering, s.write_through, s.mode, type(s.buffer).__name__]
        for s in (sys.stdin, sys.stdout, sys.stderr)
    ],
}))
"""
WAIT = "print('here', flush=True); import time; time.sleep(60)"


def looked(process: RelayProcess) -> dict[str, Any]:
    assert process.wait() == 0, process.report()
    found: dict[str, Any] = json.loads(process.stdout[-1])
    return found


def was_forked(process: RelayProcess) -> bool:
    """Who was executed is a child of the tests themselves."""
    process.wait_for_line("here", "stdout")
    return _status(process.pid)[1] != str(os.getpid())


def _status(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


@pytest.fixture(params=["heard", "ignored"])
def signals(request: pytest.FixtureRequest) -> Iterator[None]:
    """Whether what we start inherits that Ctrl-C and the end of a terminal are ignored, as under nohup."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGHUP)}
    for number in before:
        signal.signal(number, signal.SIG_IGN if request.param == "ignored" else signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("signals")
def test_it_finds_what_an_executed_one_finds(
    start_relay: StartRelay, execute_relay: StartRelay, tmp_path: Path
) -> None:
    start_relay(program=WAIT)  # another child of the server, of which it gets nothing either
    environment = {"RELAY_X": "\u20ac \udcff\n", "TZ": "America/New_York"}
    with socket.create_server(("127.0.0.1", 0)), open(os.devnull):  # the test's own, of which it gets nothing
        forked, executed = (
            start("a", "b c", env=environment, cwd=tmp_path, program=LOOK) for start in (start_relay, execute_relay)
        )
    found = looked(forked)
    assert found == looked(executed)
    assert (found["arguments"], found["open"], found["zone"]) == (["-c", "a", "b c"], 3, ["EST", "EDT"])


@pytest.mark.parametrize(
    ("program", "code", "said"),
    [
        ("import sys; sys.exit(78)", 78, ""),
        ("import sys; sys.exit('no')", 1, "no"),
        ("1 / 0", 1, "ZeroDivisionError: division by zero"),
        ("import os; os._exit(7)", 7, ""),
        ("import os; os.abort()", -signal.SIGABRT, ""),
        ("import atexit, sys; atexit.register(print, 'end', file=sys.stderr)", 0, "end"),
    ],
)
def test_it_ends_as_an_executed_one_does(start_relay: StartRelay, program: str, code: int, said: str) -> None:
    ended = start_relay(program=program)
    assert ended.wait() == code
    assert "\n".join(ended.stderr[-1:]) == said


def test_it_hears_signals_and_is_reaped_by_who_waits(start_relay: StartRelay) -> None:
    stopped, interrupted, terminated, killed = processes = [start_relay(program=WAIT) for _ in range(4)]
    assert all(map(was_forked, processes))
    stopped.send_signal(signal.SIGSTOP)
    eventually(lambda: _status(stopped.pid)[0] == "T")
    assert stopped.returncode is None
    os.kill(killed.pid, signal.SIGKILL)
    eventually(lambda: _status(killed.pid)[0] == "Z")  # nobody else gets its pid as long as nobody has asked
    interrupted.wait_for_line("here", "stdout")  # until then nobody has told it what to do with this one
    interrupted.send_signal(signal.SIGINT)
    terminated.terminate()
    stopped.kill()
    ends = [process.wait() for process in processes]
    assert ends == [-number for number in (signal.SIGKILL, signal.SIGINT, signal.SIGTERM, signal.SIGKILL)]
    assert not [process.pid for process in processes if Path(f"/proc/{process.pid}").exists()]


def test_what_python_reads_at_its_start_takes_a_new_interpreter(start_relay: StartRelay, tmp_path: Path) -> None:
    assert was_forked(start_relay(program=WAIT, env={"RELAY_SCHEMA": "x", "PGOPTIONS": "", "no_proxy": "*"}))
    for name, value in {"PYTHONPATH": str(tmp_path), "LC_ALL": "C", "PYTHONDEVMODE": "1", "SSL_CERT_FILE": "x"}.items():
        assert not was_forked(start_relay(program=WAIT, env={name: value})), name


def test_children_end_with_whoever_wanted_them() -> None:
    streams: tuple[int, int, int]
    with open(os.devnull, "r+") as nothing:
        streams = (nothing.fileno(),) * 3
        server = ForkServer(inherited(), PROJECT)
        child = server.start(WAIT, (), inherited(), PROJECT, streams)
        pid = child.pid
        server.close()
    assert not Path(f"/proc/{pid}").exists()
    child.close()
