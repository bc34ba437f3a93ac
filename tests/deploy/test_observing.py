"""deploy/prometheus and deploy/grafana: each metric, label, value, run-book and column they name is there."""

from __future__ import annotations

import json
import re
import subprocess
from itertools import product
from typing import Any

import httpx
import pytest
import yaml
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from relay.observers.figures import FIGURES, Figure, MetricKind
from tests.deploy.shipped import DEPLOY, ROOT, promtool
from tests.docs.markdown import anchors
from tests.fixtures.processes import StartRelay
from tests.fixtures.roles import Roles

RULES = DEPLOY / "prometheus" / "rules.yaml"
BOARDS = {path.stem: json.loads(path.read_text()) for path in sorted((DEPLOY / "grafana").glob("*.json"))}
ALERTS: list[dict[str, Any]] = [
    rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]
]
OF_PROMETHEUS = {"job", "instance"}
AS_GRAFANA_WRITES_IT = r"\1 BETWEEN '2026-11-11T00:00:00Z' AND '2026-11-12T00:00:00Z'"
BY_PROMETHEUS, BY_SQL = "relay-prometheus", "relay-sql"


def samples() -> dict[str, Figure]:
    """Every name that a query may ask for."""
    named = {figure.sample: figure for figure in FIGURES}
    for figure in FIGURES:
        if figure.kind is MetricKind.HISTOGRAM:
            named |= {f"{figure.name}_{part}": figure for part in ("bucket", "sum", "count")}
    return named


def targets(board: str) -> list[dict[str, Any]]:
    return [target for panel in BOARDS[board]["panels"] for target in panel["targets"]]


def queries() -> list[str]:
    asked = [target["expr"].replace("$__rate_interval", "5m") for target in targets(BY_PROMETHEUS)]
    return [*(alert["expr"] for alert in ALERTS), *asked]


def test_queries_are_promql_and_ask_for_what_is_there() -> None:
    promql = pytest.importorskip("promql_parser", reason="promql-parser has no wheel for this Python")
    there, asked = samples(), set()
    for query in queries():
        labels: set[str] = set()

        def seen(node: Any, query: str = query, labels: set[str] = labels) -> bool:
            if isinstance(node, promql.VectorSelector):
                figure = there[node.name]
                asked.add(figure)
                labels.update(figure.labels, ["le"] if node.name.endswith("_bucket") else [])
                for label, value in re.findall(r'(\w+)(?:=~|!~|!=|=)"([^"]*)"', str(node.matchers)):
                    assert label in figure.labels, query
                    assert set(value.split("|")) <= set(re.findall(r"\w+", figure.meaning)), query
            return True

        promql.walk(promql.parse(query), seen)
        named = {
            label.strip() for part in re.findall(r"\b(?:by|without) \(([^)]*)\)", query) for label in part.split(",")
        }
        assert named <= labels | OF_PROMETHEUS, query
    assert {figure for figure in FIGURES if figure.alert} <= asked, (
        "what is worth an alert is in the rules or on the board"
    )


def test_whatever_is_of_all_is_no_sum_over_workers() -> None:
    for query in queries():
        for figure in FIGURES:
            if figure.of_all and figure.sample in query:
                assert re.search(rf"\b(max|min)\b.*{figure.sample}", query), query
                assert not re.search(rf"\b(sum|avg|count)(?: by)?(?: \([^)]*\))? ?\({figure.sample}", query), query


def test_promtool_finds_no_fault() -> None:
    said = subprocess.run([promtool(), "check", "rules", str(RULES)], capture_output=True, text=True)
    assert said.returncode == 0, said.stdout + said.stderr


def test_an_alert_says_what_it_is_and_where_to_read_on() -> None:
    assert len({alert["alert"] for alert in ALERTS}) == len(ALERTS)
    for alert in ALERTS:
        assert alert["labels"]["severity"] in ("page", "ticket")
        assert set(alert["annotations"]) == {"summary", "description", "runbook_url"}
        page, _, anchor = alert["annotations"]["runbook_url"].partition("#")
        assert anchor in anchors(ROOT / page), alert["alert"]
        figures = [samples()[name] for name in re.findall(r"\brelay_\w+", alert["expr"])]
        told = set(re.findall(r"\$labels\.(\w+)", alert["annotations"]["summary"]))
        assert told <= {label for figure in figures for label in figure.labels}


@pytest.mark.parametrize("name", BOARDS)
def test_panels_have_a_place_and_a_source(name: str) -> None:
    board = BOARDS[name]
    (variable,) = board["templating"]["list"]
    for panel in board["panels"]:
        for thing in (panel, *panel["targets"]):
            assert thing["datasource"] == {"type": variable["query"], "uid": "${source}"}
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    cells = [cell for panel in board["panels"] for cell in covered(**panel["gridPos"])]
    assert len(set(cells)) == len(cells), "two panels lie on each other"
    assert all(x < 24 for x, _ in cells)


def covered(x: int, y: int, w: int, h: int) -> list[tuple[int, int]]:
    return list(product(range(x, x + w), range(y, y + h)))


def test_the_auditor_may_ask_every_panel(roles: Roles) -> None:
    engine = create_engine(roles.url("auditor"), poolclass=NullPool)
    with engine.connect() as connection:
        for target in targets(BY_SQL):
            sql = re.sub(r"\$__timeFilter\((\w+)\)", AS_GRAFANA_WRITES_IT, target["rawSql"])
            assert "$" not in sql
            answer = connection.exec_driver_sql(sql)
            assert (target["format"] == "time_series") == ("time" in list(answer.keys())), sql


def test_the_newest_calls_are_found_without_the_others(roles: Roles) -> None:
    asked = [re.sub(r"\$__timeFilter\(\w+\)", "true", target["rawSql"]) for target in targets(BY_SQL)]
    of_calls = [sql for sql in asked if re.search(r"\brelay\.\w+_call\b", sql)]
    assert of_calls
    with create_engine(roles.url("auditor"), poolclass=NullPool).connect() as connection:
        connection.exec_driver_sql("set enable_seqscan = off")
        for sql in of_calls:
            plan = "\n".join(connection.exec_driver_sql(f"explain {sql}").scalars())
            assert "Index Scan Backward using call_pkey" in plan, plan


@pytest.mark.parametrize("archiving", ["1", ""])
def test_promtool_reads_what_a_worker_tells(
    archiving: str, database_url: str, start_relay: StartRelay, free_port: int
) -> None:
    """The format and its conventions, of a worker that has sent something. OpenMetrics it does not read: the parser of
    ``tests/unit/test_metrics.py`` does.
    """
    program = promtool()
    env = {"RELAY_DATABASE_URL": database_url, "RELAY_PRODUCER": "stdout", "RELAY_METRICS_PORT": str(free_port)}
    assert start_relay("add", "t", "{}", env=env).wait() == 0
    worker = start_relay("run", env={**env, "RELAY_ARCHIVE_AFTER_DAYS": archiving})
    worker.wait_for_line('"event": "call"')
    told = httpx.get(f"http://127.0.0.1:{free_port}/metrics").text
    said = subprocess.run([program, "check", "metrics"], input=told, capture_output=True, text=True)
    assert (said.returncode, said.stdout + said.stderr) == (0, "")
