"""Is an export what it was when it was written? Needs the folder and no database.

Every hash, size and number of rows is taken again. What this cannot see is a folder in which everything was written
anew, manifest included: that is what its hash, kept elsewhere, and the chain of manifests are for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from relay.errors import RelayError
from relay.exports.folder import told_disk_errors
from relay.exports.lines import FORMATS
from relay.exports.manifest import MANIFEST, SUMS, NoManifest, loaded, sha256_of, sums


@dataclass(frozen=True, slots=True)
class Problem:
    """What does not fit, and how."""

    file: str
    what: str


@dataclass(frozen=True, slots=True)
class Verification:
    """``previous`` is the hash that the manifest names, whether it was compared or not."""

    sha256: str
    previous: str | None
    problems: tuple[Problem, ...]


def verify(folder: Path, preceding: Path | None) -> Verification:
    """Compare the files with the manifest, and its link with the preceding manifest. Raises RelayError: no export."""
    with told_disk_errors(folder):
        if not (folder / MANIFEST).exists():
            raise RelayError(f"{folder} has no {MANIFEST}: no export was finished here.", "Run the export again.")
        data = (folder / MANIFEST).read_bytes()
        try:
            manifest = loaded(data, MANIFEST)
            problems = [*_problems(folder, manifest, sha256_of(data))]
            previous = manifest["previous"]
        except (NoManifest, KeyError, TypeError, AttributeError):
            return Verification(sha256_of(data), None, (Problem(MANIFEST, "is no manifest of an export"),))
        if preceding is not None and previous != sha256_of(preceding.read_bytes()):
            problems.append(Problem(MANIFEST, f"follows another manifest than {preceding}"))
    return Verification(sha256_of(data), previous, tuple(problems))


def _problems(folder: Path, manifest: dict[str, Any], sha256: str) -> Iterator[Problem]:
    hashes = {}
    for listed in manifest["files"]:
        name = listed["name"]
        hashes[name] = listed["sha256"]
        if name != Path(name).name:
            yield Problem(MANIFEST, "names a file of another folder")
        elif not (folder / name).is_file():
            yield Problem(name, "is missing")
        elif what := _difference(folder / name, manifest["format"], listed):
            yield Problem(name, what)
    path = folder / SUMS
    if not path.is_file() or path.read_bytes() != sums({**hashes, MANIFEST: sha256}):
        yield Problem(SUMS, "has other hashes than the manifest")


def _difference(path: Path, form: str, listed: dict[str, Any]) -> str:
    """The first thing that is not as listed; empty if all is."""
    with open(path, "rb") as file:
        measured = _Measured(file)
        rows = FORMATS[form].count(measured)
    if measured.size != listed["bytes"]:
        return f"has {measured.size:,} bytes, not {listed['bytes']:,}"
    if measured.sha256 != listed["sha256"]:
        return "has another SHA-256"
    return "" if rows == listed["rows"] else f"has {rows:,} rows, not {listed['rows']:,}"


class _Measured:
    """The lines of a file; when they have been read, its size and hash."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self.size = 0

    def __iter__(self) -> Iterator[bytes]:
        for line in self._file:
            self._hash.update(line)
            self.size += len(line)
            yield line

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()
