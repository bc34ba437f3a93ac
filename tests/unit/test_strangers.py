"""Settings of a stranger are not obeyed: a file that others may write, or that somebody else left where we start."""

from __future__ import annotations

import grp
import os
import pwd
from pathlib import Path

import pytest

from relay import strangers
from relay.errors import ConfigurationError
from relay.settings import load
from relay.strangers import readers, stranger

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


@pytest.mark.parametrize(
    ("mode", "group", "expected"),
    [
        (0o600, "staff", None),
        (0o604, "staff", "everyone"),
        (0o644, "ann", "everyone"),
        (0o640, "staff", "the group staff"),
        (0o640, "ann", None),
    ],
)
def test_who_else_may_read_a_secret(
    file: Path, monkeypatch: pytest.MonkeyPatch, mode: int, group: str, expected: str | None
) -> None:
    monkeypatch.setattr(grp, "getgrgid", lambda _: grp.struct_group((group, "x", 7, [])))
    monkeypatch.setattr(pwd, "getpwuid", lambda _: pwd.struct_passwd(("ann", "x", 7, 7, "", "/", "/bin/sh")))
    file.chmod(mode)
    assert readers(file) == expected
    assert readers(Path("nowhere")) is None


def test_a_group_without_a_name_is_ours_if_it_is_that_of_this_process(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container has users and groups that nobody has written down."""

    def unknown(_: int) -> grp.struct_group:
        raise KeyError

    monkeypatch.setattr(grp, "getgrgid", unknown)
    file.chmod(0o640)
    monkeypatch.setattr(os, "getegid", lambda: file.stat().st_gid)
    assert readers(file) is None
    monkeypatch.setattr(os, "getegid", lambda: file.stat().st_gid + 1)
    assert readers(file) == f"the group {file.stat().st_gid}"


@pytest.mark.parametrize(
    ("kind", "read_only", "expected"), [("tmpfs", True, None), ("tmpfs", False, "everyone"), ("ext4", True, "everyone")]
)
def test_a_secret_that_a_container_mounts_is_nobody_elses(
    file: Path, monkeypatch: pytest.MonkeyPatch, kind: str, read_only: bool, expected: str | None
) -> None:
    device = file.stat().st_dev
    mount = f"36 35 {os.major(device)}:{os.minor(device)} / /run/secrets ro,relatime - {kind} {kind} rw"
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: f"22 1 0:0 / / rw - overlay overlay rw\n{mount}\n")
    found = os.statvfs(file)
    flags = os.ST_RDONLY if read_only else 0
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result((*found[:8], flags, found[9])))
    assert readers(file) == expected
