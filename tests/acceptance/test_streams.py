"""Standard streams that are closed, full or gone: what cannot be printed is told in one sentence, once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

RELAY = [sys.executable, "-m", "relay"]
PROJECT = Path(__file__).parents[2]


def shell(redirected: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command with its streams as a shell would give them; buffered, as they are for users."""
    command = ["sh", "-c", f'"$@" {redirected}', "sh", *RELAY, *arguments]
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
    return subprocess.run(
        command, cwd=PROJECT, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("redirected", "reason", "said"),
    [
        ("> /dev/full", "No space left on device", ["--help"]),
        (">&-", "Bad file descriptor", ["explain", "isv.invalid-parameter"]),
    ],
)
def test_what_cannot_be_printed_is_an_error(redirected: str, reason: str, said: list[str]) -> None:
    ended = shell(redirected, *said)
    assert ended.returncode == 1
    assert ended.stderr.splitlines() == [
        f"error: Cannot write to standard output: {reason}",
        "hint: What a command changes is changed before it prints: look before you repeat it.",
    ]


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    ended = shell("| head -n 1", "roles", "--sql")
    assert (ended.returncode, len(ended.stdout.splitlines()), ended.stderr) == (0, 1, "")


@pytest.mark.parametrize("redirected", ["2>&-", "2> /dev/full"])
def test_data_comes_also_without_standard_error(redirected: str) -> None:
    ended = shell(redirected, "version")
    assert (ended.returncode, ended.stdout.startswith("relay ")) == (0, True)


def test_a_closed_standard_input_is_an_empty_one() -> None:
    ended = shell("<&-", "add", "topic")
    assert ended.returncode == 78
    assert ended.stderr.startswith("error: No database is named.")
