"""What a folder of secrets and the TOML file say, also while somebody is changing them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from relay.accounts import Accounts
from relay.accounts.directions import credential_of
from relay.accounts.sources import Folder, TomlFile
from relay.credential import Credential
from relay.errors import ConfigurationError

SECRET = "s3cret-do-not-show"


def account_folder(folder: Path, name: str, **parts: str) -> Path:
    place = folder / name
    place.mkdir(parents=True)
    for part, value in parts.items():
        (place / part).write_text(value)
    return place


def table(name: str, app_key: str, app_secret: str = SECRET, session: str = "") -> str:
    return f'[accounts.{name}]\napp_key = "{app_key}"\napp_secret = "{app_secret}"\nsession = "{session}"\n'


def test_a_folder_holds_a_file_for_each_part(tmp_path: Path) -> None:
    account_folder(tmp_path, "one", app_key="1\n", app_secret="a\r\n", session="s\n")
    account_folder(tmp_path, "two", app_key="2", app_secret="b")
    assert Folder(tmp_path).look_up(["one", "two", "three"]) == {
        "one": Credential("1", "a", "s"),
        "two": Credential("2", "b"),
    }


def test_secrets_are_seen_through_links_as_they_are_mounted(tmp_path: Path) -> None:
    account_folder(tmp_path, "one/..2026", app_key="1", app_secret="a")
    account_folder(tmp_path, "one/..2027", app_key="1", app_secret="b")
    (tmp_path / "one" / "..data").symlink_to("..2026")
    for part in ("app_key", "app_secret"):
        (tmp_path / "one" / part).symlink_to(f"..data/{part}")
    folder = Folder(tmp_path)
    assert folder.look_up(["one"]) == {"one": Credential("1", "a")}
    (tmp_path / "one" / "new").symlink_to("..2027")
    (tmp_path / "one" / "new").replace(tmp_path / "one" / "..data")
    assert folder.look_up(["one"]) == {"one": Credential("1", "b")}


@pytest.mark.parametrize(
    "name", ["..", "../outside", "inside/deeper", "/etc", ".hidden", "a..b", ".", "", "x" * 5000, "file", "a\0b"]
)
def test_no_name_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    for place in ("outside", "folder/inside/deeper", "folder/.hidden", "folder/a..b", "folder"):
        place_of = tmp_path / place
        place_of.mkdir(parents=True, exist_ok=True)
        for part in ("app_key", "app_secret"):
            (place_of / part).write_text("1")
    (tmp_path / "folder" / "file").write_text("no folder")
    assert Folder(tmp_path / "folder").look_up([name]) == {}


def test_half_an_account_is_told_and_stops_no_other(tmp_path: Path) -> None:
    account_folder(tmp_path, "half", app_secret=SECRET)
    account_folder(tmp_path, "binary", app_key="1", app_secret="a").joinpath("app_key").write_bytes(b"\xff")
    account_folder(tmp_path, "one", app_key="1", app_secret="a")
    (account_folder(tmp_path, "odd") / "app_key").mkdir()
    found = Folder(tmp_path).look_up(["half", "binary", "odd", "one"])
    assert found["one"] == Credential("1", "a")
    assert {name: str(error) for name, error in found.items() if name != "one"} == {
        "half": "RELAY_ACCOUNTS_DIR: half has no app_key",
        "binary": f"RELAY_ACCOUNTS_DIR: {tmp_path}/binary/app_key is not UTF-8 text",
        "odd": f"RELAY_ACCOUNTS_DIR: {tmp_path}/odd/app_key cannot be read: Is a directory",
    }


def test_half_an_account_of_the_file_is_told_and_stops_no_other(tmp_path: Path) -> None:
    path = tmp_path / "relay.toml"
    path.write_text(
        f'[accounts.a]\napp_secret = "{SECRET}"\n[accounts.d]\nproducer = ["{SECRET}"]\n'
        f'[accounts.b]\napp_key = ["{SECRET}"]\napp_secret = ""\n[accounts.c]\napp_key = 1\napp_secret = true\n'
        f'[accounts.e]\napp_key = "\u2018"\napp_secret = "{SECRET}"\n{table("one", "1")}'
    )
    source = TomlFile(path)
    found = source.look_up(source.names())
    assert found["one"] == Credential("1", SECRET)
    assert {name: str(error) for name, error in found.items() if name != "one"} == {
        "a": f"{path}: [accounts.a] has no app_key",
        "b": f"{path}: [accounts.b]: app_key must be text, not list",
        "c": f"{path}: [accounts.c]: app_secret must be text, not bool",
        "d": f"{path}: [accounts.d]: producer must be text, not list",
        "e": f"{path}: [accounts.e]: app_key contains a character that is not ASCII (character 1): "
        "only printable ASCII is possible",
    }


@pytest.mark.parametrize("name", [" shop", "shop ", "\u3000shop", "\ufeffshop", "shop\u00a0"])
def test_white_space_around_a_name_is_refused_with_its_place(tmp_path: Path, name: str) -> None:
    path, folder = tmp_path / "relay.toml", tmp_path / "secrets"
    path.write_text(table(f'"{name}"', "1") + table('"my shop"', "2"))
    account_folder(folder, name, app_key="1", app_secret="a")
    account_folder(folder, "my shop", app_key="2", app_secret=SECRET)
    for source, where in ((TomlFile(path), f'{path}: [accounts."{name}"]'), (Folder(folder), "RELAY_ACCOUNTS_DIR: ")):
        assert source.names() == sorted([name, "my shop"], key=source.names().index)
        found = source.look_up(source.names())
        assert found["my shop"] == Credential("2", SECRET), "inside it is a part of the name"
        assert str(found[name]).startswith(where)
        assert str(found[name]).endswith(": white space around the name of an account")


def test_an_account_without_a_name_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "relay.toml"
    path.write_text(table('""', "1"))
    assert str(TomlFile(path).look_up([""])[""]) == f'{path}: [accounts.""]: no name of an account'


def test_a_folder_that_is_not_there_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"RELAY_ACCOUNTS_DIR: cannot read .*nowhere: No such file"):
        Accounts([Folder(tmp_path / "nowhere")]).check()


def test_the_file_is_read_again_once_it_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "relay.toml"
    path.write_text(table("one", "1") + table("two", "2"))
    source = TomlFile(path)
    assert source.look_up(["one", "three"]) == {"one": Credential("1", SECRET)}
    assert source.names() == ["one", "two"]
    path.write_text(table("one", "1", session="renewed"))
    assert source.look_up(["one", "two"]) == {"one": Credential("1", SECRET, "renewed")}


def test_a_file_of_the_same_age_and_size_is_another_one(tmp_path: Path) -> None:
    path, other = tmp_path / "relay.toml", tmp_path / "other.toml"
    path.write_text(table("one", "1"))
    other.write_text(table("one", "2"))
    for each in (path, other):
        os.utime(each, ns=(10**18, 10**18))
    source = TomlFile(path)
    assert source.look_up(["one"]) == {"one": Credential("1", SECRET)}
    other.replace(path)
    assert source.look_up(["one"]) == {"one": Credential("2", SECRET)}


@pytest.mark.parametrize("broken", [f'[accounts.one]\napp_secret = "{SECRET}', table("one", ""), "accounts = 1\x00"])
def test_a_broken_file_keeps_what_was_read(tmp_path: Path, broken: str) -> None:
    path = tmp_path / "relay.toml"
    path.write_text(table("one", "1"))
    accounts = Accounts([TomlFile(path)], fresh_seconds=0)
    accounts.refresh(["one"])
    path.write_text(broken)
    accounts.refresh(["one"])
    assert accounts.credential("one") == Credential("1", SECRET)
    assert accounts.trouble is not None
    assert SECRET not in accounts.trouble
    assert accounts.trouble.startswith(f"{path}")
    path.unlink()
    accounts.refresh(["one"])
    assert accounts.credential("one") == Credential("1", SECRET)
    assert str(accounts.trouble).startswith(f"{path}: No such file or directory")
    path.write_text(table("one", "3"))
    accounts.refresh(["one"])
    assert accounts.credential("one") == Credential("3", SECRET)
    assert accounts.trouble is None


@pytest.mark.parametrize(
    ("parts", "problem"),
    [
        ({}, "shop has no app_key and no app_secret"),
        ({"app_key": " \n", "app_secret": SECRET}, "shop has no app_key"),
        ({"app_key": 7, "app_secret": SECRET.encode()}, "shop: app_secret must be text, not bytes"),
        ({"app_key": True, "app_secret": SECRET}, "shop: app_key must be text, not bool"),
    ],
)
def test_a_credential_needs_a_key_and_a_secret(parts: dict[str, object], problem: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        credential_of(parts, "shop")
    assert str(caught.value) == problem


def test_numbers_are_texts_and_an_empty_session_is_none() -> None:
    assert credential_of({"app_key": 7, "app_secret": " x ", "session": ""}, "shop") == Credential("7", "x")
