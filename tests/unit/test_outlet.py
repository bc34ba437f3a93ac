"""Standard error makes nobody wait: whatever its reader does, writing returns, and what is lost is counted."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from typing import Any

import pytest

from relay import events
from relay.observers.logs import LogLines
from relay.observers.outlet import Outlet
from tests.fixtures.waiting import eventually

LINE = "x" * 99 + "\n"


class Pipe:
    """Both ends, and all that was read so far. Its buffer is as small as the system allows."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()
        fcntl.fcntl(self.writing, fcntl.F_SETPIPE_SZ, 4096)
        os.set_blocking(self.reading, False)
        self.read = ""
        self.outlet = Outlet(self.writing, max_characters=10_000)

    def lines(self) -> list[str]:
        """What has come until now."""
        try:
            while came := os.read(self.reading, 65536):
                self.read += came.decode()
        except BlockingIOError:
            pass
        return self.read.splitlines()

    def close(self) -> None:
        eventually(lambda: self.lines() is not None and self.outlet.drain(0))
        self.outlet.close()
        os.close(self.reading)
        os.close(self.writing)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    yield made
    made.close()


def test_lines_come_whole_and_in_order(pipe: Pipe) -> None:
    wanted = [f"line {number} 退款" for number in range(500)]
    for line in wanted:
        pipe.outlet.write(line + "\n")
    eventually(lambda: pipe.lines() == wanted)
    assert pipe.outlet.drain(5)


def test_a_reader_that_does_not_read_loses_lines_and_is_told_how_many(pipe: Pipe) -> None:
    outlet = pipe.outlet
    for _ in range(1000):
        outlet.write(LINE)
    assert not outlet.drain(0.01)

    def told() -> str | None:
        return next((line for line in pipe.lines() if line.startswith("warning")), None)

    lost = int(str(eventually(told)).split()[1])
    assert told() == f"warning: {lost} lines were lost because of this: nobody reads"
    assert lost == 1000 - pipe.lines().count(LINE.strip())
    assert lost > 800
    outlet.write("after\n")
    eventually(lambda: pipe.lines()[-1] == "after")


def test_the_line_that_tells_of_a_loss_is_one_of_the_log(pipe: Pipe) -> None:
    log = LogLines(worker="w", level="error", stream=pipe.outlet)
    for number in range(1000):
        log(events.ProducerFailed(number, "raised ValueError"))

    def adds_up() -> list[dict[str, Any]]:
        pipe.lines()
        whole, _, _ = pipe.read.rpartition("\n")
        rows = [json.loads(line) for line in whole.splitlines()]
        lost = [row for row in rows if row["event"] == "log.lost"]
        return lost if len(rows) - len(lost) + sum(row["lines"] for row in lost) == 1000 else []

    row = eventually(adds_up)[0]
    assert (row["level"], row["worker"], row["reason"]) == ("warning", "w", "nobody reads")


def test_a_reader_that_is_gone_costs_nothing(pipe: Pipe) -> None:
    outlet = pipe.outlet
    os.close(pipe.reading)
    for _ in range(100):
        outlet.write(LINE)
    assert outlet.drain(5)
    assert outlet.write(LINE) == len(LINE)
    pipe.reading = os.open(os.devnull, os.O_RDONLY)  # for the fixture to close


def test_a_full_disk_is_tried_again(pipe: Pipe) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    outlet = Outlet(full)
    outlet.write(LINE)
    eventually(lambda: outlet.drain(0))
    os.dup2(pipe.writing, full)  # somebody has tidied up
    outlet.write("after\n")
    wanted = ["warning: 1 line was lost because of this: No space left on device", "after"]
    eventually(lambda: pipe.lines() == wanted)
    outlet.close()
    os.close(full)


def test_a_descriptor_that_somebody_made_non_blocking_loses_nothing(pipe: Pipe) -> None:
    os.set_blocking(pipe.writing, False)
    outlet = pipe.outlet
    for _ in range(80):
        outlet.write(LINE)
    eventually(lambda: len(pipe.lines()) == 80)
    assert outlet.drain(5)


def test_click_takes_it_for_text(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    import click

    monkeypatch.setattr("sys.stderr", pipe.outlet)
    click.echo("warning: 退款", err=True)
    eventually(lambda: pipe.lines() == ["warning: 退款"])
