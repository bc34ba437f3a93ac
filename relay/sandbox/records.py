"""What the sandbox remembers: each message it accepted and each call it saw, as flat rows of plain values.

Times are ISO 8601 in UTC. Of a session only the last four characters are kept, of a secret nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

SESSION_TAIL_CHARACTERS = 4


@dataclass(frozen=True, slots=True)
class AcceptedMessage:
    """One message as accepted. ``index`` counts from 0 within its call; ``content`` is the exact text that came."""

    id: int
    topic: str
    content: str
    target_group: str | None
    target_app_key: str | None
    json_ex_content: str | None
    request_id: str
    index: int
    app_key: str
    session_tail: str
    received_at: str


@dataclass(frozen=True, slots=True)
class CallRecord:
    """One call. ``count`` messages came, ``accepted`` were stored; ``status`` is None when the connection was cut."""

    number: int
    request_id: str
    count: int
    accepted: int
    stored: bool
    status: int | None
    code: int | None
    sub_code: str | None
    fault: str | None
    app_key: str
    received_at: str


def row_of(record: AcceptedMessage | CallRecord) -> dict[str, object]:
    """The record's fields by name."""
    return {name: getattr(record, name) for name in record.__slots__}


def written(moment: float) -> str:
    """The time of these seconds since the epoch, as people read it."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="microseconds")


def tail_of(session: str) -> str:
    """Enough of a session to tell two apart, too little to use it."""
    return session[-SESSION_TAIL_CHARACTERS:]
