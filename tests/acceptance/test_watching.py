"""``relay status --watch``: a block a round, drawn anew on a terminal, through a lost server, until Ctrl-C."""

from __future__ import annotations

import os
import pty
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

from sqlalchemy import make_url

from tests.fixtures.processes import RELAY, StartRelay, inherited
from tests.fixtures.proxy import proxied, way_to
from tests.fixtures.waiting import eventually

DRAWN = b"\x1b[H\x1b[J"
EVERY = ("status", "--watch", "0.1")


def test_a_block_a_round_and_a_lost_server_is_a_sentence(database_url: str, start_relay: StartRelay) -> None:
    url, away = make_url(database_url), threading.Event()

    def connect() -> socket.socket:
        if away.is_set():
            raise ConnectionRefusedError
        return way_to(url)

    with proxied(connect) as proxy:
        through = url.set(host="127.0.0.1", port=proxy.port, query={}).render_as_string(hide_password=False)
        watching = start_relay(*EVERY, env={"RELAY_DATABASE_URL": through})

        def blocks() -> int:
            return sum(line.startswith("pending ") for line in list(watching.stdout))

        eventually(lambda: blocks() >= 2)
        assert watching.stdout[0].endswith(" UTC, every 0.1 s")
        away.set()
        proxy.cut()
        watching.wait_for_line(r"; asking again in 0\.1 s$")
        before = blocks()
        away.clear()
        eventually(lambda: blocks() > before + 1)
        watching.send_signal(signal.SIGINT)
        assert watching.wait() == 0, watching.report()
    assert not [line for line in watching.stderr if not line.endswith("; asking again in 0.1 s")]


def test_documents_one_after_another(database_url: str, start_relay: StartRelay) -> None:
    watching = start_relay(*EVERY, "--json", env={"RELAY_DATABASE_URL": database_url})
    eventually(lambda: watching.stdout.count("}") >= 2)
    watching.send_signal(signal.SIGINT)
    assert watching.wait() == 0, watching.report()
    assert watching.stderr == []
    assert watching.stdout[0] == "{"


def test_a_terminal_is_drawn_anew(database_url: str, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    environment = {**inherited(), "RELAY_DATABASE_URL": database_url, "TERM": "xterm"}
    command = [sys.executable, "-c", RELAY, *EVERY]
    with subprocess.Popen(
        command, env=environment, cwd=tmp_path, stdout=theirs, stdin=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        seen = b""
        while seen.count(DRAWN) < 3:
            seen += os.read(ours, 65536)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    os.close(ours)
    first, second, third, *_ = seen.split(DRAWN)
    assert first == b""
    assert second.count(b"pending ") == 1
    assert b" UTC, every 0.1 s\r\n" in second
    assert third


def test_what_is_wrong_from_the_start_ends_it(start_relay: StartRelay) -> None:
    watching = start_relay(*EVERY, env={"RELAY_DATABASE_URL": "postgresql://127.0.0.1:1/nothing"})
    assert watching.wait() == 69
    both = start_relay(*EVERY, "--fail-if-older", "5m", env={"RELAY_DATABASE_URL": "postgresql://127.0.0.1:1/nothing"})
    assert both.wait() == 2
