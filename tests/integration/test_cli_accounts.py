"""From the settings to the sources: their order, what is required, what is warned of, and a whole run."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import Engine, text

import relay
from relay.assembly.accounts import exposed, open_accounts
from relay.checks import way
from relay.cli.verbs import relay as command
from relay.credential import Credential
from relay.errors import ConfigurationError, UnreachableError
from relay.settings import load
from tests.fixtures.processes import StartRelay

pytestmark = pytest.mark.usefixtures("path_of_the_user")

QUERY = "select app_key, app_secret, session from shop where name = :account"
NAMES = ("default", "query", "folder", "file")


@pytest.fixture(autouse=True)
def empty_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No setting comes from outside the test."""
    for name in [name for name in os.environ if name.startswith("RELAY_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_table(engine: Engine, *names: str) -> None:
    with engine.begin() as connection:
        connection.execute(text("create table shop (name text, app_key text, app_secret text, session text)"))
        for name in names:
            connection.execute(text("insert into shop values (:name, '1', 'query', null)"), {"name": name})


def write_folder(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).mkdir(parents=True)
        (folder / name / "app_key").write_text("2")
        (folder / name / "app_secret").write_text("folder")


def write_file(path: Path, *names: str) -> None:
    path.write_text("".join(f'[accounts.{name}]\napp_key = 3\napp_secret = "file"\n' for name in names))
    path.chmod(0o600)


def test_the_query_comes_first_then_the_folder_the_file_and_the_settings(
    empty_place: Path, engine: Engine, database_url: str
) -> None:
    write_table(engine, "query")
    write_folder(empty_place / "secrets", "query", "folder")
    write_file(empty_place / "relay.toml", "query", "folder", "file")
    settings = load(
        database_url=database_url,
        accounts_query=QUERY,
        accounts_dir=empty_place / "secrets",
        tmc_app_key="4",
        tmc_app_secret="settings",
    )
    with open_accounts(settings) as accounts:
        assert accounts.credential("file") == Credential("3", "file"), "the names of the file are looked up already"
        accounts.refresh(NAMES)
        assert [accounts.credential(name) for name in NAMES] == [
            Credential("4", "settings"),
            Credential("1", "query"),
            Credential("2", "folder"),
            Credential("3", "file"),
        ]


def test_without_another_source_the_default_account_is_required(empty_place: Path) -> None:
    with pytest.raises(ConfigurationError, match="RELAY_TMC_APP_KEY and RELAY_TMC_APP_SECRET"), open_accounts(load()):
        pass
    with open_accounts(load(producer="stdout")) as accounts:
        assert accounts.credential("default") is None
    (empty_place / "relay.toml").write_text("batch_size = 7")
    with pytest.raises(ConfigurationError, match="RELAY_TMC_APP_KEY"), open_accounts(load()):
        pass


def test_with_another_source_it_is_not_but_half_of_it_is_a_mistake(empty_place: Path) -> None:
    write_file(empty_place / "relay.toml", "file")
    with open_accounts(load()) as accounts:
        assert accounts.identity("file") == ("3", Credential("3", "file").fingerprint)
        assert accounts.credential("default") is None
    with open_accounts(load(tmc_app_key="4")) as accounts:
        assert accounts.identity("file") is not None
        said = "The account default needs RELAY_TMC_APP_SECRET beside RELAY_TMC_APP_KEY."
        assert (accounts.lost("default"), accounts.trouble) == (said, said)


def test_accounts_of_no_use_stop_the_start_only_where_there_is_no_other(empty_place: Path) -> None:
    toml, folder = empty_place / "relay.toml", empty_place / "secrets"
    toml.write_text("".join(f'[accounts.half-{n:02}]\napp_key = "{n}"\n' for n in range(12)))
    toml.chmod(0o600)

    def refused(**settings: object) -> list[str]:
        with pytest.raises(ConfigurationError) as caught, open_accounts(load(**settings)):
            pass
        assert caught.value.exit_code == 78
        return str(caught.value).splitlines()

    assert refused()[:10] == [f"relay.toml: [accounts.half-{n:02}] has no app_secret" for n in range(10)]
    assert refused()[10:] == ["and 2 more accounts of no use"]
    whole = {"tmc_app_key": "4", "tmc_app_secret": "s"}
    for settings in (whole, {"producer": "stdout"}):
        with open_accounts(load(**settings)) as accounts:
            assert accounts.lost("default") is None
            assert accounts.lost("half-03") == "relay.toml: [accounts.half-03] has no app_secret"
    assert refused(producer="stdout", tmc_app_secret="s")[0].startswith("The account default needs RELAY_TMC_APP_KEY")
    (folder / "default").mkdir(parents=True)
    with open_accounts(load(accounts_dir=folder)) as accounts:
        assert accounts.credential("default") is None, "the folder may have others any moment"
    (folder / "default" / "app_key").write_text("1")
    assert "RELAY_ACCOUNTS_DIR: default has no app_secret" in refused(accounts_dir=folder)
    write_folder(folder, "whole")
    with open_accounts(load(accounts_dir=folder)) as accounts:
        assert accounts.lost("default") == "RELAY_ACCOUNTS_DIR: default has no app_secret"
        assert accounts.credential("whole") == Credential("2", "folder")


def test_a_check_names_every_account_of_no_use(
    empty_place: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RELAY_DATABASE_URL", database_url)
    monkeypatch.setenv("RELAY_ACCOUNTS_DIR", str(empty_place / "secrets"))
    write_folder(empty_place / "secrets", "default", "z")
    (empty_place / "secrets" / "z" / "app_key").unlink()

    def told(halves: int) -> list[tuple[str, str]]:
        text = "".join(f'[accounts.half-{n:02}]\napp_key = "{n}"\n' for n in range(halves))
        (empty_place / "relay.toml").write_text(text)
        result = CliRunner().invoke(command, ["check", "--no-platform", "--json"])
        assert result.exit_code == 1
        found = json.loads(result.stdout)["facts"]
        assert all(fact["hint"] for fact in found if fact["state"] == "fail")
        return [(fact["state"], fact["sentence"]) for fact in found if fact["name"] == "accounts"]

    half = ("fail", "relay.toml: [accounts.half-{:02}] has no app_secret")
    whole, of_folder = ("ok", "default has credentials"), ("fail", "RELAY_ACCOUNTS_DIR: z has no app_key")
    assert told(2)[0] == whole
    assert sorted(told(2)[1:]) == sorted([of_folder, *((half[0], half[1].format(n)) for n in range(2))])
    many = told(20)
    assert (len(many), many[-1]) == (12, ("fail", "and 11 more accounts of no use"))
    assert len(set(many)) == 12


def test_half_an_account_holds_up_its_own_messages_alone(
    start_relay: StartRelay, engine: Engine, database_url: str, empty_place: Path
) -> None:
    file = empty_place / "of_accounts.toml"
    file.write_text('[accounts.half]\napp_key = "77"\n[accounts."half "]\napp_key = "78"\n')
    said = f"{file}: [accounts.half] has no app_secret"
    with engine.begin() as connection:
        for account in ("half", "default"):
            relay.add(connection, "taobao_jds_TradeTrace", {"tid": 1}, account=account)
    environment = {"RELAY_DATABASE_URL": database_url, "RELAY_METRICS_PORT": "0", "RELAY_CONFIG": str(file)}
    environment["RELAY_PRODUCER"] = "stdout"  # which needs no credentials of the account default
    worker = start_relay("run", "--drain", env=environment)
    assert worker.wait() == 78, worker.report()
    with engine.connect() as connection:
        found = connection.execute(text("select account, status from relay.outbox order by account"))
        assert [tuple(row) for row in found] == [("default", "done"), ("half", "pending")]
    (troubled,) = [line for line in worker.stderr if "accounts.troubled" in line]
    assert said in troubled
    assert "white space around the name of an account" in troubled
    assert f"account:half is paused: nothing can be sent for the account 'half': {said}" in worker.stderr[-2]
    alone = start_relay("run", "--drain", env={**environment, "RELAY_PRODUCER": "tmc"})
    assert alone.wait() == 78, alone.report()
    assert f"error: {said}" in alone.stderr


def test_files_with_secrets_that_others_may_read_are_warned_of(
    empty_place: Path, monkeypatch: pytest.MonkeyPatch, database_url: str
) -> None:
    write_file(empty_place / "relay.toml", "file")
    (empty_place / "url").write_text(database_url)
    monkeypatch.setenv("RELAY_DATABASE_URL_FILE", str(empty_place / "url"))
    monkeypatch.setenv("RELAY_ACCOUNTS_DIR", str(empty_place / "accounts"))
    files = [empty_place / "url", Path("relay.toml")]
    write_folder(empty_place / "accounts", "a", "b", "..data")
    files += [empty_place / "accounts" / account / "app_secret" for account in ("a", "b", "..data")]
    for file in files:
        file.chmod(0o600)
    assert exposed(load()) == []
    for file in files:
        file.chmod(0o644)
    told = exposed(load())
    assert [line.partition(" contains")[0] for line in told[:2]] == [str(file) for file in files[:2]]
    assert told[0].endswith("contains secrets and can be read by everyone; run: chmod go-r on it")
    assert told[3:] == ["so can 1 more file with secrets"]
    found = json.loads(CliRunner().invoke(command, ["check", "--no-platform", "--json"]).stdout)
    assert [fact["state"] for fact in found["facts"] if fact["name"] == "settings"] == ["ok"] + ["warn"] * 4


def test_the_way_to_a_database_of_their_own_is_looked_at(
    empty_place: Path, engine: Engine, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_table(engine, "default")
    for name, value in {
        "DATABASE_URL": database_url,
        "ACCOUNTS_DATABASE_URL": database_url,
        "ACCOUNTS_QUERY": QUERY,
    }.items():
        monkeypatch.setenv(f"RELAY_{name}", value)

    def told() -> list[tuple[str, str]]:
        found = json.loads(CliRunner().invoke(command, ["check", "--no-platform", "--json"]).stdout)["facts"]
        return [(fact["state"], fact["sentence"][:30]) for fact in found if fact["name"] == "accounts"]

    assert told() == [("ok", "default has credentials")]
    monkeypatch.setattr(way, "_way", lambda _: ("10.1.2.3", False, "prefer"))
    assert told()[1:] == [("warn", "the connection to 10.1.2.3 is ")]


def test_sources_that_cannot_answer_stop_the_start(empty_place: Path, database_url: str) -> None:
    flags = {"database_url": database_url, "accounts_query": QUERY}
    with pytest.raises(ConfigurationError, match='relation "shop" does not exist'), open_accounts(load(**flags)):
        pass
    elsewhere = "postgresql://u:s3cret@127.0.0.1:1/shops"
    settings = load(**flags, accounts_database_url=elsewhere)
    with pytest.raises(UnreachableError) as caught, open_accounts(settings):
        pass
    assert str(caught.value).startswith("RELAY_ACCOUNTS_QUERY cannot reach PostgreSQL at 127.0.0.1:1/shops: ")
    assert "s3cret" not in str(caught.value)


def test_the_names_of_accounts_may_have_any_letters(
    engine: Engine, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_table(engine, "向阳")
    monkeypatch.setenv("PGCLIENTENCODING", "latin1")
    with open_accounts(load(database_url=database_url, accounts_query=QUERY)) as accounts:
        accounts.refresh(["向阳"])
        assert accounts.credential("向阳") == Credential("1", "query")


def test_a_run_produces_with_the_session_of_the_table(
    start_relay: StartRelay, engine: Engine, database_url: str
) -> None:
    sandbox = start_relay("sandbox", "--port", "0")
    said = {
        name: sandbox.wait_for_line(rf"^export RELAY_TMC_{name}=(\S+)$", "stdout")[1]
        for name in ("URL", "APP_KEY", "APP_SECRET", "SESSION")
    }
    write_table(engine)
    with engine.begin() as connection:
        insert = text("insert into shop values ('sunflower', :APP_KEY, :APP_SECRET, :SESSION)")
        connection.execute(insert, {name: said[name] for name in ("APP_KEY", "APP_SECRET", "SESSION")})
        relay.add(connection, "taobao_jds_TradeTrace", {"tid": 1}, account="sunflower")
    environment = {
        "RELAY_DATABASE_URL": database_url,
        "RELAY_TMC_URL": said["URL"],
        "RELAY_ACCOUNTS_QUERY": QUERY,
        "RELAY_METRICS_PORT": "0",
    }
    worker = start_relay("run", "--drain", env=environment)
    assert worker.wait() == 0, worker.report()
    with engine.connect() as connection:
        assert connection.scalar(text("select status from relay.outbox")) == "done"
    assert not any(said["SESSION"] in line or said["APP_SECRET"] in line for line in worker.stdout + worker.stderr)
