"""``relay export --verify`` and ``--compare``: what was written, looked at again. Needs the files and no database."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from relay.cli.printing import print_json, say, shown

if TYPE_CHECKING:
    from relay.exports.comparing import Difference

_DOES_NOT_FIT = 3
_LISTED_IN_JSON = 10_000


def verify_exports(folder: Path, previous: Path | None, as_json: bool) -> None:
    """One export, or every one in a folder of them."""
    from relay.exports.chain import is_of_exports
    from relay.exports.verifying import verify

    if is_of_exports(folder):
        _verify_all(folder, previous, as_json)
        return
    found = verify(folder, previous)
    if as_json:
        print_json({"fits": not found.problems, **asdict(found)})
    elif found.problems:
        for problem in found.problems:
            say(f"{shown(problem.file)}: {shown(problem.what)}")
    else:
        say(f"{found.sha256}  {folder / 'manifest.json'}")
    if found.previous and not previous:
        say(f"the preceding manifest, {found.previous}, is compared only with --previous", err=True)
    if found.problems:
        raise click.exceptions.Exit(_DOES_NOT_FIT)


def _verify_all(folder: Path, previous: Path | None, as_json: bool) -> None:
    from relay.exports.chain import verify_all

    found = verify_all(folder, previous)
    if as_json:
        exports = [
            {"folder": str(link.folder), "sha256": link.sha256, "previous": link.previous} for link in found.links
        ]
        problems = [asdict(problem) for problem in found.problems]
        print_json({"fits": not problems, "exports": exports, "problems": problems})
    elif found.problems:
        for problem in found.problems:
            say(f"{shown(problem.file)}: {shown(problem.what)}")
    else:
        for link in found.links:
            say(f"{link.sha256}  {link.folder / 'manifest.json'}")
    say(f"{len(found.links):,} exports; that none is missing at the end only a hash kept elsewhere tells", err=True)
    if found.problems:
        raise click.exceptions.Exit(_DOES_NOT_FIT)


def compare_exports(older: Path, newer: Path, *, explained: bool, as_json: bool) -> None:
    """A line for each row that differs and that nothing explains; counts of the others."""
    from relay.exports.comparing import NotWhatItWas, differences, opened

    told = Counter[str]()
    listed: list[dict[str, object]] = []
    unexplained = 0
    try:
        before, now = opened(older), opened(newer)
    except NotWhatItWas as error:
        say(f"error: {error}", err=True)
        raise click.exceptions.Exit(_DOES_NOT_FIT) from None
    for one in differences(before, now):
        if one.explained is not None:
            told[f"{one.view}: {one.kind}, {one.explained.by}"] += 1
        unexplained += one.explained is None
        if one.explained is not None and not explained:
            continue
        if not as_json:
            say(_line(one))
        elif len(listed) < _LISTED_IN_JSON:
            listed.append(asdict(one))
    if as_json:
        print_json({"same": not unexplained, "unexplained": unexplained, "explained": told, "differences": listed})
    for what, rows in sorted(told.items()):
        say(f"{what}: {rows:,} rows", err=True)
    if now.until is not None and now.until < now.seen_at:
        said = f"the newer export knows no act after {now.until}: without --until it explains more"
        say(said, err=True)
    say(f"{unexplained:,} rows differ and nothing explains it", err=True)
    if unexplained:
        raise click.exceptions.Exit(_DOES_NOT_FIT)


def _line(one: Difference) -> str:
    """``audit_message 17: changed error_message, finished_at``"""
    key = " ".join(map(shown, one.key.values()))
    said = f"{one.view} {key}".rstrip() + f": {one.kind} {', '.join(one.columns)}".rstrip()
    return said if one.explained is None else f"{said} ({one.explained})"
