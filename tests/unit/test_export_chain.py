"""Exports in one folder are a chain: one that was taken away, exchanged or put in shows, and which was written last."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from relay.exports.chain import is_of_exports, last_beside, verify_all
from relay.exports.folder import new_export
from relay.exports.manifest import MANIFEST, sha256_of, sums
from tests.unit.test_export_lines import a_manifest

DAYS = ["11-11", "11-12", "11-13"]


def write(folder: Path, days: int, previous: Path | None, database: str | None = None) -> Path:
    """An export without files, this many days after the first one; the path of its manifest."""
    named = sha256_of(previous.read_bytes()) if previous else None
    with new_export(folder) as drafts:
        manifest = a_manifest(named)
        manifest = replace(
            manifest,
            files=(),
            database=database or manifest.database,
            snapshot_at=manifest.snapshot_at + timedelta(days=days),
        )
        drafts.publish(sums({MANIFEST: sha256_of(manifest.dumped())}), manifest.dumped())
    return folder / MANIFEST


def chain(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    previous = None
    for number, day in enumerate(DAYS):
        previous = write(folder / day, number, previous)


def remove(day: str) -> Callable[[Path], None]:
    return lambda folder: shutil.rmtree(folder / day)


def exchange(folder: Path) -> None:
    """Written anew as a whole, so that it fits in itself."""
    shutil.rmtree(folder / DAYS[1])
    write(folder / DAYS[1], 1, folder / DAYS[0] / MANIFEST).touch()
    data = (folder / DAYS[1] / MANIFEST).read_bytes().replace(b'"db_user": "', b'"db_user": "x')
    (folder / DAYS[1] / MANIFEST).write_bytes(data)
    (folder / DAYS[1] / "SHA256SUMS").write_bytes(sums({MANIFEST: sha256_of(data)}))


BROKEN: dict[str, tuple[Callable[[Path], None], str]] = {
    "the first is gone": (remove(DAYS[0]), f"{DAYS[1]}/{MANIFEST}: follows an export that is not here"),
    "one between is gone": (remove(DAYS[1]), f"{DAYS[2]}/{MANIFEST}: follows an export that is not here"),
    "one was exchanged": (exchange, f"{DAYS[2]}/{MANIFEST}: follows an export that is not here"),
    "one was put in": (
        lambda folder: write(folder / "11-14", 4, None) and None,
        f"11-14/{MANIFEST}: follows no export, though {DAYS[2]} was written before",
    ),
    "one was damaged": (
        lambda folder: (folder / DAYS[1] / "SHA256SUMS").unlink(),
        f"{DAYS[1]}/SHA256SUMS: has other hashes",
    ),
    "a manifest is none": (
        lambda folder: (folder / DAYS[1] / MANIFEST).write_bytes(b"{}") and None,
        f"{DAYS[1]}/{MANIFEST}: is no manifest",
    ),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_chain_tells_which_link_is_broken(tmp_path: Path, how: str) -> None:
    chain(tmp_path)
    assert verify_all(tmp_path, None).problems == ()
    tamper, said = BROKEN[how]
    tamper(tmp_path)
    assert any(f"{problem.file}: {problem.what}".startswith(said) for problem in verify_all(tmp_path, None).problems)


def test_older_exports_may_be_kept_elsewhere(tmp_path: Path) -> None:
    chain(tmp_path / "new")
    (tmp_path / "new" / DAYS[0]).rename(tmp_path / "old")
    assert verify_all(tmp_path / "new", None).problems != ()
    found = verify_all(tmp_path / "new", tmp_path / "old" / MANIFEST)
    assert found.problems == ()
    assert [link.folder.name for link in found.links] == DAYS[1:]


def test_exports_of_other_tables_are_other_chains(tmp_path: Path) -> None:
    chain(tmp_path)
    other = write(tmp_path / "other", 9, None, database="other")
    assert verify_all(tmp_path, None).problems == ()
    of = a_manifest()
    assert last_beside(tmp_path / "new", of.database, of.schema) == tmp_path / DAYS[2] / MANIFEST
    assert last_beside(tmp_path / "new", "other", of.schema) == other
    assert last_beside(tmp_path / "new", "third", of.schema) is None
    assert is_of_exports(tmp_path)
    assert not is_of_exports(tmp_path / DAYS[0])
