"""deploy/prometheus/rules.yaml: each alert fires in its situation, at its minute, and in no other.

``situations.yaml`` says what workers tell in each; promtool works the rules out over these hours as Prometheus would.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.shipped import DEPLOY, promtool

RULES = DEPLOY / "prometheus" / "rules.yaml"
SITUATIONS: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "situations.yaml").read_text())
CALM: Mapping[str, str] = SITUATIONS["calm"]
TROUBLES: Mapping[str, dict[str, Any]] = SITUATIONS["alerts"]
ALERTS = {rule["alert"]: rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]}
BEGINS, ENDS = 101, 178  # minutes; promtool reads 0x100 as one 0 and a hundred more

Case = dict[str, Any]


def case(name: str, series: Mapping[str, str], expected: dict[int, dict[str, list[Case]]]) -> Case:
    """As promtool wants it; all alerts are looked at in each of these minutes."""
    return {
        "name": name,
        "interval": "1m",
        "input_series": [{"series": each, "values": values} for each, values in {**CALM, **series}.items()],
        "alert_rule_test": [
            {"eval_time": f"{minute}m", "alertname": alert, "exp_alerts": fired.get(alert, [])}
            for minute, fired in expected.items()
            for alert in ALERTS
        ],
    }


def trouble(alert: str, told: dict[str, Any]) -> Case:
    rule = ALERTS[alert]
    says = {**rule["annotations"], "summary": told["summary"]}
    fired = {alert: [{"exp_labels": {**rule["labels"], **told.get("labels", {})}, "exp_annotations": says}]}
    silent = told.get("silent", told["after"] - 1)
    return case(alert, told["series"], {BEGINS + silent: {}, BEGINS + told["after"]: fired})


def worked_out(cases: list[Case], rules: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    asked = folder / "cases.yaml"
    asked.write_text(yaml.safe_dump({"rule_files": [str(rules)], "evaluation_interval": "1m", "tests": cases}))
    return subprocess.run([promtool(), "test", "rules", str(asked)], capture_output=True, text=True)


def test_every_alert_has_a_situation() -> None:
    assert set(TROUBLES) == set(ALERTS)


def test_each_alert_fires_in_its_situation_and_in_no_other(tmp_path: Path) -> None:
    silent: dict[int, dict[str, list[Case]]] = {minute: {} for minute in range(5, ENDS, 12)}
    quiet = {"all is well": {}, **SITUATIONS["silent"]}
    cases = [
        *(case(name, series, silent) for name, series in quiet.items()),
        *(trouble(alert, told) for alert, told in TROUBLES.items()),
    ]
    said = worked_out(cases, RULES, tmp_path)
    assert said.returncode == 0, said.stdout + said.stderr


@pytest.mark.parametrize(("right", "wrong"), [("for: 5m", "for: 4m"), ("due_seconds) > 300", "due_seconds) > 301")])
def test_a_rule_that_is_wrong_is_found_out(right: str, wrong: str, tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES.read_text().replace(right, wrong))
    said = worked_out([trouble("RelayBacklogOld", TROUBLES["RelayBacklogOld"])], rules, tmp_path)
    assert said.returncode == 1
    assert "alertname: RelayBacklogOld" in said.stdout + said.stderr
