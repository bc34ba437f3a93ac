"""What people write into files and variables is made text or refused by one rule, wherever a secret may stand."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from relay.accounts.directions import credential_of
from relay.accounts.sources import Folder, TomlFile
from relay.credential import Credential
from relay.errors import ConfigurationError, RelayError
from relay.settings import load, read_accounts

SECRET = "s3cretdonotshow"

# Everything that holds an app secret; each takes the bytes as they would stand in a file, and says where they are.
Place = Callable[[Path, bytes, pytest.MonkeyPatch], str]


def secret_file(folder: Path, data: bytes, patch: pytest.MonkeyPatch) -> str:
    path = folder / "secret"
    path.write_bytes(data)
    patch.setenv("RELAY_TMC_APP_SECRET_FILE", str(path))
    settings = load(tmc_app_key="1")
    return settings.default_credential(needed=True)[1]  # type: ignore[index]


def folder_of_secrets(folder: Path, data: bytes, _: pytest.MonkeyPatch) -> str:
    (folder / "one").mkdir()
    (folder / "one" / "app_key").write_text("1")
    (folder / "one" / "app_secret").write_bytes(data)
    found = Folder(folder).look_up(["one"])["one"]
    if isinstance(found, RelayError):
        raise found
    return found.app_secret


def variable(_: Path, data: bytes, patch: pytest.MonkeyPatch) -> str:
    patch.setenv("RELAY_TMC_APP_SECRET", data.decode())
    return load(tmc_app_key="1").default_credential(needed=True)[1]  # type: ignore[index]


def toml_account(folder: Path, data: bytes, _: pytest.MonkeyPatch) -> str:
    path = folder / "relay.toml"
    path.write_text(f'[accounts.one]\napp_key = "1"\napp_secret = {json.dumps(data.decode())}\n', encoding="utf-8")
    found = TomlFile(path).look_up(["one"])["one"]
    if isinstance(found, ConfigurationError):
        raise found
    assert isinstance(found, Credential)
    return found.app_secret


def row(_: Path, data: bytes, __: pytest.MonkeyPatch) -> str:
    return credential_of({"app_key": "1", "app_secret": data.decode()}, "the row").app_secret


FILES: list[Place] = [secret_file, folder_of_secrets]
TEXTS: list[Place] = [variable, toml_account, row]


@pytest.fixture(autouse=True)
def nothing_from_outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("RELAY_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("place", [*FILES, *TEXTS])
@pytest.mark.parametrize("around", ["{}\r\n", "\ufeff{}", " \ufeff {}\n\ufeff\n", "{}\r\n\r\n\t"])
def test_what_is_around_a_secret_is_no_part_of_it(
    place: Place, around: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert place(tmp_path, around.format(SECRET).encode(), monkeypatch) == SECRET


@pytest.mark.parametrize("place", [*FILES, *TEXTS])
@pytest.mark.parametrize(
    ("given", "said"),
    [
        (f'"{SECRET}"', "is in quotation marks"),
        (f"“{SECRET}”", "is in quotation marks"),
        (f"{SECRET}\u200b", "contains an invisible character, ZERO WIDTH SPACE (character 16)"),
        (f"{SECRET}\u00a0{SECRET}", "contains an invisible character, NO-BREAK SPACE (character 16)"),
        (f"{SECRET}\n{SECRET}", "contains a line end (character 16)"),
        (f"{SECRET}\x1b[0m", "contains a control character (character 16)"),
        (f"{SECRET}\uff11", "contains a character that is not ASCII (character 16)"),
    ],
)
def test_what_only_looks_like_a_secret_is_refused_wherever_it_stands(
    place: Place, given: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        place(tmp_path, given.encode(), monkeypatch)
    assert said in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("place", FILES)
@pytest.mark.parametrize(
    ("data", "said"),
    [
        (SECRET.encode("utf-16"), "is UTF-16 text: save it as UTF-8"),
        (SECRET.encode("utf-32"), "is UTF-32 text: save it as UTF-8"),
        (SECRET.encode("utf-16-le"), "contains a NUL character, as UTF-16 does: save it as UTF-8"),
        (f"{SECRET}é".encode("latin-1"), "is not UTF-8 text"),
        (b"", "is empty"),
        ("\ufeff\r\n".encode(), "is empty"),
    ],
)
def test_a_file_of_secrets_that_is_no_text_is_refused_by_its_name(
    place: Place, data: bytes, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigurationError, match="secret") as caught:
        place(tmp_path, data, monkeypatch)
    assert said in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert SECRET not in str(caught.value)


def test_a_session_that_is_just_being_written_is_no_account_without_a_session(tmp_path: Path) -> None:
    folder = tmp_path / "one"
    folder.mkdir()
    for name, value in {"app_key": "1", "app_secret": SECRET, "session": ""}.items():
        (folder / name).write_text(value)
    found = Folder(tmp_path).look_up(["one"])["one"]
    assert str(found) == f"RELAY_ACCOUNTS_DIR: {folder}/session is empty"


def test_the_toml_file_may_begin_with_a_mark_and_may_not_be_utf_16(tmp_path: Path) -> None:
    (tmp_path / "relay.toml").write_text("\ufeffbatch_size = 7\r\n", encoding="utf-8")
    assert load().batch_size == 7
    (tmp_path / "relay.toml").write_text("batch_size = 7", encoding="utf-16")
    with pytest.raises(ConfigurationError, match=r"^relay\.toml is UTF-16 text: save it as UTF-8\n"):
        load()


def test_a_url_and_a_query_from_a_file_may_be_any_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "url").write_text("\ufeffpostgresql://用户@h/d\r\n", encoding="utf-8")
    (tmp_path / "query").write_text("\ufeffselect 1\r\nwhere :account = '店'\r\n", encoding="utf-8")
    monkeypatch.setenv("RELAY_DATABASE_URL_FILE", "url")
    monkeypatch.setenv("RELAY_ACCOUNTS_QUERY_FILE", "query")
    settings = load()
    assert settings.database_url == "postgresql+psycopg://%E7%94%A8%E6%88%B7@h/d"
    assert settings.accounts_query == "select 1\r\nwhere :account = '店'"


def test_what_has_no_end_or_waits_for_a_writer_holds_up_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = tmp_path / "relay.toml"
    os.mkfifo(pipe, 0o600)
    for read in (load, lambda: read_accounts(pipe)):
        with pytest.raises(ConfigurationError, match=r"relay\.toml is no regular file"):
            read()
    pipe.unlink()
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "app_key").write_text("1")
    os.mkfifo(tmp_path / "one" / "app_secret")
    assert "app_secret is no regular file" in str(Folder(tmp_path).look_up(["one"])["one"])
    monkeypatch.setenv("RELAY_TMC_APP_SECRET_FILE", "/dev/zero")
    with pytest.raises(ConfigurationError, match=r"_FILE: /dev/zero has more than 65,536 bytes"):
        load()


def test_a_secret_may_come_through_a_pipe_of_the_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    """As ``RELAY_TMC_APP_SECRET_FILE=<(pass show shop)`` hands it over."""
    reading, writing = os.pipe()
    os.write(writing, f"{SECRET}\n".encode())
    os.close(writing)
    monkeypatch.setenv("RELAY_TMC_APP_SECRET_FILE", f"/dev/fd/{reading}")
    assert load(tmc_app_key="1").default_credential(needed=True)[1]  # type: ignore[index] == SECRET
    os.close(reading)
