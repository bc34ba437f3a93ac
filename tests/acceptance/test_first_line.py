"""The first line of ``relay run`` says what it works with; whatever is warned of comes in the form of the log."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

from sqlalchemy import make_url

import relay
from tests.fixtures.processes import RELAY, StartRelay, inherited

# A library below the worker that warns while it runs.
WARNING = (
    """
import warnings
from relay.worker.cycle import Worker

run = Worker.run

def warned(self, *arguments):
    warnings.warn("old and swordfish", RuntimeWarning)
    return run(self, *arguments)

Worker.run = warned
"""
    + RELAY
)


def test_it_names_version_database_schema_producer_platform_and_ports(
    database_url: str, start_relay: StartRelay, free_port: int
) -> None:
    worker = start_relay(
        *("run", "--drain"),
        env={
            "RELAY_DATABASE_URL": database_url,
            "RELAY_TMC_URL": "https://someone:secret@gw.example.com/router/rest?token=secret",
            "RELAY_TMC_APP_KEY": "12345678",
            "RELAY_TMC_APP_SECRET": "secret",
            "RELAY_METRICS_HOST": "127.0.0.1",
            "RELAY_METRICS_PORT": str(free_port),
        },
        program=WARNING,
    )
    assert worker.wait() == 0, worker.report()
    lines = [json.loads(line) for line in worker.stderr]
    started, warned = (next(line for line in lines if line["event"] == name) for name in ("worker.started", "warning"))
    assert started["level"] == "info"
    assert (started["version"], started["schema"], started["producer"]) == (relay.__version__, "relay", "tmc")
    assert (started["concurrency"], started["metrics"]) == (8, f"127.0.0.1:{free_port}")
    assert started["platform"] == "https://gw.example.com/router/rest"
    assert str(make_url(database_url).database) in started["database"]
    assert re.fullmatch(r"1[5-9]\.\d+", started["postgresql"])
    assert "secret" not in worker.report()
    assert warned["reason"].startswith("RuntimeWarning: old and swordfish (<string>, line ")
    assert (warned["level"], warned["worker"]) == ("warning", started["worker"])


def test_what_is_warned_of_before_comes_below_it_or_before_the_error(
    database_url: str, start_relay: StartRelay
) -> None:
    env = {"RELAY_DATABASE_URL": database_url, "RELAY_PRODUCER": "stdout", "RELAY_METRICS_PORT": "tcp://10.0.0.1:9464"}
    worker = start_relay("run", "--drain", env=env)
    assert worker.wait() == 0, worker.report()
    started, warned = map(json.loads, worker.stderr[:2])
    assert (started["event"], warned["event"]) == ("worker.started", "warning")
    assert warned["reason"].startswith("RELAY_METRICS_PORT comes from a Kubernetes service")

    env["RELAY_DATABASE_URL"] = "postgresql://127.0.0.1:9/shop"
    unopened = start_relay("run", "--drain", env=env)
    assert unopened.wait() == 69, unopened.report()
    assert json.loads(unopened.stderr[0])["reason"] == warned["reason"]
    assert unopened.stderr[1].startswith("error: ")


def test_on_a_terminal_each_line_fits_and_reads_like_a_sentence(database_url: str, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    environment = {**inherited(), "RELAY_DATABASE_URL": database_url, "RELAY_PRODUCER": "stdout", "NO_COLOR": "1"}
    command = [sys.executable, "-c", RELAY, "run", "--drain"]
    with subprocess.Popen(command, env=environment, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=theirs) as process:
        os.close(theirs)
        seen = b""
        try:
            while data := os.read(ours, 65536):
                seen += data
        except OSError:  # as a terminal says that nobody writes any more
            pass
        assert process.wait(20) == 0, seen
    os.close(ours)
    lines = seen.decode().split("\r\n")
    assert re.match(
        rf"\S+ \S+ info    worker \S+ started, relay {re.escape(relay.__version__)}, producer stdout, ", lines[0]
    )
    assert "PostgreSQL 1" in " ".join(seen.decode().split())
    assert lines[-2].endswith("info    stopped after 0 calls: 0 done, 0 failed")
    assert max(map(len, lines)) <= 120
