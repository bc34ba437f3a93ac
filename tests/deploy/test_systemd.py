"""deploy/systemd: the units are as systemd wants them, and what they start is a worker that systemd can end."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import defaultdict
from pathlib import Path

import httpx
import pytest

from tests.deploy.shipped import DEPLOY, GRACE_SECONDS, SETTLING_SECONDS, assert_runs, unknown
from tests.fixtures.processes import StartRelay

UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
WORKER = DEPLOY / "systemd" / "relay@.service"
VARIABLES = DEPLOY / "systemd" / "relay.env"
INSTALLED = "/opt/relay/bin/relay"
EXPOSED_AT_MOST = 15  # tenths; 14 are reached, an ordinary service has 96

analyzes = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not on this machine")
every_unit = pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)


def service(unit: Path) -> dict[str, list[str]]:
    """The section [Service]: each key with its values."""
    found: dict[str, list[str]] = defaultdict(list)
    for line in unit.read_text().partition("\n[Service]\n")[2].partition("\n[")[0].splitlines():
        if line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found[key].append(value)
    return found


def environment(unit: Path, secrets: Path, instance: str = "") -> dict[str, str]:
    """As systemd makes it: the file's variables, and those of the unit with its specifiers."""
    written = [*VARIABLES.read_text().splitlines(), *service(unit)["Environment"]]
    pairs = (line.split("=", 1) for line in written if re.match(r"[A-Z]", line))
    return {name: value.replace("%d", str(secrets)).replace("%i", instance) for name, value in pairs}


def versions() -> int:
    said = subprocess.run(["systemd-analyze", "--version"], capture_output=True, text=True, check=True).stdout
    return int(said.split()[1])


@analyzes
def test_systemd_finds_no_fault(tmp_path: Path) -> None:
    program = tmp_path / "relay"
    program.touch(mode=0o755)
    for unit in UNITS:  # the program is not installed here, and that alone would be said
        (tmp_path / unit.name).write_text(unit.read_text().replace(INSTALLED, str(program)))
    units = [str(tmp_path / unit.name) for unit in UNITS]
    said = subprocess.run(["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True)
    assert (said.returncode, said.stderr) == (0, "")


@analyzes
@every_unit
def test_little_is_left_to_who_breaks_in(unit: Path) -> None:
    if versions() < 250:
        pytest.skip("systemd-analyze is older than 250 and does not look at a file")
    asked = ["systemd-analyze", "security", "--offline=true", "--no-pager", f"--threshold={EXPOSED_AT_MOST}", str(unit)]
    said = subprocess.run(asked, capture_output=True, text=True)
    assert said.returncode == 0, said.stdout


@every_unit
def test_names_exist_and_secrets_are_files(unit: Path, tmp_path: Path) -> None:
    (command,) = service(unit)["ExecStart"]
    program, *arguments = command.split()
    assert program == INSTALLED
    assert_runs(arguments)
    variables = environment(unit, tmp_path)
    assert unknown(variables) == set()
    commented = re.findall(r"^#(RELAY_\w+)=", VARIABLES.read_text(), re.MULTILINE)
    assert commented
    assert unknown(commented) == set()
    loaded = {value.split(":")[0] for value in service(unit)["LoadCredential"]}
    assert loaded
    assert {value for name, value in variables.items() if name.endswith("_FILE")} == {f"{tmp_path}/{n}" for n in loaded}


def test_calls_in_flight_may_land() -> None:
    (seconds,) = service(WORKER)["TimeoutStopSec"]
    assert int(seconds) >= GRACE_SECONDS + SETTLING_SECONDS


def test_a_worker_as_systemd_starts_and_ends_it(
    database_url: str, tmp_path: Path, start_relay: StartRelay, free_port: int
) -> None:
    for name, secret in (("database_url", database_url), ("tmc_app_secret", "s"), ("tmc_session", "s")):
        (tmp_path / name).write_text(secret + "\n")
        (tmp_path / name).chmod(0o440)
    env = environment(WORKER, tmp_path, instance=str(free_port))
    worker = start_relay("run", env=env)
    worker.wait_for_line('"worker.started"')
    assert httpx.get(f"http://127.0.0.1:{free_port}/livez").status_code == 200
    worker.terminate()
    assert worker.wait() == 0  # "on-failure" does not start it again

    never_again = service(WORKER)["RestartPreventExitStatus"][0].split()
    (tmp_path / "database_url").write_text("postgresql://127.0.0.1:9/shop\n")
    assert str(start_relay("run", env=env).wait()) not in never_again
    (tmp_path / "tmc_session").unlink()
    assert str(start_relay("run", env=env).wait()) in never_again
