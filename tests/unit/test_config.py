"""``relay config``: each option with its source, whatever is wrong with others; no secret; a file that is read back."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from relay.cli.verbs import relay
from relay.credential import Credential
from relay.producers import GROUP
from relay.settings import SECRETS, Settings, load, variables
from relay.settings.writing import toml_key, toml_value

SECRET = "s3cret-do-not-show"
Run = Callable[..., Result]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No setting comes from outside the test."""
    for name in [name for name in os.environ if name.startswith("RELAY_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RELAY_DATABASE_URL", f"postgresql://me:{SECRET}@db.example.com:5433/shop")
    return tmp_path


@pytest.fixture
def run(place: Path) -> Run:
    def run(*arguments: str, code: int = 0) -> Result:
        result = CliRunner().invoke(relay, ["config", *arguments])
        assert result.exit_code == code, result.output
        assert SECRET not in result.output
        return result

    return run


def told(run: Run, *arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run("--json", *arguments).stdout)
    return found


def written(place: Path, text: str) -> None:
    (place / "relay.toml").write_text(text)
    (place / "relay.toml").chmod(0o600)


def test_every_option_has_a_meaning_a_unit_and_a_default(run: Run) -> None:
    options = {option["variable"]: option for option in told(run)["options"]}
    assert options.keys() == variables().keys()
    for variable, name in variables().items():
        option, default = options[variable], Settings.model_fields[name].default
        assert option["meaning"], f"{name}: give the field a description in one line"
        assert "\n" not in option["meaning"]
        assert option["default"] == default
        if isinstance(default, int | float) and not isinstance(default, bool) and not name.endswith("_port"):
            assert option["unit"], f"{name}: a number needs a unit: by the end of its name, or json_schema_extra"


def test_every_source_is_named(run: Run, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "session").write_text(f"{SECRET}\n")
    written(place, f'batch_size = 20\nconcurrency = 2\ntmc_app_secret = "{SECRET}"\n')
    monkeypatch.setenv("RELAY_TMC_SESSION_FILE", str(place / "session"))
    monkeypatch.setenv("RELAY_PRODUCER_TMC_APP_KEY", "12345678")
    monkeypatch.setenv("RELAY_TMC_URL", f"https://u:{SECRET}@gw.example.com/router")
    options = {option["name"]: option for option in told(run, "--concurrency", "3")["options"]}
    found = {
        name: (option["value"], option["source"], option["place"])
        for name, option in options.items()
        if option["is_set"]
    }
    assert found == {
        "database_url": ("at db.example.com:5433/shop", "environment", "RELAY_DATABASE_URL"),
        "tmc_url": ("https://gw.example.com/router", "environment", "RELAY_TMC_URL"),
        "tmc_app_key": ("…5678", "environment", "RELAY_TMC_APP_KEY"),
        "tmc_app_secret": (None, "file", "relay.toml"),
        "tmc_session": (None, "secret file", str(place / "session")),
        "batch_size": (20, "file", "relay.toml"),
        "concurrency": (3, "flag", "--concurrency"),
    }
    prints = {name: option["fingerprint"] for name, option in options.items() if option["fingerprint"]}
    assert prints.keys() == {"tmc_app_secret", "tmc_session"}, "the password of a database may be guessed"
    assert len(set(prints.values())) == 1, "it tells two secrets apart, and these are one"
    (account,) = told(run)["accounts"]
    assert (account["name"], account["fingerprint"]) == ("default", Credential("12345678", SECRET, SECRET).fingerprint)
    text = run().stdout
    assert "set, fingerprint " in text
    assert f"secret file {place / 'session'}" in text
    assert "batch_size" in text
    assert "at db.example.com:5433/shop" in text


BROKEN = f"""
batchsize = 1
batch_size = 99
retry_base_seconds = 5000
[producers.stdout]
colour = "{SECRET}"
[producers.lien]
host = "h"
[accounts.half]
app_key = "1"
[accounts.lost]
producer = "stdot"
"""
WRONG = [
    "RELAY_CONCURENCY: unknown setting; did you mean RELAY_CONCURRENCY?",
    "RELAY_TMC_SESSION_FILE: nowhere cannot be read: No such file or directory",
    "relay.toml: unknown key batchsize; did you mean batch_size?",
    "RELAY_BATCH_SIZE: must be between 1 and 50, got 99",
    "RELAY_RETRY_MAX_SECONDS: must not be less than RELAY_RETRY_BASE_SECONDS 5000, got 900",
    "RELAY_PRODUCER_KAFKA_HOST: there is no producer of that name; known producers: ",
    "relay.toml: [producers.lien]: there is no producer 'lien'",
    "relay.toml: [producers.stdout] colour: unknown option",
    "relay.toml: [accounts.half] has no app_secret",
    "relay.toml: [accounts.lost]: there is no producer 'stdot'; did you mean stdout?",
]


def test_all_that_is_wrong_is_told_at_once_beside_what_is_right(
    run: Run, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RELAY_PRODUCER", "stdout")
    right = run("--check")
    assert (right.stdout, right.stderr) == ("", "the settings are as they should be\n")
    written(place, BROKEN)
    monkeypatch.setenv("RELAY_CONCURENCY", "3")
    monkeypatch.setenv("RELAY_TMC_SESSION_FILE", "nowhere")
    monkeypatch.setenv("RELAY_PRODUCER_KAFKA_HOST", "h")
    found = told(run)
    missing = [line for line in WRONG if not any(problem.startswith(line) for problem in found["problems"])]
    assert not missing, found["problems"]
    assert len(found["problems"]) == len(WRONG)
    assert found["ok"] is False
    options = {option["name"]: option for option in found["options"]}
    assert {name for name, option in options.items() if option["problem"]} == {
        *("tmc_session", "batch_size", "retry_max_seconds")
    }
    assert (options["batch_size"]["value"], options["retry_base_seconds"]["value"]) == ("99", "5000")
    assert options["database_url"]["value"] == "at db.example.com:5433/shop"
    assert {account["name"]: bool(account["problem"]) for account in found["accounts"]} == {"half": True, "lost": True}
    refused = run("--check", code=78)
    assert refused.stdout == ""
    assert [line for line in WRONG if f"error: {line}" not in refused.stderr] == []
    plain = run().stdout
    assert "\n! batch_size " in plain
    assert [line for line in WRONG if f"wrong: {line}" not in plain] == []


@pytest.mark.parametrize(
    ("environment", "file", "wrong"),
    [
        ({"RELAY_DATABASE_URL": ""}, "", "RELAY_DATABASE_URL: is needed"),
        ({}, "= 1", "relay.toml: "),
        ({"RELAY_CONFIG": "nowhere.toml"}, "", "nowhere.toml cannot be read: No such file or directory"),
        ({"RELAY_PRODUCER": "stdot"}, "", "RELAY_PRODUCER: there is no producer 'stdot'; known producers: "),
        ({"RELAY_PRODUCER": "gone"}, "", "The producer 'gone' cannot be loaded"),
        ({"RELAY_DATABASE_URL": f"postgresql://a:{SECRET}@b@c/d"}, "", "RELAY_DATABASE_URL: The database URL must"),
        ({"RELAY_ACCOUNTS_DIR": "nowhere"}, "", "RELAY_ACCOUNTS_DIR: cannot read nowhere"),
        ({"RELAY_PRODUCER": "tmc"}, "", "The producer tmc needs RELAY_TMC_APP_KEY and RELAY_TMC_APP_SECRET."),
        (
            {"RELAY_TMC_TIMEOUT_SECONDS": "50", "RELAY_PRODUCER": "tmc"},
            "",
            "RELAY_LEASE_SECONDS: must be at least 62.5",
        ),
    ],
)
def test_it_shows_the_rest_however_broken_it_is(
    run: Run, place: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], file: str, wrong: str
) -> None:
    monkeypatch.setenv("RELAY_PRODUCER", "stdout")
    points = metadata.EntryPoints([metadata.EntryPoint("gone", "no_such_package:Producer", GROUP)])
    monkeypatch.setattr("relay.producers.entry_points", lambda group: points)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    if file:
        written(place, file)
    found = told(run)
    assert [problem for problem in found["problems"] if problem.startswith(wrong)], found["problems"]
    assert len(found["options"]) == len(variables())
    assert run("--check", code=78).stderr.count("error: ") == len(found["problems"])
    run("--toml")


def test_the_file_that_it_prints_says_the_same(run: Run, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Secrets stay where they are."""
    (place / "secret").write_text(SECRET)
    monkeypatch.setenv("RELAY_TMC_APP_SECRET_FILE", str(place / "secret"))
    given = {
        "RELAY_SCHEMA": 'of "mine" \\ 大',
        "RELAY_TMC_APP_KEY": "12345678",
        "RELAY_ACCOUNTS_DIR": str(place),
        "RELAY_LEASE_SECONDS": "61.5",
        "RELAY_TMC_SIMPLIFY": "true",
        "RELAY_LOG_LEVEL": "debug",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    written(place, f'batch_size = 20\n[tmc]\nsession = "{SECRET}"\n[producers.stdout]\n')
    before = load()
    text = run("--toml").stdout
    commented = {line.partition(" =")[0].lstrip("# ") for line in text.splitlines() if " =" in line}
    hidden = {line.partition(":")[0].lstrip("# ") for line in text.splitlines() if "a secret, not written here" in line}
    names = {"schema" if name == "schema_name" else name for name in variables().values()}
    assert commented | hidden | {"config"} == names
    assert hidden == set(SECRETS)
    for name in given:
        monkeypatch.delenv(name)
    monkeypatch.setenv("RELAY_TMC_SESSION", SECRET)
    written(place, text)
    assert load() == before
    assert told(run)["problems"] == []
    assert run("--toml").stdout.replace("environment RELAY_TMC_SESSION", "file relay.toml") == text


def test_defaults_that_are_commented_out_are_the_defaults(run: Run, place: Path) -> None:
    lines = [line.removeprefix("# ") for line in run("--toml").stdout.splitlines()]
    options = {"schema" if name == "schema_name" else name for name in variables().values()}
    written(place, "\n".join(line for line in lines if line.partition(" = ")[0] in options and " = " in line))
    assert load().model_dump() == load(log_level="info").model_dump()
    assert len(tomllib.loads((place / "relay.toml").read_text())) > 25


@given(st.dictionaries(st.text(min_size=1), st.text() | st.integers() | st.booleans() | st.lists(st.text())))
def test_any_value_is_read_back(table: dict[str, Any]) -> None:
    text = "".join(f"{toml_key(key)} = {toml_value(value)}\n" for key, value in table.items())
    assert text.isascii()
    assert tomllib.loads(text) == table
