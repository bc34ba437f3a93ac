"""Options of producers: from where they come, what is refused, and that a secret is shown nowhere."""

from __future__ import annotations

import os
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from pydantic import Field, SecretStr, model_validator

from relay.assembly.producers import context_of, producer_for, producer_options, producer_secret_files
from relay.assembly.start import in_force
from relay.errors import ConfigurationError
from relay.producers import BUILT_IN, GROUP, ProducerContext, ProducerOptions, Secret, Timeout
from relay.settings import load

SECRET = "s3cret-do-not-show"
HERE = "tests.unit.test_producer_options"


class LineOptions(ProducerOptions):
    host: str
    port: int = Field(25, ge=1, le=65535)
    key: Secret | None = None
    others: dict[str, SecretStr] = Field(default_factory=dict)
    certificate_file: Path | None = None
    timeout_seconds: Timeout = 10

    @model_validator(mode="after")
    def _a_key_goes_to_a_named_host(self) -> LineOptions:
        if self.key and self.host == "*":
            raise ValueError("key needs a host that is named")
        return self


class LineProducer:
    Options = LineOptions
    max_batch = max_bytes = 1

    def __init__(self, context: ProducerContext[LineOptions]) -> None:
        self.context = context


class WrongProducer:
    Options = dict


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No setting comes from outside the test, and three producers are installed."""
    for name in [name for name in os.environ if name.startswith("RELAY_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    targets = {"line": "LineProducer", "line-two": "LineProducer", "wrong": "WrongProducer"}
    points = metadata.EntryPoints(
        metadata.EntryPoint(name, f"{HERE}:{target}", GROUP) for name, target in targets.items()
    )
    monkeypatch.setattr("relay.producers.entry_points", lambda group: points)
    monkeypatch.setenv("RELAY_PRODUCER", "line")
    return tmp_path


def options(**flags: Any) -> Any:
    settings = load(**flags)
    return producer_options(settings)[settings.producer]


def refusal(**flags: Any) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        producer_options(load(**flags))
    assert SECRET not in str(caught.value) + caught.value.hint
    assert caught.value.__cause__ is None
    assert caught.value.exit_code == 78
    return str(caught.value).splitlines()


def test_each_source_overrules_the_next(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "relay.toml").write_text('[producers.line]\nhost = "toml"\nport = 1\nkey = "toml"\n')
    (place / "relay.toml").chmod(0o600)
    (place / "key").write_text("file\n")
    found = [(options().host, options().port, options().key.get_secret_value())]
    monkeypatch.setenv("RELAY_PRODUCER_LINE_KEY_FILE", str(place / "key"))
    found.append((options().host, options().port, options().key.get_secret_value()))
    monkeypatch.setenv("RELAY_PRODUCER_LINE_KEY", "environment")
    monkeypatch.setenv("RELAY_PRODUCER_LINE_PORT", "2")
    found.append((options().host, options().port, options().key.get_secret_value()))
    said = options(producers={"line": {"host": "program", "key": "program"}})
    found.append((said.host, said.port, said.key.get_secret_value()))
    assert found == [("toml", 1, "toml"), ("toml", 1, "file"), ("toml", 2, "environment"), ("program", 2, "program")]


def test_overrides_add_to_settings_that_are_there() -> None:
    first = load(producers={"line": {"host": "a", "port": 3}})
    second = load(first, producers={"line": {"host": "b"}})
    assert [producer_options(settings)["line"].model_dump()["host"] for settings in (first, second)] == ["a", "b"]
    assert options(producers={"line": {"host": "a", "port": 3}}).port == 3


def test_the_longest_name_is_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELAY_PRODUCER_LINE_HOST", "one")
    monkeypatch.setenv("RELAY_PRODUCER_LINE_TWO_HOST", "two")
    found = producer_options(load())
    assert {name: dict(said)["host"] for name, said in found.items()} == {"line": "one", "line-two": "two"}


def test_every_problem_is_reported_at_once_with_the_nearest_name(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "relay.toml").write_text(
        "[producers.line]\nhosts = 'x'\nport = 0\n[producers.lien]\nhost = 'x'\n[producers.line-two]\nkey = 'ä'\n"
    )
    monkeypatch.setenv("RELAY_PRODUCER_LINE_PROT", "1")
    monkeypatch.setenv("RELAY_PRODUCER_KAFKA_BROKERS", SECRET)
    assert set(refusal()) == {
        "relay.toml: [producers.lien]: there is no producer 'lien'; did you mean line?",
        "RELAY_PRODUCER_KAFKA_BROKERS: there is no producer of that name; "
        f"known producers: {', '.join(sorted([*BUILT_IN, 'line', 'line-two', 'wrong']))}",
        "relay.toml: [producers.line] hosts: unknown option; did you mean host?",
        "RELAY_PRODUCER_LINE_PROT: unknown option; did you mean RELAY_PRODUCER_LINE_PORT?",
        "RELAY_PRODUCER_LINE_HOST: is needed",
        "relay.toml: [producers.line] port: must be between 1 and 65535, got 0",
        "RELAY_PRODUCER_LINE_TWO_HOST: is needed",
        "relay.toml: [producers.line-two] key: contains a character that is not ASCII (character 1): "
        "only printable ASCII is possible",
    }


def test_secrets_are_in_no_report_and_no_representation(monkeypatch: pytest.MonkeyPatch) -> None:
    assert refusal(producers={"line": {"host": "h", "key": [SECRET]}})
    assert refusal(producers={"line": {"host": "h", "others": {"a": [SECRET]}}})
    assert refusal(producers={"line": {"host": "*", "key": SECRET}}) == [
        "the producer line: key needs a host that is named"
    ]
    monkeypatch.setenv("RELAY_PRODUCER_LINE_KEY", SECRET)
    monkeypatch.setenv("RELAY_PRODUCER_LINE_HOST", f"smtp://u:{SECRET}@h/path?token={SECRET}")
    settings = load(database_url="postgresql://h/d", producers={"line": {"others": {"a": SECRET}}})
    told = in_force(settings)
    assert told["producers"] == {
        "line": {"host": "smtp://h/path", "port": 25, "key": "***", "others": "***", "timeout_seconds": 10.0}
    }
    context = ProducerContext(
        producer_options(load(producers={"line": {"host": "h", "others": {"a": SECRET}}}))["line"]
    )
    assert SECRET not in repr(settings) + str(settings) + repr(context) + repr(settings.sections)


def test_files_of_secrets_are_known_and_read(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELAY_PRODUCER_LINE_HOST", "h")
    monkeypatch.setenv("RELAY_PRODUCER_LINE_KEY_FILE", "nowhere")
    monkeypatch.setenv("RELAY_PRODUCER_LINE_CERTIFICATE_FILE", "cert.pem")
    assert refusal() == ["RELAY_PRODUCER_LINE_KEY_FILE: nowhere cannot be read: No such file or directory"]
    assert producer_secret_files(load()) == [Path("nowhere")]
    (place / "relay.toml").write_text("[producers.line]\nkey = 'x'\n")
    assert producer_secret_files(load()) == [Path("nowhere"), Path("relay.toml")]
    monkeypatch.delenv("RELAY_PRODUCER_LINE_KEY_FILE")
    assert options().certificate_file == Path("cert.pem")
    monkeypatch.setenv("RELAY_PRODUCER_LINE_PORT_FILE", "port")
    assert refusal() == ["RELAY_PRODUCER_LINE_PORT_FILE: unknown option; did you mean RELAY_PRODUCER_LINE_PORT?"]


def test_a_lease_outlasts_its_call() -> None:
    said = {"line": {"host": "h", "timeout_seconds": 60}}
    assert refusal(producers=said) == [
        "RELAY_LEASE_SECONDS: must be at least 75 with producers['line']['timeout_seconds'] 60, got 60"
    ]
    assert options(producers=said, lease_seconds=75).timeout_seconds == 60
    assert refusal(producers={"line": {"host": "h"}}, lease_seconds=5)[0].endswith(
        "RELAY_PRODUCER_LINE_TIMEOUT_SECONDS 10, got 5"
    )
    assert load(lease_seconds=5).lease_seconds == 5, "the time-out of the platform concerns the producer tmc alone"


@pytest.mark.parametrize(("lease", "least"), [(2, 1), (5, 4), (60, 48)])
def test_without_a_time_out_of_its_own_a_call_may_take_what_the_lease_allows(lease: float, least: float) -> None:
    producer: Any = producer_for(load(producers={"line": {"host": "h"}}), lambda _: None, lambda: 0.0)
    assert producer.context.timeout_seconds == 10
    told = context_of(load(lease_seconds=lease), ProducerOptions(), lambda _: None, lambda: 0.0)
    assert told.timeout_seconds == least


def test_those_of_the_platform_have_two_names(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "relay.toml").write_text("[producers.tmc]\nsign_method = 'md5'\nformat = 'xml'\n[tmc]\nformat = 'json'\n")
    monkeypatch.setenv("RELAY_PRODUCER_TMC_APP_KEY", "1")
    monkeypatch.setenv("RELAY_PRODUCER_TMC_SIMPLIFY", "true")
    monkeypatch.setenv("RELAY_TMC_SIMPLIFY", "false")
    settings = load(producer="tmc")
    assert (settings.tmc_sign_method, settings.tmc_format, settings.tmc_app_key) == ("md5", "json", "1")
    assert settings.tmc_simplify is False
    assert dict(producer_options(settings)["tmc"])["sign_method"] == "md5"
    monkeypatch.setenv("RELAY_PRODUCER_TMC_SIGN_METHODS", "md5")
    with pytest.raises(ConfigurationError, match=r"RELAY_TMC_SIGN_METHODS: .*; did you mean RELAY_TMC_SIGN_METHOD"):
        load()


def test_variables_of_kubernetes_are_no_options(monkeypatch: pytest.MonkeyPatch) -> None:
    """Services called "relay-producer" and "relay-producer-line" beside the worker."""
    for name, value in {
        "RELAY_PRODUCER_SERVICE_HOST": "10.0.0.1",
        "RELAY_PRODUCER_PORT": "tcp://10.0.0.1:80",
        "RELAY_PRODUCER_PORT_80_TCP_ADDR": "10.0.0.1",
        "RELAY_PRODUCER_LINE_PORT": "tcp://10.0.0.1:25",
        "RELAY_PRODUCER_LINE_SERVICE_PORT": "25",
        "RELAY_PRODUCER_LINE_KEY": "",
    }.items():
        monkeypatch.setenv(name, value)
    assert options(producers={"line": {"host": "h"}}).port == 25


def test_options_that_are_none_are_told() -> None:
    with pytest.raises(ConfigurationError, match="Options are no ProducerOptions"):
        options(producer="wrong")


def test_a_producer_without_options_takes_none() -> None:
    assert refusal(producer="stdout", producers={"stdout": {"colour": "red"}, "line": {"host": "h"}}) == [
        "producers['stdout']['colour']: unknown option"
    ]
