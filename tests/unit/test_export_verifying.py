"""Files of an export on the disk: named at the very end, never twice, and whether they are still what they were."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from relay.errors import RelayError
from relay.exports import folder as folder_of_exports
from relay.exports.folder import new_export
from relay.exports.manifest import MANIFEST, SUMS, WrittenFile, sha256_of, sums
from relay.exports.verifying import Problem, verify
from tests.unit.test_export_lines import a_manifest

CALLS, ACTIONS = "audit_call.csv", "audit_action.csv"
ROWS = {CALLS: b"id\r\n1\r\n2\r\n", ACTIONS: b'id,reason\r\n1,"why\r\nnot"\r\n'}


def write(folder: Path, previous: str | None = None) -> Path:
    """An export of two files; the path of its manifest."""
    folder.mkdir(exist_ok=True)
    with new_export(folder) as drafts:
        files = []
        for name, data in ROWS.items():
            with drafts.new(name) as draft:
                draft.write(data)
            rows = 2 if name == CALLS else 1
            columns = ("id",)
            files.append(
                WrittenFile(name, name, None, columns, rows, draft.size, draft.sha256, first_id=1, last_id=2, late=0)
            )
        data = replace(a_manifest(previous), files=tuple(files)).dumped()
        drafts.publish(sums({**{file.name: file.sha256 for file in files}, MANIFEST: sha256_of(data)}), data)
    return folder / MANIFEST


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_bytes().decode()
    assert old in text
    path.write_bytes(text.replace(old, new, 1).encode())


def change(name: str, old: str, new: str) -> Callable[[Path], None]:
    return lambda folder: edit(folder / name, old, new)


def rewrite(old: str, new: str) -> Callable[[Path], None]:
    """The manifest, and the sums so that they fit it."""

    def tamper(folder: Path) -> None:
        before = sha256_of((folder / MANIFEST).read_bytes())
        edit(folder / MANIFEST, old, new)
        edit(folder / SUMS, before, sha256_of((folder / MANIFEST).read_bytes()))

    return tamper


TAMPERED = {
    "a byte": (change(CALLS, "2", "3"), Problem(CALLS, "has another SHA-256")),
    "a row more": (change(CALLS, "2\r\n", "2\r\n3\r\n"), Problem(CALLS, "has 13 bytes, not 10")),
    "a file less": (lambda folder: (folder / ACTIONS).unlink(), Problem(ACTIONS, "is missing")),
    "the number of rows": (rewrite('"rows": 2', '"rows": 1'), Problem(CALLS, "has 2 rows, not 1")),
    "the manifest": (change(MANIFEST, "ann", "bob"), Problem(SUMS, "has other hashes than the manifest")),
    "the sums": (lambda folder: (folder / SUMS).unlink(), Problem(SUMS, "has other hashes than the manifest")),
    "a way out": (rewrite(CALLS, f"../{CALLS}"), Problem(MANIFEST, "names a file of another folder")),
    "no files": (rewrite('"files"', '"Files"'), Problem(MANIFEST, "is no manifest of an export")),
    "no object": (change(MANIFEST, "{", "["), Problem(MANIFEST, "is no manifest of an export")),
    "a format": (rewrite('"csv"', '"xls"'), Problem(MANIFEST, "is no manifest of an export")),
}


def test_what_was_written_fits(tmp_path: Path) -> None:
    manifest = write(tmp_path)
    found = verify(tmp_path, None)
    assert (found.problems, found.sha256) == ((), sha256_of(manifest.read_bytes()))
    assert {path.name for path in tmp_path.iterdir()} == {*ROWS, SUMS, MANIFEST}
    assert {name: (tmp_path / name).read_bytes() for name in ROWS} == ROWS


@pytest.mark.parametrize("how", TAMPERED)
def test_what_was_changed_is_named(tmp_path: Path, how: str) -> None:
    tamper, problem = TAMPERED[how]
    write(tmp_path)
    tamper(tmp_path)
    assert problem in verify(tmp_path, None).problems


def test_a_chain_fits_until_a_link_is_written_anew(tmp_path: Path) -> None:
    first = write(tmp_path / "1")
    second = write(tmp_path / "2", previous=sha256_of(first.read_bytes()))
    third = write(tmp_path / "3", previous=sha256_of(second.read_bytes()))
    assert verify(third.parent, second).problems == ()
    rewrite("ann", "bob")(second.parent)
    assert verify(second.parent, first).problems == (), "whoever writes a whole export anew goes unseen by itself"
    (problem,) = verify(third.parent, second).problems
    assert problem == Problem(MANIFEST, f"follows another manifest than {second}")
    assert verify(second.parent, third).problems != ()


def test_a_manifest_of_a_newer_relay_is_not_judged(tmp_path: Path) -> None:
    write(tmp_path)
    rewrite('"format_version": 1', '"format_version": 2')(tmp_path)
    with pytest.raises(RelayError, match="format version 2") as error:
        verify(tmp_path, None)
    assert error.value.hint.startswith("Upgrade")


def test_a_folder_without_a_manifest_has_no_export(tmp_path: Path) -> None:
    with pytest.raises(RelayError, match="no export was finished here"):
        verify(tmp_path, None)


def test_evidence_is_not_overwritten(tmp_path: Path) -> None:
    before = write(tmp_path).read_bytes()
    with pytest.raises(RelayError, match="has an export already") as error:
        write(tmp_path)
    assert "name a new folder" in error.value.hint
    assert (tmp_path / MANIFEST).read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {*ROWS, SUMS, MANIFEST}


def test_an_export_that_fails_leaves_no_rows_and_may_be_repeated(tmp_path: Path) -> None:
    with pytest.raises(TypeError), new_export(tmp_path) as drafts, drafts.new(CALLS) as draft:
        draft.write(None)  # type: ignore[arg-type]
    assert [path.name for path in tmp_path.iterdir()] == [f"{MANIFEST}.partial"]
    write(tmp_path)
    assert verify(tmp_path, None).problems == ()


def test_two_exports_do_not_write_the_same_folder(tmp_path: Path) -> None:
    with new_export(tmp_path) as drafts, drafts.new(CALLS) as draft:
        with pytest.raises(RelayError, match="Another export is writing"):
            write(tmp_path)
        draft.write(b"id\r\n")
    assert not (tmp_path / MANIFEST).exists()


def test_only_who_made_an_export_reads_it_whatever_the_umask(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir(0o755)
    (tmp_path / "1" / f"{CALLS}.partial").touch(0o644)
    before = os.umask(0)
    try:
        for folder in ("1", "2"):
            with new_export(tmp_path / folder) as drafts, drafts.new(CALLS) as draft:
                assert {path.stat().st_mode & 0o777 for path in (tmp_path / folder).iterdir()} == {0o600}
                draft.write(b"id\r\n")
            write(tmp_path / folder)
            assert {path.stat().st_mode & 0o777 for path in (tmp_path / folder).iterdir()} == {0o600}
    finally:
        os.umask(before)
    assert (tmp_path / "2").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "1").stat().st_mode & 0o777 == 0o755, "what somebody made keeps its rights"


@pytest.mark.parametrize("name", ["missing/folder", "a-file"])
def test_a_folder_that_is_none_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "a-file").touch()
    with pytest.raises(RelayError, match=name) as error, new_export(tmp_path / name):
        pass
    assert bool(error.value.hint) == name.startswith("missing")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
def test_a_full_disk_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_of_exports, "_new", lambda _path: Path("/dev/full").open("wb"))  # noqa: SIM115
    with pytest.raises(RelayError, match=f"{tmp_path}.*No space left") as error:
        write(tmp_path)
    assert "/dev/full" not in str(error.value)
    assert not (tmp_path / MANIFEST).exists()
    monkeypatch.undo()
    write(tmp_path)
    assert json.loads((tmp_path / MANIFEST).read_bytes())["format_version"] == 1


def test_what_somebody_else_laid_into_the_folder_is_neither_followed_nor_shared(tmp_path: Path) -> None:
    """A link would lead each row, and the loss of what was there, elsewhere; an open file would be read along."""
    folder, target = tmp_path / "evidence", tmp_path / "target"
    folder.mkdir()
    target.write_text("kept")
    (folder / f"{CALLS}.partial").symlink_to(target)
    (folder / f"{SUMS}.partial").hardlink_to(target)
    write(folder)
    assert target.read_text() == "kept"
    assert not any(path.is_symlink() or path.stat().st_nlink > 1 for path in folder.iterdir())
    assert verify(folder, None).problems == ()


@pytest.mark.parametrize("how", ["link", "link to nothing", "hard link", "pipe"])
def test_a_file_to_lock_that_is_not_ours_alone_is_refused(tmp_path: Path, how: str) -> None:
    lock, target = tmp_path / f"{MANIFEST}.partial", tmp_path / "target"
    if how != "link to nothing":
        target.write_text("kept")
    if how == "pipe":
        os.mkfifo(lock)
    elif how == "hard link":
        lock.hardlink_to(target)
    else:
        lock.symlink_to(target)
    with pytest.raises(RelayError, match="is no file of ours") as error:
        write(tmp_path)
    assert "remove it" in error.value.hint
    assert how == "link to nothing" or target.read_text() == "kept"
    assert target.exists() == (how != "link to nothing")
