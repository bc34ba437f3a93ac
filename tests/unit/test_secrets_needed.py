"""Who needs which secret: a file that is not there stops nobody who does not need what is in it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from relay.cli.verbs import VERBS, relay
from relay.dashboard import create_app
from relay.errors import ConfigurationError
from tests.integration.test_cli_locked_out import ACTS, OTHERWISE, READS

# They send, or look for what is wrong.
NEED_ALL = {"run": ("run", "--once"), "check": ("check",), "config": ("config", "--check")}
ASK_THE_DATABASE = [*(arguments for arguments, _ in ACTS.values()), *READS.values(), *OTHERWISE, ("migrate",)]
ASK_NOBODY = [
    ("migrate", "--sql"),
    ("roles",),
    ("roles", "--sql"),
    ("explain", "25"),
    ("version",),
    ("config", "--json"),
    ("config", "--toml"),
]
NEITHER = {"demo", "topics"}  # a database and a platform of its own; the classes of an application
SANDBOX = ("sandbox", "--fault", "no-such")  # which it refuses after it has read its settings
DASHBOARD = ("dashboard", "--host", "203.0.113.7")  # which refuses to start there


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """No server is at the address, and no secret in its file."""
    for name in [name for name in os.environ if name.startswith("RELAY_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RELAY_DATABASE_URL", "postgresql://127.0.0.1:1/shop")
    for name in ("TMC_APP_SECRET", "TMC_SESSION", "ACCOUNTS_DATABASE_URL", "ACCOUNTS_QUERY"):
        monkeypatch.setenv(f"RELAY_{name}_FILE", f"/run/secrets/{name.lower()}")
    return lambda *arguments: CliRunner().invoke(relay, arguments)


def test_each_verb_is_here() -> None:
    named = {arguments[0] for arguments in [*ASK_THE_DATABASE, *ASK_NOBODY]}
    missing = VERBS.keys() - named - NEED_ALL.keys() - NEITHER - {DASHBOARD[0], SANDBOX[0]}
    assert not missing, f"{missing}: which secrets does it need? relay.settings.load_for(FOR_TABLES) reads one"


def test_who_asks_the_database_needs_its_address_alone(run: Callable[..., Result]) -> None:
    for arguments in ASK_THE_DATABASE:
        found = run(*arguments)
        assert found.exit_code == 69, f"{arguments}: {found.output}"
        assert "127.0.0.1" in found.stderr


def test_who_asks_nobody_needs_none(run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RELAY_DATABASE_URL")
    monkeypatch.setenv("RELAY_DATABASE_URL_FILE", "/run/secrets/database_url")
    for arguments in ASK_NOBODY:
        found = run(*arguments)
        assert found.exit_code == 0, f"{arguments}: {found.output}"


def test_the_dashboard_needs_what_it_reads_by(run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    assert "RELAY_DASHBOARD_USERS_FILE" in run(*DASHBOARD).stderr
    monkeypatch.setenv("RELAY_DASHBOARD_DATABASE_URL_FILE", "/run/secrets/dashboard")
    assert run(*DASHBOARD).stderr.startswith(
        "error: RELAY_DASHBOARD_DATABASE_URL_FILE: /run/secrets/dashboard cannot be"
    )


def test_a_dashboard_in_an_application_needs_the_same(
    run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    create_app()
    monkeypatch.setenv("RELAY_DASHBOARD_DATABASE_URL_FILE", "/run/secrets/dashboard")
    with pytest.raises(ConfigurationError, match="RELAY_DASHBOARD_DATABASE_URL_FILE: /run/secrets/dashboard cannot be"):
        create_app()
    create_app(dashboard_database_url="postgresql://127.0.0.1:1/shop", database_url="postgresql://127.0.0.1:1/shop")


def test_the_sandbox_needs_no_secret(
    run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("RELAY_DATABASE_URL")
    monkeypatch.setenv("RELAY_DATABASE_URL_FILE", "/run/secrets/database_url")
    assert run(*SANDBOX).stderr.startswith("error: There is no fault 'no-such'")
    (tmp_path / "empty").touch()
    monkeypatch.setenv("RELAY_TMC_APP_SECRET_FILE", "empty")
    assert run(*SANDBOX).stderr.startswith("error: RELAY_TMC_APP_SECRET_FILE: empty")


@pytest.mark.parametrize("verb", NEED_ALL)
def test_who_needs_all_names_each_that_is_missing(run: Callable[..., Result], verb: str) -> None:
    found = run(*NEED_ALL[verb])
    assert found.exit_code == 78
    for name in ("TMC_APP_SECRET", "TMC_SESSION", "ACCOUNTS_DATABASE_URL", "ACCOUNTS_QUERY"):
        assert f"RELAY_{name}_FILE: /run/secrets/{name.lower()} cannot be read" in found.output


def test_a_file_that_a_variable_overrules_is_not_read(
    run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "TMC_APP_KEY": "1",
        "TMC_APP_SECRET": "s",
        "TMC_SESSION": "s",
        "ACCOUNTS_DATABASE_URL": "postgresql://h/d",
        "ACCOUNTS_QUERY": "select 1",
    }.items():
        monkeypatch.setenv(f"RELAY_{name}", value)
    assert run("config", "--check").exit_code == 0
