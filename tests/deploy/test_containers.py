"""deploy/docker and deploy/compose.yaml: linted, and the trial takes place with their commands and settings."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from relay.dashboard.people import People
from tests.deploy.shipped import (
    DASHBOARD_PORT,
    DEPLOY,
    GRACE_SECONDS,
    METRICS_PORT,
    ROOT,
    SETTLING_SECONDS,
    assert_runs,
    unknown,
)
from tests.fixtures.processes import StartRelay
from tests.fixtures.waiting import eventually

DOCKERFILE = DEPLOY / "docker" / "Dockerfile"
COMPOSE = DEPLOY / "compose.yaml"
BIN = str(Path(sys.executable).parent)
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(COMPOSE.read_text())["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"] == "outbox-relay"}


def instructions() -> list[tuple[str, str]]:
    """Of the Dockerfile, one after another: ``("USER", "10001:10001")``."""
    text = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE))
    return [(name, rest.strip()) for name, _, rest in (line.partition(" ") for line in text.splitlines() if line)]


def final_stage() -> dict[str, str]:
    told = instructions()
    last = max(at for at, (name, _) in enumerate(told) if name == "FROM")
    return dict(told[last:])


def test_the_linter_finds_no_fault() -> None:
    hadolint = shutil.which("hadolint", path=BIN) or shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("hadolint is not on this machine; its wheel is in the extra dev, where there is one")
    said = subprocess.run([hadolint, "--no-color", str(DOCKERFILE)], capture_output=True, text=True)
    assert (said.returncode, said.stdout) == (0, "")


def test_what_runs_is_nobody_and_builds_nothing() -> None:
    stage = final_stage()
    assert "RUN" not in stage
    assert re.fullmatch(r"[1-9]\d{4,}:[1-9]\d{4,}", stage["USER"])
    assert stage["STOPSIGNAL"] == "SIGTERM"
    assert stage["EXPOSE"].split() == [str(METRICS_PORT), str(DASHBOARD_PORT)]
    assert json.loads(stage["ENTRYPOINT"]) == ["relay"]
    assert_runs(json.loads(stage["CMD"]))


def test_the_builder_is_given_what_it_copies_and_no_more() -> None:
    copied = [
        name for told, rest in instructions() if told == "COPY" and "--from" not in rest for name in rest.split()[:-1]
    ]
    assert all((ROOT / name).exists() for name in copied)
    ignored = DOCKERFILE.with_name("Dockerfile.dockerignore").read_text().splitlines()
    let_in = [line[1:] for line in ignored if line.startswith("!")]
    assert "*" in ignored
    assert sorted(let_in) == sorted(copied)


def test_compose_has_a_form() -> None:
    asked = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(COMPOSE)]
    said = subprocess.run(asked, capture_output=True, text=True)
    assert said.returncode == 0, said.stdout + said.stderr


@pytest.mark.parametrize("name", OURS)
def test_a_service_is_the_image_and_may_write_nothing(name: str) -> None:
    service = OURS[name]
    assert_runs(service["command"])
    assert unknown(service["environment"]) == set()
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    build = service["build"]
    assert (COMPOSE.parent / build["context"] / build["dockerfile"]).resolve() == DOCKERFILE
    assert set(service.get("depends_on", {})) <= set(SERVICES)
    # The check of the image asks a worker.
    assert ("healthcheck" not in service) == (service["command"] == ["run"])


def test_ports_are_for_this_machine_alone() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {
        "sandbox": ["127.0.0.1:8585:8585"],
        "dashboard": [f"127.0.0.1:{DASHBOARD_PORT}:{DASHBOARD_PORT}"],
    }


def test_calls_in_flight_may_land() -> None:
    assert int(SERVICES["worker"]["stop_grace_period"].removesuffix("s")) >= GRACE_SECONDS + SETTLING_SECONDS


def test_the_password_that_is_told_is_right() -> None:
    (source,) = (config["source"] for config in OURS["dashboard"]["configs"])
    file = COMPOSE.parent / yaml.safe_load(COMPOSE.read_text())["configs"][source]["file"]
    assert People(file).is_right("trial", "just a trial")


def test_the_trial(empty_url: str, start_relay: StartRelay, free_port: int) -> None:
    """Its services with their own commands and variables; what another network would give, this machine gives."""
    outbox = empty_url.replace("+psycopg", "")

    def start(name: str, *more: str, **variables: str) -> Any:
        env = {
            key: value.replace("postgresql://shop:trial@postgres:5432/shop", outbox)
            for key, value in OURS[name]["environment"].items()
        }
        return start_relay(*(more or OURS[name]["command"]), env={**env, **variables})

    migrated = start("migrate")
    sandbox = start("sandbox", "sandbox", "--port", "0")
    url = sandbox.wait_for_line(r"RELAY_TMC_URL=(http://\S+?)/router/rest", "stdout")[1]
    assert migrated.wait() == 0, migrated.report()
    assert start("migrate", "add", "taobao_jds_TradeTrace", '{"tid": 1}').wait() == 0
    asked = OURS["worker"]["environment"]["RELAY_TMC_URL"].replace("http://sandbox:8585", url)
    worker = start("worker", RELAY_TMC_URL=asked, RELAY_METRICS_PORT=str(free_port))
    eventually(lambda: [m["topic"] for m in httpx.get(f"{url}/messages").json()] == ["taobao_jds_TradeTrace"])
    # Docker would ask so, in the container:
    _, _, check = final_stage()["HEALTHCHECK"].partition("CMD ")
    _, *arguments = json.loads(check)
    environment = {"RELAY_METRICS_PORT": str(free_port)}
    assert subprocess.run([sys.executable, "-IS", *arguments], env=environment).returncode == 0
    worker.terminate()
    assert worker.wait() == 0
    unanswered = subprocess.run([sys.executable, "-IS", *arguments], env=environment, capture_output=True)
    assert unanswered.returncode == 1
