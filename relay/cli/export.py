"""``relay export``: evidence in files, and whether it is still what was written."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from relay.cli.exported import compare_exports, verify_exports
from relay.cli.options import duration, json_option, verb_in_use
from relay.cli.options import time as time_with_offset
from relay.cli.printing import print_json, say, say_exactly

if TYPE_CHECKING:
    from relay.exports.manifest import Preceding

_QUIET_SECONDS = 2.0  # after that, progress is told
_SECONDS_BETWEEN_LINES = 10.0  # and a log only now and then


def moment(text: str) -> date | datetime | timedelta:
    """A date, a time with its offset, or a duration before now."""
    for read in (date.fromisoformat, time_with_offset, duration):
        try:
            return read(text)
        except (ValueError, click.BadParameter):
            continue
    raise click.BadParameter(f"{text!r} is no moment; write 2026-11-11, 2026-11-11T00:00:00+08:00 or 24h.")


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--format", "form", type=click.Choice(["jsonl", "csv"]), help="Of the rows.  [default: jsonl]")
@click.option("--since", type=moment, metavar="WHEN", help="From this date or time on.  [default: all, or --previous]")
@click.option("--until", type=moment, metavar="WHEN", help="Before this date or time.  [default: up to now]")
@click.option(
    "--previous",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="MANIFEST",
    help="Go on where that export ended, and name its hash.",
)
@click.option(
    "--after",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="EXPORT",
    help="Name the hash of that export.  [default: the last one beside DIR]",
)
@click.option("--verify", is_flag=True, help="Write nothing; check the export in DIR, or each one in it.")
@click.option(
    "--compare",
    "older",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="OLDER",
    help="Write nothing; list what in DIR differs from that export.",
)
@click.option("--explained", is_flag=True, help="With --compare: also what the ledger explains.")
@json_option
def export(
    folder: Path,
    form: str | None,
    since: date | timedelta | None,
    until: date | timedelta | None,
    previous: Path | None,
    after: Path | None,
    verify: bool,
    older: Path | None,
    explained: bool,
    as_json: bool,
) -> None:
    """Write what the audit views show into files, with a manifest of hashes.

    What is printed at the end is the hash of the manifest: keep it elsewhere. The rights of an auditor are enough.
    With --verify and --compare the exit code is 3 where something has changed.
    """
    writing = form or since or until or after
    if older is not None:
        if writing or previous or verify:
            raise click.UsageError("--compare takes --explained and --json only")
        compare_exports(older, folder, explained=explained, as_json=as_json)
        return
    if explained:
        raise click.UsageError("--explained goes with --compare")
    if verify:
        if writing:
            raise click.UsageError("--verify takes --previous and --json only")
        verify_exports(folder, previous, as_json)
        return
    if previous and after:
        raise click.UsageError("--previous names the export before already; leave --after out")
    _write(folder, form or "jsonl", since, until, previous, after, as_json)


def _write(
    folder: Path,
    form: str,
    since: date | timedelta | None,
    until: date | timedelta | None,
    previous: Path | None,
    after: Path | None,
    as_json: bool,
) -> None:
    from relay.assembly.database import opened
    from relay.exports import Plan
    from relay.exports import export as write
    from relay.settings import FOR_TABLES, load_for

    settings = load_for(FOR_TABLES)
    plan = Plan(form, since, until, _preceding(previous), _preceding(after and after / "manifest.json"))
    with (
        opened(settings, who=verb_in_use()) as database,
        database.snapshot() as connection,
        Progress.on_stderr() as told,
    ):
        manifest, sha256 = write(connection, folder, plan, told=told)
    if as_json:
        print_json({"sha256": sha256, **asdict(manifest)})
    else:
        say(f"{sha256}  {folder / 'manifest.json'}")
    rows = sum(file.rows for file in manifest.files)
    say(f"{rows:,} rows in {len(manifest.files)} files", err=True)


def _preceding(manifest: Path | None) -> Preceding | None:
    from relay.exports.folder import told_disk_errors
    from relay.exports.manifest import preceding

    if manifest is None:
        return None
    with told_disk_errors(manifest):
        return preceding(manifest.read_bytes(), str(manifest))


class Progress:
    """How far it is: on a terminal one line that changes, elsewhere a line now and then; nothing if it ends soon."""

    def __init__(self, say: Callable[[str], None], *, terminal: bool, clock: Callable[[], float]) -> None:
        self._say = say
        self._terminal = terminal
        self._clock = clock
        self._due = clock() + (_QUIET_SECONDS if terminal else _SECONDS_BETWEEN_LINES)
        self._drawn = 0

    @classmethod
    @contextmanager
    def on_stderr(cls) -> Iterator[Progress]:
        """Progress that is told on stderr, and ends with the block."""
        told = cls(lambda said: say_exactly(said, err=True), terminal=sys.stderr.isatty(), clock=time.monotonic)
        try:
            yield told
        finally:
            told.end()

    def __call__(self, view: str, rows: int) -> None:
        now = self._clock()
        if now < self._due:
            return
        said = f"{view}: {rows:,} rows"
        if self._terminal:
            self._say(f"\r{said:{self._drawn}}")
            self._drawn = len(said)
            self._due = now + 0.2
        else:
            self._say(f"{said}\n")
            self._due = now + _SECONDS_BETWEEN_LINES

    def end(self) -> None:
        """Leave an empty line behind."""
        if self._drawn:
            self._say(f"\r{'':{self._drawn}}\r")
