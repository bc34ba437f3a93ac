"""What is shipped in ``deploy/``, as far as tests of several kinds ask the same of it: variables, commands, ports."""

from __future__ import annotations

import pkgutil
import shutil
from collections.abc import Iterable
from pathlib import Path

import click
import pytest

from relay.cli.verbs import VERBS
from relay.settings import SECRETS, Settings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
GRACE_SECONDS = Settings.model_fields["shutdown_grace_seconds"].default
SETTLING_SECONDS = 10  # after the grace the outcomes are written; docs/scaling.md: "some seconds more"
METRICS_PORT = Settings.model_fields["metrics_port"].default
DASHBOARD_PORT = 9465

assert DEPLOY.is_dir()


def unknown(variables: Iterable[str]) -> set[str]:
    """Those that begin with RELAY_ and are no setting of the relay's, nor the file of one."""
    settings = {str(field.validation_alias) for field in Settings.model_fields.values()}
    files = {f"RELAY_{name.upper()}_FILE" for name in SECRETS}
    return {name for name in variables if name.startswith("RELAY_")} - settings - files


def assert_runs(arguments: list[str]) -> None:
    """That ``relay`` has this verb, and takes these options; nothing is done."""
    verb, *rest = arguments
    command = pkgutil.resolve_name(VERBS[verb][0])
    assert isinstance(command, click.Command)
    command.make_context(verb, rest)


def promtool() -> str:
    """The program, wherever it is; without it the test is skipped."""
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool is not on this machine; Debian has it in its package prometheus, .ci/run takes it out")
    return found
