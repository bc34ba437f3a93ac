"""What a form sent: a few fields of ours, each once. The largest has five thousand messages with their versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect, Request

from relay.dashboard.visit import NotUnderstood, can_be_stored

MOST_BYTES = 1024 * 1024
MOST_FIELDS = 40
FORM = "application/x-www-form-urlencoded"


async def sent(request: Request, *, most_bytes: int = MOST_BYTES) -> Mapping[str, str]:
    """Names and values. Raises NotUnderstood where it is no form of ours, or too much."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
        raise NotUnderstood("content-type", "trouble.no_form", status=415)
    pieces, size = [], 0
    try:
        async for piece in request.stream():
            size += len(piece)
            if size > most_bytes:
                raise NotUnderstood("form", "trouble.too_large", status=413, most=f"{most_bytes // 1024:,}")
            pieces.append(piece)
        pairs = parse_qsl(
            b"".join(pieces).decode("utf-8"), keep_blank_values=True, max_num_fields=MOST_FIELDS, errors="strict"
        )
    except (ValueError, ClientDisconnect):
        raise NotUnderstood("form", "trouble.no_form") from None
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise NotUnderstood(next(name for name in names if names.count(name) > 1)[:80], "trouble.twice")
    return found


def is_missing(request: Request) -> bool:
    """Whether no form was sent at all: a program that presses a button without fields sends no body.

    Nor is its type looked at: servers of WSGI name one where none was said.
    """
    said = request.headers
    return "transfer-encoding" not in said and said.get("content-length", "") in ("", "0")


def require_fields(given: Mapping[str, str], names: Sequence[str]) -> None:
    """Raises NotUnderstood for a field that this form does not have, or a text that no column can hold."""
    for name, value in given.items():
        if name not in names:
            raise NotUnderstood(name[:80], "trouble.unknown_field")
        if not can_be_stored(value):
            raise NotUnderstood(name)
