"""Evidence in files: what the audit views show of a period, hashed, so that it can be kept where no superuser writes.

Only the views are read: the rights of an auditor are enough, and contents are masked as they are there. The SHA-256 of
each exact content is in its row. One snapshot serves all files, so they agree with each other::

    FOLDER/  audit_message.jsonl  audit_delivery.jsonl  ...   the rows
             SHA256SUMS                                       for sha256sum -c
             manifest.json                                    written last: without it there was no export

The hash of the manifest stands for all of it. A manifest names the hash of the one written before it, which is found
in the folder around: links of a chain.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection

import relay
from relay.exports.chain import last_beside
from relay.exports.folder import Draft, new_export, told_disk_errors
from relay.exports.lines import FORMATS
from relay.exports.manifest import MANIFEST, Manifest, Preceding, WrittenFile, preceding, sha256_of, sums
from relay.exports.rows import VIEWS, Choice, Moment, SnapshotViews, View

Told = Callable[[str, int], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """``since`` None: from where ``preceding`` ended; without that, from the beginning.

    ``after`` is named as the one before, whatever its period; without either, it is the last one in the folder around.
    """

    format: str = "jsonl"
    since: Moment | None = None
    until: Moment | None = None
    preceding: Preceding | None = None
    after: Preceding | None = None


def export(connection: Connection, folder: Path, plan: Plan, *, told: Told) -> tuple[Manifest, str]:
    """Write the files of a new export; its manifest, and the SHA-256 of that.

    The connection is on REPEATABLE READ, its transaction not begun. ``told`` hears of each row written: its view, and
    how many of them so far. Raises RelayError.
    """
    with new_export(folder) as drafts:
        source = SnapshotViews(connection)
        period = source.period(plan.since, plan.until, plan.preceding)
        before = plan.preceding or plan.after or _last_beside(folder, source)
        if before:
            source.require_same(before)
        ended = before.until if before and not plan.preceding else None
        missed = before if plan.preceding or (ended and ended == period.since) else None
        files = []
        for view in VIEWS:
            with drafts.new(f"{view.name}.{plan.format}") as draft:
                choice = source.choice(view, period, missed)
                files.append(_write(draft, source, view, choice, plan.format, told))
        manifest = Manifest(
            relay_version=relay.__version__,
            schema_revision=source.snapshot.revision,
            database=source.snapshot.database,
            schema=source.schema,
            db_user=source.snapshot.db_user,
            since=period.since,
            until=period.until,
            snapshot_at=source.snapshot.at,
            snapshot=source.snapshot.name,
            format=plan.format,
            files=tuple(files),
            previous=before.sha256 if before else None,
        )
        data = manifest.dumped()
        sha256 = sha256_of(data)
        drafts.publish(sums({**{file.name: file.sha256 for file in files}, MANIFEST: sha256}), data)
    return manifest, sha256


def _last_beside(folder: Path, source: SnapshotViews) -> Preceding | None:
    found = last_beside(folder, source.snapshot.database, source.schema)
    if found is None:
        return None
    with told_disk_errors(found):
        return preceding(found.read_bytes(), str(found))


def _write(draft: Draft, source: SnapshotViews, view: View, choice: Choice, form: str, told: Told) -> WrittenFile:
    columns = source.columns(view)
    lines = FORMATS[form](columns)
    draft.write(lines.head())
    rows, first, last = 0, None, None
    for id_, values in source.rows(view, choice, columns, lines):
        draft.write(lines.line(values))
        rows, first, last = rows + 1, id_ if first is None else first, id_
        told(view.name, rows)
    return WrittenFile(
        name=draft.name,
        view=view.name,
        chosen_by=view.time,
        columns=tuple(column.name for column in columns),
        rows=rows,
        bytes=draft.size,
        sha256=draft.sha256,
        first_id=first,
        last_id=last,
        late=choice.late,
    )
