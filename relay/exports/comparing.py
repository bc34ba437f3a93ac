"""Two exports of one time, compared row by row: a past that was changed between them differs.

Both are read at once, in the order of their ids, so memory does not grow with rows. A row counts if its time lies in
both periods. Pauses have no history and are left out. Which columns differ is told, never what is in them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from relay.errors import RelayError
from relay.exports.explaining import GRACE, Explanations
from relay.exports.folder import told_disk_errors
from relay.exports.ledger import Excuse, read
from relay.exports.manifest import MANIFEST, NoManifest, loaded
from relay.exports.reading import ExportedFile, ExportedRow
from relay.exports.rows import VIEWS, View
from relay.exports.verifying import verify

DifferenceKind = Literal["missing", "added", "changed"]
_COMPARED = tuple(view for view in VIEWS if not view.open_too)


@dataclass(frozen=True, slots=True)
class Difference:
    """``key`` tells which row; ``columns`` are those that nothing explains, or all that differ if something does."""

    view: str
    key: dict[str, int | None]
    kind: DifferenceKind
    columns: tuple[str, ...]
    explained: Excuse | None


@dataclass(frozen=True, slots=True)
class Exported:
    """An export that fits its manifest."""

    folder: Path
    format: str
    since: datetime | None
    until: datetime | None
    seen_at: datetime
    snapshot: str
    database: tuple[str, str]
    files: dict[str, tuple[str, tuple[str, ...]]]

    def has(self, time: datetime) -> bool:
        """Whether a row of this time belongs into it."""
        return (self.since is None or time >= self.since) and time < (self.until or self.seen_at)

    def file(self, view: View) -> ExportedFile:
        """The file of this view. Raises RelayError where the export has none."""
        if view.name not in self.files:
            raise RelayError(f"{self.folder} has no file of {view.name}.", "Export the period again.")
        name, columns = self.files[view.name]
        return ExportedFile(self.folder / name, self.format, columns)


def opened(folder: Path) -> Exported:
    """Raises RelayError for what is no export, or no longer what it was."""
    if problems := verify(folder, None).problems:
        what = "; ".join(f"{problem.file} {problem.what}" for problem in problems)
        raise NotWhatItWas(f"{folder} is not what it was: {what}.", "Find a copy that is: relay export --verify FOLDER")
    with told_disk_errors(folder):
        document = loaded((folder / MANIFEST).read_bytes(), str(folder / MANIFEST))
    try:
        since, until, seen_at = (_moment(document[name]) for name in ("since", "until", "snapshot_at"))
        if seen_at is None:
            raise NoManifest(str(folder / MANIFEST))
        files = {file["view"]: (str(file["name"]), tuple(file["columns"])) for file in document["files"]}
        database = (str(document["database"]), str(document["schema"]))
        return Exported(
            folder, document["format"], since, until, seen_at, str(document["snapshot"]), database, files
        )  # fmt: skip
    except (KeyError, TypeError, ValueError):
        raise NoManifest(str(folder / MANIFEST)) from None


class NotWhatItWas(RelayError):  # noqa: N818 the name says what is the case
    """The files of an export do not fit its manifest."""


def differences(older: Exported, newer: Exported) -> Iterator[Difference]:
    """Every row that differs, explained or not. Raises RelayError if these two cannot be compared."""
    _require_comparable(older, newer)
    with told_disk_errors(newer.folder):
        ledger_file = newer.file(next(view for view in VIEWS if view.name == "audit_action"))
        acts = (ledger_file.row(record) for record in ledger_file.records())
        running = _running(older.snapshot)
        with read(acts, older.seen_at, GRACE, running) as ledger:
            explanations = Explanations(ledger, older.seen_at, running)
            for view in _COMPARED:
                yield from _ComparedView(view, older, newer, explanations).differences()


def _require_comparable(older: Exported, newer: Exported) -> None:
    if older.database != newer.database:
        raise RelayError(
            f"These are exports of {'.'.join(older.database)} and of {'.'.join(newer.database)}.",
            "Compare two of one database and schema.",
        )
    if older.seen_at >= newer.seen_at:
        raise RelayError(f"{newer.folder} was not written after {older.folder}.", "Name the older one first.")
    if older.format != newer.format:
        hint = f"Export the period again with: --format {older.format}"
        raise RelayError(f"One export is {older.format}, the other one {newer.format}.", hint)
    begins = [export.since for export in (older, newer) if export.since]
    if begins and max(begins) >= min(export.until or export.seen_at for export in (older, newer)):
        raise RelayError("No time is in both exports.", "Export the period of the older one again, and compare that.")


class _ComparedView:
    def __init__(self, view: View, older: Exported, newer: Exported, explanations: Explanations) -> None:
        self._view = view
        self._older, self._newer = older, newer
        self._old_file, self._new_file = older.file(view), newer.file(view)
        self._explanations = explanations
        before, now = older.files[view.name][1], newer.files[view.name][1]
        self._columns = [column for column in before if column in now]
        self._gone = tuple(column for column in before if column not in now)

    def differences(self) -> Iterator[Difference]:
        if self._gone:
            yield Difference(self._view.name, {}, "missing", self._gone, None)
        olds, news = self._old_file.records(), self._new_file.records()
        old, new = next(olds, None), next(news, None)
        while old is not None or new is not None:
            if old == new:
                old, new = next(olds, None), next(news, None)
                continue
            old_row = None if old is None else self._old_file.row(old)
            new_row = None if new is None else self._new_file.row(new)
            order = self._compare(old_row, new_row)
            if old_row is not None and new_row is not None and order == 0:
                yield from self._changed(old_row, new_row)
            elif old_row is not None and order < 0:
                yield from self._missing(old_row)
            elif new_row is not None:
                yield from self._added(new_row)
            old = next(olds, None) if order <= 0 else old
            new = next(news, None) if order >= 0 else new

    def _compare(self, old: ExportedRow | None, new: ExportedRow | None) -> int:
        """Which one comes first; a file that has ended comes last."""
        if old is None or new is None:
            return 1 if old is None else -1
        before, now = old.key(self._view.order), new.key(self._view.order)
        return (before > now) - (before < now)

    def _changed(self, old: ExportedRow, new: ExportedRow) -> Iterator[Difference]:
        columns = [name for name in self._columns if old.values.get(name) != new.values.get(name)]
        if columns:
            left, explained = self._explanations.changed(self._view.name, old, new, columns)
            told = tuple(name for name in columns if name in left or not left)
            yield self._told(old, "changed", None if left else explained, told)

    def _missing(self, old: ExportedRow) -> Iterator[Difference]:
        time = self._time(old)
        expected = self._newer.until is None if time is None else self._newer.has(time)
        if expected:
            yield self._told(old, "missing", self._explanations.missing(self._view.name, old))

    def _added(self, new: ExportedRow) -> Iterator[Difference]:
        """What was open is expected only where the older export shows open ones too, and from its claim on."""
        time = self._time(new)
        if time is None:
            time = None if self._older.until else new.moment("claimed_at")
        if time is not None and self._older.has(time):
            yield self._told(new, "added", self._explanations.added(new, time))

    def _time(self, row: ExportedRow) -> datetime | None:
        return row.moment(self._view.time)

    def _told(
        self, row: ExportedRow, kind: DifferenceKind, explained: Excuse | None, columns: Sequence[str] = ()
    ) -> Difference:  # fmt: skip
        key = {name: row.number(name) for name in self._view.order}
        return Difference(self._view.name, key, kind, tuple(columns), explained)


def _running(snapshot: str) -> frozenset[int]:
    """The transactions that a snapshot names: begun, and not yet to be seen. ``xmin:xmax:xid,xid``"""
    found = re.fullmatch(r"\d+:\d+:([\d,]*)", snapshot)
    return frozenset(int(xid) for xid in found[1].split(",") if xid) if found else frozenset()


def _moment(value: Any) -> datetime | None:
    return None if value is None else datetime.fromisoformat(value)
