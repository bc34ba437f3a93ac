"""deploy/helm: what the chart renders is what Kubernetes takes, and starts what there is.

``rendered/`` holds what Helm made of it, so that it is looked at also where Helm is not, and of which chart it is.
With Helm at hand ``--update-golden`` writes it anew.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

import relay
from tests.deploy.shipped import DEPLOY, GRACE_SECONDS, METRICS_PORT, ROOT, SETTLING_SECONDS, assert_runs, unknown
from tests.fixtures.golden import UPDATE

CHART = DEPLOY / "helm" / "outbox-relay"
HERE = Path(__file__).parent
VALUES = {"default": {}, "everything": yaml.safe_load((HERE / "everything.yaml").read_text())}
ITS_OWN = {"Deployment", "Job", "PodDisruptionBudget"}  # the others are kinds that KEDA and Prometheus bring
OLDEST, NEWEST = "1.25", "1.35"

Document = dict[str, Any]
each = pytest.mark.parametrize("name", VALUES)


def rendered(name: str) -> dict[str, Document]:
    """By kind; there is one of each."""
    documents = list(yaml.safe_load_all((HERE / "rendered" / f"{name}.yaml").read_text()))
    assert len({document["kind"] for document in documents}) == len(documents)
    return {document["kind"]: document for document in documents}


def fingerprint(name: str) -> str:
    """Of the chart and the values."""
    files = sorted(path for path in CHART.rglob("*") if path.is_file())
    read = [f"{path.relative_to(CHART)}\n{path.read_text()}" for path in files]
    return hashlib.sha256("\n".join([*read, json.dumps(VALUES[name])]).encode()).hexdigest()


def helm(name: str) -> list[Document]:
    """What Helm renders, by whichever is here: the program, or its library as a package for Python."""
    if shutil.which("helm"):
        given = [] if name == "default" else ["--values", str(HERE / f"{name}.yaml")]
        subprocess.run(["helm", "lint", "--quiet", str(CHART), *given], check=True)
        made = ["helm", "template", "relay", str(CHART), "--namespace", "shop", *given]
        texts = [subprocess.run(made, check=True, capture_output=True, text=True).stdout]
    elif importlib.util.find_spec("helm_python"):
        import helm_python

        assert helm_python.lint(str(CHART))["errors"] == []
        with helm_python.Chart.load(str(CHART)) as chart:
            texts = list(chart.render(VALUES[name], name="relay", namespace="shop").values())
    else:
        pytest.skip("Helm is not here: neither the program helm nor the package helm-python-sdk (75 MB)")
    documents = [document for text in texts for document in yaml.safe_load_all(text) if document]
    return sorted(documents, key=lambda document: str(document["kind"]))


@each
def test_helm_renders_what_is_looked_at(name: str, pytestconfig: pytest.Config) -> None:
    documents, kept = helm(name), HERE / "rendered" / f"{name}.yaml"
    if pytestconfig.getoption(UPDATE):
        kept.write_text(f"# {fingerprint(name)}\n{yaml.safe_dump_all(documents, sort_keys=False, width=120)}")
    assert documents == list(yaml.safe_load_all(kept.read_text()))


@each
def test_it_was_rendered_of_this_chart(name: str) -> None:
    kept = (HERE / "rendered" / f"{name}.yaml").read_text()
    assert kept.startswith(f"# {fingerprint(name)}\n"), f"install helm-python-sdk, and run pytest {__file__} {UPDATE}"


@each
def test_kubernetes_takes_it(name: str) -> None:
    for kind, document in rendered(name).items():
        if kind in ITS_OWN:
            for version in (OLDEST, NEWEST):
                kubernetes_validate.validate(document, version, strict=True)


@each
def test_what_it_starts_exists_and_is_nobody(name: str) -> None:
    documents = rendered(name)
    for kind, verb in (("Deployment", "run"), ("Job", "migrate")):
        pod = documents[kind]["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        assert container["args"] == [verb]
        assert_runs(container["args"])
        variables = {variable["name"]: variable["value"] for variable in container["env"]}
        assert unknown(variables) == set()
        assert variables["RELAY_METRICS_PORT"] == str(METRICS_PORT)
        (mount,) = container["volumeMounts"]
        files = [value for variable, value in variables.items() if variable.endswith("_FILE")]
        assert files
        assert all(file.startswith(mount["mountPath"] + "/") for file in files)
        assert pod["securityContext"]["runAsNonRoot"]
        assert container["securityContext"]["readOnlyRootFilesystem"]
        assert not pod["enableServiceLinks"]
        assert not pod["automountServiceAccountToken"]
    assert documents["Job"]["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"


@each
def test_a_worker_is_asked_what_it_answers_and_may_end(name: str) -> None:
    documents = rendered(name)
    workers = documents["Deployment"]["spec"]["template"]
    assert workers["spec"]["terminationGracePeriodSeconds"] >= GRACE_SECONDS + SETTLING_SECONDS
    (container,) = workers["spec"]["containers"]
    (port,) = container["ports"]
    assert port["containerPort"] == METRICS_PORT
    asked = {container[f"{probe}Probe"]["httpGet"]["path"] for probe in ("startup", "liveness", "readiness")}
    assert asked == {"/livez", "/readyz"}
    selected = documents["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"]
    assert selected == documents["Deployment"]["spec"]["selector"]["matchLabels"]
    assert selected.items() <= workers["metadata"]["labels"].items()


def test_the_autoscaler_is_the_one_of_the_page() -> None:
    documents = rendered("everything")
    assert "replicas" not in documents["Deployment"]["spec"], "an upgrade would undo what KEDA decided"
    assert "ScaledObject" not in rendered("default")
    assert rendered("default")["Deployment"]["spec"]["replicas"] == 2
    spec = documents["ScaledObject"]["spec"]
    assert spec["scaleTargetRef"]["name"] == documents["Deployment"]["metadata"]["name"]
    (trigger,) = spec["triggers"]
    assert trigger["authenticationRef"]["name"] == documents["TriggerAuthentication"]["metadata"]["name"]
    assert trigger["metadata"]["targetQueryValue"] == "1000000"
    page = (ROOT / "docs" / "scaling.md").read_text()
    assert f"query: {trigger['metadata']['query'].replace(' outbox.', ' relay.')}\n" in page


def test_its_version_is_that_of_the_relay() -> None:
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"] == relay.__version__
