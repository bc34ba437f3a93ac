"""``relay sandbox`` as a process: it tells how to reach it, keeps secrets to itself, and ends in peace."""

from __future__ import annotations

import json
import signal
from urllib.request import urlopen

import pytest

from tests.fixtures.processes import StartRelay


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_told_to_stop(start_relay: StartRelay, number: signal.Signals) -> None:
    process = start_relay("sandbox", "--port", "0")
    url = process.wait_for_line(r"^export RELAY_TMC_URL=(http://127\.0\.0\.1:\d+)/router/rest$", "stdout")[1]
    process.wait_for_line(r"Ctrl-C ends it")
    with urlopen(f"{url}/messages") as answer:
        assert json.load(answer) == []
    process.send_signal(number)
    assert process.wait() == 0
    exported = [line.partition("=")[0] for line in process.stdout]  # data, and nothing else
    names = ["URL", "APP_KEY", "APP_SECRET", "SESSION"]
    assert exported == [f"export RELAY_TMC_{name}" for name in names]
    assert not any(line.startswith("export ") for line in process.stderr)


def test_credentials_of_the_settings_are_not_repeated(start_relay: StartRelay) -> None:
    credentials = {"RELAY_TMC_APP_KEY": "77", "RELAY_TMC_APP_SECRET": "s3cret", "RELAY_TMC_SESSION": "s3ssion"}
    process = start_relay("sandbox", "--port", "0", env=credentials)
    process.wait_for_line(r"Ctrl-C ends it")
    process.terminate()
    assert process.wait() == 0
    assert not any("s3" in line or "_APP_" in line for line in [*process.stdout, *process.stderr])


def test_a_secret_whose_file_is_not_there_is_a_known_one(start_relay: StartRelay) -> None:
    env = {"RELAY_TMC_APP_KEY": "77", "RELAY_TMC_APP_SECRET_FILE": "/nowhere", "RELAY_TMC_SESSION": "s3ssion"}
    process = start_relay("sandbox", "--port", "0", env=env)
    process.wait_for_line(r"Ctrl-C ends it")
    process.terminate()
    assert process.wait() == 0
    assert [line.partition("=")[0] for line in process.stdout] == [
        "export RELAY_TMC_URL",
        "export RELAY_TMC_APP_SECRET",
    ]


def test_an_unknown_fault_is_refused(start_relay: StartRelay) -> None:
    process = start_relay("sandbox", "--port", "0", "--fault", "cut-afetr@3%")
    assert process.wait() == 78
    assert process.stderr[0] == "error: There is no fault 'cut-afetr'."
    assert "'cut-after'" in process.stderr[1]
