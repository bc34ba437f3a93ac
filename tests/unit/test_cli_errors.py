"""What a failure looks like: a sentence, a hint, an exit code, nothing on stdout, and no traceback unless asked for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

import relay as package
from relay.cli import printing
from relay.cli.options import duration, time
from relay.cli.verbs import VERBS, relay

PROJECT = Path(__file__).parents[2]
UNREADABLE = "postgresql://u:s3cret@h:port/d"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    for name in [name for name in os.environ if name.startswith("RELAY_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return lambda *arguments, **env: CliRunner().invoke(relay, arguments, env=env)


def test_a_wrong_setting_is_one_line_each_and_exits_78(run: Callable[..., Result]) -> None:
    result = run("status", RELAY_BATCH_SIZE="99", RELAY_BACH_SIZE="1")
    assert result.exit_code == 78
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        "error: RELAY_BACH_SIZE: unknown setting; did you mean RELAY_BATCH_SIZE?",
        "error: RELAY_BATCH_SIZE: must be between 1 and 50, got 99",
        "hint: relay config shows every option, and where each is set.",
    ]


@pytest.mark.parametrize("verb", [["migrate"], ["status"], ["list"], ["show", "1"], ["add", "t", "{}"]])
def test_a_missing_database_url_says_what_to_set(run: Callable[..., Result], verb: list[str]) -> None:
    result = run(*verb)
    assert result.exit_code == 78
    assert result.stderr.splitlines() == [
        "error: No database is named.",
        "hint: Set RELAY_DATABASE_URL=postgresql://user@host/database",
    ]


def test_debug_adds_the_traceback_and_still_no_secret(run: Callable[..., Result]) -> None:
    result = run("--debug", "status", RELAY_DATABASE_URL=UNREADABLE)
    assert result.exit_code == 78
    assert "Traceback" in result.stderr
    assert "s3cret" not in result.output
    assert result.stderr.splitlines()[-2].startswith("error: RELAY_DATABASE_URL: The database URL must look like")
    assert "Traceback" not in run("status", RELAY_DATABASE_URL=UNREADABLE).stderr


def test_a_failure_nobody_foresaw_names_its_type_only(
    run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode(*_: object) -> None:
        raise ZeroDivisionError("contents of a message")

    monkeypatch.setattr("relay.settings.load_for", explode)
    result = run("status")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: Unexpected ZeroDivisionError\nhint: relay --debug")


def test_an_interrupt_exits_130(run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("relay.settings.load_for", interrupt)
    assert run("status").exit_code == 130


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["statsu"], "'status'"),
        (["list", "--limt", "3"], "--limit"),
        (["list", "--since", "soon"], "write 90s, 5m, 2h or 1d"),
        (["add", "t", "{}", "--available-at", "2026-11-11"], "write 2026-11-11T00:00:00+08:00"),
        (["show", "0"], "range"),
        (["show", str(2**63)], "range"),
    ],
)
def test_wrong_usage_exits_2_and_names_what_is_near(
    run: Callable[..., Result], arguments: list[str], expected: str
) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert expected in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(("missing", "verb"), [("click", "status"), ("pydantic", "status")])
def test_a_missing_dependency_is_one_sentence(missing: str, verb: str, tmp_path: Path) -> None:
    """None in sys.modules makes Python say that the module is not there."""
    program = f"import sys; sys.modules[{missing!r}] = None; from relay.cli import main; main()"
    result = _python(program, verb, cwd=tmp_path)
    assert result.returncode == 78
    assert result.stdout == ""
    assert result.stderr == f"error: {missing} is not installed\nhint: pip install 'outbox-relay[worker]'\n"


def test_a_reader_that_leaves_early_is_no_error(tmp_path: Path) -> None:
    program = "import os; r, w = os.pipe(); os.dup2(w, 1); os.close(r); from relay.cli import main; main()"
    result = _python(program, "version", cwd=tmp_path)
    assert result.stderr == ""
    assert result.returncode == 1


def test_every_verb_loads_and_begins_its_help_with_its_sentence(run: Callable[..., Result]) -> None:
    for verb, (_, sentence) in VERBS.items():
        result = run(verb, "--help")
        assert result.exit_code == 0, f"{verb}: {result.output}"
        assert sentence in " ".join(result.stdout.split()), verb


@pytest.mark.parametrize(
    ("verb", "said"),
    [
        ("prune", "Why; kept in the ledger.  [default: retention]"),
        ("archive", "Why; kept in the ledger. With --drop required, unless --dry-run; else 'retention' if left out."),
        ("pause", "Why; kept in the ledger. Required unless --dry-run."),
    ],
)
def test_the_help_says_where_a_reason_may_be_left_out(run: Callable[..., Result], verb: str, said: str) -> None:
    assert " ".join(said.split()) in " ".join(run(verb, "--help").stdout.split())


def test_version(run: Callable[..., Result]) -> None:
    assert run("version").stdout == run("--version").stdout == f"relay {package.__version__}\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90s", timedelta(seconds=90)), ("5m", timedelta(minutes=5)), ("2h", timedelta(hours=2)), ("1d", timedelta(1))],
)
def test_durations(text: str, expected: timedelta) -> None:
    assert duration(text) == expected


def test_moments_need_an_offset() -> None:
    assert time("2026-11-11T08:00:00+08:00") == datetime(2026, 11, 11, tzinfo=UTC)
    with pytest.raises(click.UsageError):
        time("2026-11-11T08:00:00")


def test_json_has_ids_as_strings_and_other_numbers_as_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    printing.print_json({"items": [{"id": 2**60, "call_id": None, "attempts": 3}], "next": 7, "topic": "订单"})
    text = capsys.readouterr().out
    assert json.loads(text) == {
        "items": [{"id": str(2**60), "call_id": None, "attempts": 3}],
        "next": "7",
        "topic": "订单",
    }
    assert "订单" in text


@pytest.mark.parametrize(("text", "columns"), [("abc", 3), ("订单", 4), ("ｱ", 1), ("e\u0301", 1), ("", 0)])
def test_width_on_a_terminal(text: str, columns: int) -> None:
    assert printing.width(text) == columns


def _python(program: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RELAY_")}
    environment["PYTHONPATH"] = str(PROJECT)
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
