"""The exports in one folder as links of a chain: each names the hash of the manifest of the one written before it.

To take an export away, or to put another one in its place, a forger has to write every later one anew as well. What no
chain shows is that its end is missing: for that, one keeps the last hash elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from relay.errors import RelayError
from relay.exports.folder import told_disk_errors
from relay.exports.manifest import MANIFEST, NoManifest, loaded, sha256_of
from relay.exports.verifying import Problem, verify


@dataclass(frozen=True, slots=True)
class Link:
    """``of`` is database and schema: exports of several may lie in one folder."""

    folder: Path
    of: tuple[str, str]
    written_at: datetime
    sha256: str
    previous: str | None


@dataclass(frozen=True, slots=True)
class ChainVerification:
    """``links`` in the order written. Names of files in ``problems`` begin with the folder of their export."""

    links: tuple[Link, ...]
    problems: tuple[Problem, ...]


def last_beside(folder: Path, database: str, schema: str) -> Path | None:
    """The manifest of the last export of the same tables in the folder around this one; None: there is none."""
    here = folder.resolve()
    links = [link for link in _links(here.parent) if link.of == (database, schema) and link.folder != here]
    return max(links, key=lambda link: link.written_at).folder / MANIFEST if links else None


def is_of_exports(folder: Path) -> bool:
    """Whether exports are in it, and it is not one itself."""
    return not (folder / MANIFEST).exists() and next(_manifests(folder), None) is not None


def verify_all(folder: Path, before: Path | None) -> ChainVerification:
    """Every export in the folder, and that none is missing between them. ``before``: the manifest that the first one
    follows. Raises RelayError.
    """
    links = tuple(sorted(_links(folder), key=lambda link: link.written_at))
    problems: list[Problem] = []
    with told_disk_errors(folder):
        for manifest in _manifests(folder):
            name = manifest.parent.name
            problems += [
                Problem(f"{name}/{found.file}", found.what) for found in verify(manifest.parent, None).problems
            ]
        known = {sha256_of(before.read_bytes())} if before else set()
    for of in sorted({link.of for link in links}):
        problems += _breaks([link for link in links if link.of == of], known)
    return ChainVerification(links, tuple(problems))


def _breaks(links: list[Link], before: set[str]) -> Iterator[Problem]:
    known, preceding = set(before), None
    for link in links:
        where = f"{link.folder.name}/{MANIFEST}"
        if link.previous is None and preceding is not None:
            yield Problem(where, f"follows no export, though {preceding.folder.name} was written before")
        elif link.previous is not None and link.previous not in known:
            yield Problem(where, f"follows an export that is not here, or was exchanged: {link.previous}")
        known.add(link.sha256)
        preceding = link


def _manifests(folder: Path) -> Iterator[Path]:
    with told_disk_errors(folder):
        yield from sorted(path for path in folder.glob(f"*/{MANIFEST}") if path.is_file())


def _links(folder: Path) -> Iterator[Link]:
    """What cannot be read as a manifest is none of ours here; verifying names it."""
    for manifest in _manifests(folder):
        try:
            data = manifest.read_bytes()
            document = loaded(data, str(manifest))
            yield Link(
                manifest.parent,
                (str(document["database"]), str(document["schema"])),
                datetime.fromisoformat(document["snapshot_at"]),
                sha256_of(data),
                document["previous"],
            )
        except (NoManifest, RelayError, OSError, KeyError, TypeError, ValueError):
            continue
