"""What the manifest of an export says, and its exact bytes. Pure.

The bytes matter: their SHA-256 is what one keeps elsewhere, and what the next manifest names as ``previous``. Keys are
an interface: they are only added to, and ``format_version`` counts up if one ever has to change.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from relay.errors import RelayError

MANIFEST = "manifest.json"
SUMS = "SHA256SUMS"
FORMAT_VERSION = 1


class NoManifest(RelayError):  # noqa: N818 the name says what is the case
    """What was read is no manifest, or one that was changed."""

    def __init__(self, where: str) -> None:
        super().__init__(f"{where} is no manifest of an export.")


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """``chosen_by`` is the time of a row that decides whether it is in the period; None: it does not matter.

    ``late`` of its rows were inserted before the period, but committed only after the preceding export had looked.
    """

    name: str
    view: str
    chosen_by: str | None
    columns: tuple[str, ...]
    rows: int
    bytes: int
    sha256: str
    first_id: int | None
    last_id: int | None
    late: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """``since`` is in the period, ``until`` is not; None is no limit. ``snapshot`` is as PostgreSQL writes it."""

    relay_version: str
    schema_revision: str | None  # None: the login may not read it
    database: str
    schema: str
    db_user: str
    since: datetime | None
    until: datetime | None
    snapshot_at: datetime
    snapshot: str
    format: str
    files: tuple[WrittenFile, ...]
    previous: str | None

    def dumped(self) -> bytes:
        """The bytes of ``manifest.json``; their SHA-256 is what the next export names."""
        document = {"format_version": FORMAT_VERSION, **asdict(self)}
        return json.dumps(document, ensure_ascii=False, indent=2, default=_time).encode() + b"\n"


@dataclass(frozen=True, slots=True)
class Preceding:
    """The export that a new one follows; ``sha256`` is that of its manifest."""

    sha256: str
    database: str
    schema: str
    since: datetime | None
    until: datetime | None
    snapshot: str


def sha256_of(data: bytes) -> str:
    """As hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def sums(hashes: Mapping[str, str]) -> bytes:
    """File name -> SHA-256, as ``sha256sum -c`` reads it."""
    return "".join(f"{sha256}  {name}\n" for name, sha256 in hashes.items()).encode()


def loaded(data: bytes, where: str) -> dict[str, Any]:
    """A manifest as it stands, its keys not looked at. Raises NoManifest, or RelayError: a newer one."""
    try:
        document = json.loads(data)
        version = document["format_version"]
    except (ValueError, TypeError, KeyError):
        raise NoManifest(where) from None
    if version != FORMAT_VERSION:
        raise RelayError(
            f"{where} has the format version {version}, this relay knows {FORMAT_VERSION}.",
            "Upgrade the relay: pip install -U outbox-relay",
        )
    return dict(document)


def preceding(data: bytes, where: str) -> Preceding:
    """What a new export has to know of the one before. Raises as :func:`loaded` does."""
    document = loaded(data, where)
    try:
        since, until = (
            None if document[key] is None else datetime.fromisoformat(document[key]) for key in ("since", "until")
        )
        database, schema, snapshot = (str(document[key]) for key in ("database", "schema", "snapshot"))
    except (KeyError, TypeError, ValueError):
        raise NoManifest(where) from None
    return Preceding(sha256_of(data), database, schema, since, until, snapshot)


def _time(value: object) -> str:
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"
    raise TypeError(f"{type(value).__name__} has no form in a manifest")
