"""Accounts that name their producer: what is understood, what is refused and how, and that nothing secret is told."""

from __future__ import annotations

import os
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from relay.accounts.sources import Folder
from relay.assembly.accounts import open_accounts
from relay.credential import Credential
from relay.errors import ConfigurationError
from relay.producers import GROUP
from relay.producers.stdout import StdoutProducer
from relay.producers.tmc import TmcProducer
from relay.settings import load, secret_files
from tests.unit.test_producer_options import LineProducer

SECRET = "s3cret-do-not-show"


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No setting comes from outside the test, and a producer of another package is installed."""
    for name in [name for name in os.environ if name.startswith("RELAY_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    points = metadata.EntryPoints([metadata.EntryPoint("line", f"{LineProducer.__module__}:LineProducer", GROUP)])
    monkeypatch.setattr("relay.producers.entry_points", lambda group: points)
    return tmp_path


def write(text: str) -> None:
    Path("relay.toml").write_text(text)
    Path("relay.toml").chmod(0o600)


def test_accounts_of_one_file_go_different_ways() -> None:
    write(
        "[producers.line]\nport = 7\nhost = 'common'\n"
        "[accounts.shop]\napp_key = 1\napp_secret = 'a'\n"
        "[accounts.print]\nproducer = 'stdout'\n"
        f"[accounts.a]\nproducer = 'line'\nhost = 'h'\nkey = '{SECRET}'\napp_key = 2\napp_secret = 'b'\n"
        f"[accounts.b]\nproducer = 'line'\nhost = 'h'\nkey = '{SECRET}'\n"
        "[accounts.c]\nproducer = 'line'\n"
    )
    with open_accounts(load()) as accounts:
        assert (accounts.trouble, accounts.route("shop"), accounts.route("nobody")) == (None, None, None)
        assert isinstance(accounts.route("print").producer, StdoutProducer)
        a, b, c = (accounts.route(name) for name in "abc")
        assert a is b, "with the same options they share one producer"
        assert a is not c
        given = [dict(route.producer.context.options) for route in (a, c)]
        assert [(told["host"], told["port"]) for told in given] == [("h", 7), ("common", 7)]
        assert a.producer.context.credentials("a") == Credential("2", "b")
        assert accounts.identity("a") == ("2", Credential("2", "b").fingerprint)
        assert accounts.identity("b") == ("", a.fingerprint), "no app key; another way has another fingerprint"
        assert a.fingerprint != c.fingerprint
        assert set(accounts.routed()) == {"print", "a", "b", "c"}
        assert SECRET not in repr(a) + repr(accounts.routed())


def test_what_nobody_knows_is_named_with_the_nearest_and_the_others_go_on() -> None:
    write(
        "[accounts.shop]\napp_key = 1\napp_secret = 'a'\n"
        "[accounts.a]\nproducer = 'stdot'\n"
        f"[accounts.b]\nproducer = 'line'\nhosts = '{SECRET}'\nprot = 1\n"
        f"[accounts.c]\napp_kye = '{SECRET}'\napp_secret = '{SECRET}'\n"
        f"[accounts.d]\nproducer = 'line'\nhost = '*'\nkey = '{SECRET}'\nport = 0\n"
        "[accounts.e]\nproducer = 'line'\nhost = 'h'\ntimeout_seconds = 60\n"
        "[accounts.f]\nproducer = 'tmc'\n"
        f"[accounts.g]\nproducer = 'line'\nhost = 'h'\napp_secret = '{SECRET}'\n"
    )
    with open_accounts(load()) as accounts:
        assert accounts.credential("shop") == Credential("1", "a")
        said = {name: accounts.lost(name) for name in "abcdefg"}
        assert all(accounts.identity(name) is None for name in said)
        assert accounts.trouble is not None
        assert accounts.trouble.endswith("(and 4 more)")
    where = "relay.toml: [accounts.{}]"
    assert said == {
        "a": f"{where.format('a')}: there is no producer 'stdot'; did you mean stdout?",
        "b": f"{where.format('b')}: hosts: unknown option of the producer line; did you mean host?\n"
        f"{where.format('b')}: prot: unknown option of the producer line; did you mean port?",
        "c": f"{where.format('c')}: app_kye: unknown option of the producer tmc; did you mean app_key?",
        "d": f"{where.format('d')}: port: must be between 1 and 65535, got 0",
        "e": f"RELAY_LEASE_SECONDS: must be at least 75 with {where.format('e')}: timeout_seconds 60, got 60",
        "f": f"{where.format('f')} has no app_key and no app_secret, which the producer tmc needs",
        "g": f"{where.format('g')} has no app_key",
    }
    assert SECRET not in str(said)


def test_the_account_default_of_no_use_stops_the_start() -> None:
    write("[accounts.default]\nproducer = 'stdot'\n")
    with pytest.raises(ConfigurationError, match="did you mean stdout"), open_accounts(load()):
        pass


def test_an_account_of_the_platform_has_options_of_its_own_under_the_same_rules() -> None:
    tables = "\n".join(
        f"[accounts.{name}]\napp_key = 1\napp_secret = 'a'\n{line}"
        for name, line in {
            "test": "url = 'https://test.example/router/rest'\nformat = 'xml'",
            "clear": f"url = 'http://u:{SECRET}@test.example/'",
            "odd": "format = 'yaml'",
        }.items()
    )
    write(f"[tmc]\nsign_method = 'md5'\n{tables}")
    with open_accounts(load()) as accounts:
        producer: Any = accounts.route("test").producer
        assert isinstance(producer, TmcProducer)
        told = dict(producer._options)
        assert (told["url"], told["format"], told["sign_method"]) == ("https://test.example/router/rest", "xml", "md5")
        clear, odd = accounts.lost("clear"), accounts.lost("odd")
    assert clear is not None
    assert clear.startswith("relay.toml: [accounts.clear]: url: must be https unless RELAY_TMC_ALLOW_HTTP=true")
    assert SECRET not in clear
    assert odd is not None
    assert odd.startswith("relay.toml: [accounts.odd]: format: must be")


def test_a_folder_has_a_file_for_each_option_beside_its_producer(tmp_path: Path) -> None:
    for name, files in {
        "a": {"producer": "line\n", "host": "名\n", "key": SECRET, ".hidden": "x"},
        "b": {"app_key": "1", "app_secret": "a", "README": "what this is"},
    }.items():
        (tmp_path / "secrets" / name).mkdir(parents=True)
        for file, text in files.items():
            (tmp_path / "secrets" / name / file).write_text(text)
    assert Folder(tmp_path / "secrets").look_up(["b"]) == {"b": Credential("1", "a")}
    with open_accounts(load(accounts_dir=tmp_path / "secrets")) as accounts:
        accounts.refresh(["a", "b"])
        assert dict(accounts.route("a").producer.context.options)["host"] == "名"
        assert accounts.route("b") is None


def test_a_way_that_is_corrected_or_broken_while_it_runs() -> None:
    write("[accounts.a]\nproducer = 'stdot'\n")
    with open_accounts(load(producer="stdout")) as accounts:
        assert accounts.lost("a")
        accounts.forget("a")
        write("[accounts.a]\nproducer = 'line'\nhost = 'h'\n")
        accounts.refresh(["a"])
        assert (accounts.lost("a"), accounts.trouble) == (None, None)
        route = accounts.route("a")
        accounts.forget("a")
        write("[accounts.a]\nproducer = 'line'\nhots = 'h'\n")
        accounts.refresh(["a"])
        assert accounts.route("a") is route, "what was said last is kept"
        assert accounts.trouble is not None
        assert accounts.lost("nobody") == "the account 'nobody' has not been looked up"
        accounts.refresh(["nobody"])
        assert accounts.lost("nobody") is None


def test_a_file_that_only_says_where_to_has_no_secrets() -> None:
    write("[accounts.a]\nproducer = 'stdout'\n")
    assert secret_files(Path("relay.toml")) == []
    write(f"[accounts.a]\nproducer = 'line'\nkey = '{SECRET}'\n")
    assert secret_files(Path("relay.toml")) == [Path("relay.toml")]
