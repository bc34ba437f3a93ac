"""docs/metrics.md is made of the metrics themselves; ``pytest tests/docs/test_metrics_page.py --update-golden``."""

from __future__ import annotations

import re

import pytest

from relay.gauges import Backlog, Gauged
from relay.observers import figures
from relay.observers.figures import FIGURES, OF_A_WORKER, OF_ALL, Figure, MetricKind
from relay.observers.metrics import Metrics
from relay.settings import Settings
from tests.docs.markdown import ROOT
from tests.fixtures.golden import UPDATE

PAGE = ROOT / "docs" / "metrics.md"
BEGIN, END = "<!-- made of relay/observers/figures.py -->", "<!-- to here -->"


def table(of: tuple[Figure, ...]) -> str:
    head = "| metric | kind | labels | unit | meaning | what to alert on |\n|---|---|---|---|---|---|"
    return "\n".join((head, *(_row(figure) for figure in of)))


def _row(figure: Figure) -> str:
    labels = ", ".join(f"`{label}`" for label in figure.labels)
    only = f" Only with `{figure.only_with}`." if figure.only_with else ""
    alert = figure.alert.replace("|", "\\|")
    return f"| `{figure.sample}` | {figure.kind} | {labels} | {figure.unit} | {figure.meaning}{only} | {alert} |"


def test_the_page_is_that_of_the_metrics(pytestconfig: pytest.Config) -> None:
    text = PAGE.read_text(encoding="utf-8")
    before, *parts = text.split(BEGIN)
    made = [
        f"\n{table(of)}\n{END}{part.partition(END)[2]}" for of, part in zip((OF_ALL, OF_A_WORKER), parts, strict=True)
    ]
    written = BEGIN.join((before, *made))
    if pytestconfig.getoption(UPDATE):
        PAGE.write_text(written, encoding="utf-8")
    assert written == text or pytestconfig.getoption(UPDATE), f"write it anew: pytest {__file__} {UPDATE}"


def everything() -> Metrics:
    metrics = Metrics(archiving=True, listening=lambda: True)
    metrics.show_fleet(lambda: Gauged(True, Backlog(archive_lag_seconds=0.0)), accounts=1)
    return metrics


def test_every_metric_of_the_registry_is_described_and_no_other() -> None:
    there = {(metric.name, metric.type, metric.documentation) for metric in everything().registry.collect()}
    assert there == {(figure.name, str(figure.kind), figure.meaning) for figure in FIGURES}
    declared = {figure for figure in vars(figures).values() if isinstance(figure, Figure)}
    assert declared == set(FIGURES)


def test_names_are_as_prometheus_wants_them() -> None:
    for figure in FIGURES:
        assert re.fullmatch(r"relay(_[a-z]+)+", figure.name), figure
        assert figure.meaning.endswith("."), figure
        assert not figure.name.endswith(("_total", "_info", "_count", "_sum", "_bucket", "_created")), figure
        timed = figure.unit == "seconds"
        assert timed == figure.name.endswith("_seconds"), "the unit is in the name, and is a base unit"
        assert not set(figure.labels) & {"le", "quantile", "instance", "job"}, figure
        assert figure.kind is not MetricKind.GAUGE or not figure.name.endswith("_number"), figure


def test_what_an_alert_names_exists() -> None:
    names = {figure.sample for figure in FIGURES}
    for figure in FIGURES:
        assert set(re.findall(r"\brelay_[a-z_]+", figure.alert)) <= names, figure
        assert figure.only_with in ("", *(str(field.validation_alias) for field in Settings.model_fields.values()))
