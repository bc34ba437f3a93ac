"""Accounts in the TOML file: tables of credentials beside options, whose mistakes are named without a value."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from relay.errors import ConfigurationError
from relay.settings import load, read_accounts, secret_files

SECRET = "s3cret-do-not-show"
TWO = """
[accounts.one]
app_key = 1
app_secret = "a"
[accounts."二.shop"]
app_key = "2"
app_secret = "b"
session = "s"
"""


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that is read without being named; no setting comes from elsewhere."""
    for name in [name for name in os.environ if name.startswith("RELAY_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return Path("relay.toml")


def refusal() -> str:
    with pytest.raises(ConfigurationError) as caught:
        load()
    assert SECRET not in str(caught.value)
    return str(caught.value)


def test_accounts_stand_beside_the_options(file: Path) -> None:
    file.write_text(f'batch_size = 7\n[accounts]\nquery = "select 1"\ndir = "d"\n{TWO}')
    settings = load()
    assert (settings.batch_size, settings.accounts_query, settings.accounts_dir) == (7, "select 1", Path("d"))
    assert settings.file == file
    assert read_accounts(file) == {
        "one": {"app_key": 1, "app_secret": "a"},
        "二.shop": {"app_key": "2", "app_secret": "b", "session": "s"},
    }


def test_an_account_may_be_called_like_an_option(file: Path) -> None:
    file.write_text('[accounts.query]\napp_key = "1"\napp_secret = "a"\n')
    assert load().accounts_query is None
    assert list(read_accounts(file)) == ["query"]


def test_a_mistake_in_an_account_is_none_of_the_settings(file: Path) -> None:
    """``relay status`` needs no account; who looks it up is told, and the others go on."""
    file.write_text('batch_size = 7\n[accounts.a]\napp_secret = "x"\n[accounts." b "]\nproducer = ["y"]\n')
    assert load().batch_size == 7


@pytest.mark.parametrize("text", [f'accounts = "{SECRET}"', f'[accounts]\nshop = "{SECRET}"'])
def test_what_is_no_table_is_no_account(file: Path, text: str) -> None:
    file.write_text(text)
    assert refusal().startswith("relay.toml: unknown key accounts")


def test_a_query_is_a_secret_and_may_come_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    query = f"select decrypt(app_secret, '{SECRET}') from shop where name = :account"
    (tmp_path / "query.sql").write_text(query + "\n")
    monkeypatch.setenv("RELAY_ACCOUNTS_QUERY_FILE", "query.sql")
    settings = load()
    assert settings.accounts_query == query
    assert SECRET not in repr(settings)


def test_the_database_of_the_accounts_is_postgresql(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(accounts_database_url="postgres://h/d").accounts_database_url == "postgresql+psycopg://h/d"
    monkeypatch.setenv("RELAY_ACCOUNTS_DATABASE_URL", f"mysql://u:{SECRET}@h/d")
    assert refusal() == "RELAY_ACCOUNTS_DATABASE_URL: The database URL must name PostgreSQL, not mysql"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (TWO, True),
        ('[tmc]\napp_secret = "x"', True),
        ('database_url = "postgresql://u:p@h/d"', True),
        ("batch_size = 7", False),
    ],
)
def test_a_file_with_secrets_is_known(file: Path, monkeypatch: pytest.MonkeyPatch, text: str, expected: bool) -> None:
    monkeypatch.setenv("RELAY_TMC_SESSION_FILE", "/run/secrets/session")
    assert secret_files(file) == [Path("/run/secrets/session")], "it is not there"
    file.write_text(text)
    file.chmod(0o600)
    assert (file in secret_files(file)) is expected
