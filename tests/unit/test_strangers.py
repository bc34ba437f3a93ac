"""Settings of a stranger are not obeyed: a file that others may write, or that somebody else left where we start."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from relay import strangers
from relay.errors import ConfigurationError
from relay.settings import load
from relay.strangers import stranger

NOBODY = 65534


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RELAY_CONFIG", raising=False)
    Path("relay.toml").write_text("batch_size = 7")
    Path("relay.toml").chmod(0o644)
    return Path("relay.toml")


def test_a_file_that_everybody_may_write_is_refused_with_a_sentence(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load().batch_size == 7
    file.chmod(0o666)
    with pytest.raises(ConfigurationError, match=r"relay\.toml can be written by everybody.*chmod"):
        load()
    monkeypatch.setenv("RELAY_CONFIG", str(file.absolute()))
    with pytest.raises(ConfigurationError, match="can be written by everybody"):
        load()


def test_a_file_of_somebody_else_is_obeyed_only_where_it_is_named(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    us = file.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: us + 1)
    if us != 0:  # root's own file is anybody's to read
        with pytest.raises(ConfigurationError, match=r"belongs to somebody else.*RELAY_CONFIG=relay\.toml"):
            load()
    else:
        os.chown(file, NOBODY, NOBODY)
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        with pytest.raises(ConfigurationError, match="belongs to somebody else"):
            load()
    monkeypatch.setenv("RELAY_CONFIG", str(file.absolute()))
    assert load().batch_size == 7


def test_what_a_container_mounts_is_obeyed(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ConfigMap: a link to a link to a file of root."""
    data = Path("..2026_11_26")
    data.mkdir()
    file.rename(data / "relay.toml")
    Path("..data").symlink_to(data)
    file.symlink_to(Path("..data") / "relay.toml")
    assert load().batch_size == 7
    file.chmod(0o666)  # of what it leads to
    assert stranger(file, named=False) is not None


def test_a_group_may_write_only_where_it_is_the_users_own(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.chmod(0o664)
    monkeypatch.setattr(strangers, "_private", lambda group_id, user_id: True)
    assert stranger(file, named=False) is None
    monkeypatch.setattr(strangers, "_private", lambda group_id, user_id: False)
    assert "can be written by a group" in (stranger(file, named=True) or "")
