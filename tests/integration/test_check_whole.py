"""Whatever one check meets, ``relay check`` gives its whole document: each trouble is a fact and stops no other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import Connection

from relay.checks import Finding, examination
from relay.checks.examination import REVISION, SERVER, TABLES
from relay.cli.verbs import relay as command
from relay.errors import UnreachableError
from relay.settings import Settings
from tests.fixtures.checked import Check, states

pytestmark = pytest.mark.usefixtures("check_settings")
DATABASE = [*SERVER, *REVISION, *TABLES]


class Unforeseen(Exception):  # noqa: N818 the name says what is the case
    """None of ours."""


def breaks(connection: Connection, settings: Settings) -> Iterator[Finding]:
    raise Unforeseen("with something secret in it")
    yield


def test_checks_that_break_are_warnings_and_stop_no_other(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    for checks in ("SERVER", "REVISION", "TABLES"):
        every_other = list(getattr(examination, checks))[::2]
        broken = dict.fromkeys(every_other, breaks)
        monkeypatch.setattr(examination, checks, dict(getattr(examination, checks)) | broken)
    found = check()
    assert list(found) == ["settings", *DATABASE, "accounts"]
    told = {name: facts[0]["sentence"] for name, facts in found.items() if "Unforeseen" in facts[0]["sentence"]}
    assert set(told.values()) == {"cannot be looked at: unexpected Unforeseen"}
    assert {"database", "revision", "catalogue"} < told.keys()
    assert {found[name][0]["state"] for name in told} == {"warn"}


@pytest.mark.parametrize(
    ("broken", "name"),
    [
        ("relay.assembly.examination.host_offset_seconds", "database"),
        ("relay.assembly.examination.open_accounts", "accounts"),
        ("relay.assembly.examination.probed", "platform"),
        ("relay.producers.tmc.TmcProducer.open", "platform"),
    ],
)
@pytest.mark.parametrize("error", [Unforeseen("secret"), UnreachableError("away"), FileNotFoundError("secret")])
def test_a_stage_that_breaks_is_a_failure_and_the_document_is_whole(
    broken: str, name: str, error: Exception, check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaking(*_: object, **__: object) -> object:
        raise error

    monkeypatch.setattr(broken, breaking)
    found = check("--account", "default", code=69 if name == "database" else 1)
    assert found[name][-1]["state"] == "fail"
    assert found[name][-1]["hint"]
    assert "secret" not in str(found)
    assert {"settings", name} < found.keys()


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("SSL_CERT_FILE", "missing", "SSL_CERT_FILE: missing cannot be read: No such file or directory"),
        ("SSL_CERT_FILE", "garbage", "SSL_CERT_FILE: garbage holds no certificate in PEM form"),
        ("SSL_CERT_DIR", "missing", "SSL_CERT_DIR: missing cannot be read: No such file or directory"),
        ("HTTPS_PROXY", "socks5://h:1", "HTTPS_PROXY names a proxy of the kind 'socks5'"),
    ],
)
def test_a_way_to_the_platform_that_cannot_be_taken_is_a_fact_and_ends_a_worker_as_configuration(
    variable: str, value: str, said: str, check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RELAY_TMC_URL", "https://gateway.invalid/router/rest")
    monkeypatch.setenv("RELAY_METRICS_PORT", "0")
    Path("garbage").write_text("no certificate")
    monkeypatch.setenv(variable, value)
    found = check("--account", "default", code=1)
    assert states(found)["accounts"] == "ok"
    assert [(fact["state"], fact["sentence"]) for fact in found["platform"]] == [("fail", said)]
    result = CliRunner().invoke(command, ["run", "--once"])
    assert result.exit_code == 78, result.output
    assert f"error: {said}" in result.stderr.splitlines()


def test_each_fact_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs" / "checking.md").read_text(encoding="utf-8")
    assert [name for name in ["settings", *DATABASE, "accounts", "platform"] if f"| `{name}` |" not in page] == []
