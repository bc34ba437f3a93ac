"""What a person may do: retry, discard, redact, reveal, prune, pause, resume. Each leaves a row in the ledger.

Functions over a connection whose transaction is the caller's and READ COMMITTED: the change and its row in
``relay.action`` are committed together or not at all. What stays true:

- a message in an open call is never changed: the platform may be reading it;
- done is final, and nothing is marked done here: only an answer of the platform proves that;
- what is archived stays as it is, but that its content can be removed and read like any other;
- a message without its content is never sent;
- whatever is not changed is named, with the reason why not; where nothing was changed, nothing is recorded.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import Connection, Engine, Row

from relay import operator_statements as sql
from relay.statements import statement

Verb = Literal["retry", "discard", "redact"]
TOMBSTONE = '{"redacted": true}'
DISCARDED = "relay.discarded"
MOST_IDS_RECORDED = 10_000


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which messages that are not done; None: all. ``pending`` includes ``held``; ``since`` and ``until`` are ages."""

    status: Literal["failed", "held", "pending"] | None = None
    error_code: str | None = None
    topic: str | None = None
    account: str | None = None
    ordering_key: str | None = None
    since: timedelta | None = None
    until: timedelta | None = None
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """Who wants it and why, and by which words the messages were chosen."""

    actor: str
    reason: str
    selection: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Preview:
    """What would be changed. ``oldest_seconds`` counts from the insert."""

    changing: tuple[int, ...]
    skipped: Mapping[int, str]
    oldest_seconds: float | None
    ordering_keys: int


@dataclass(frozen=True, slots=True)
class Changed:
    """``skipped``: message id → why not. ``action``: id of the ledger row, None where nothing was changed."""

    changed: tuple[int, ...]
    skipped: Mapping[int, str]
    action: int | None


@dataclass(frozen=True, slots=True)
class PauseInForce:
    """``until`` None: until somebody resumes it."""

    until: datetime | None
    reason: str
    by: str


@dataclass(frozen=True, slots=True)
class Texts:
    """The texts of a message, letter for letter as they were inserted (or the tombstone of a redaction)."""

    content: str
    json_ex_content: str | None
    headers: str | None


@dataclass(frozen=True, slots=True)
class Pruned:
    messages: int = 0
    attempts: int = 0
    calls: int = 0


def find(connection: Connection, wanted: Wanted, *, verb: Verb, schema: str) -> list[int]:
    """Ids of the messages this verb might change, in order. What is discarded is found by that error code only."""
    parameters = asdict(wanted) | {
        "failed": wanted.status in ("failed", None),
        "held": wanted.status in ("held", None),
        "pending": wanted.status == "pending" or (wanted.status is None and verb == "discard"),
    }
    return list(_run(connection, sql.FIND, schema, **parameters).scalars())


def preview(connection: Connection, verb: Verb, ids: Sequence[int], *, schema: str) -> Preview:
    """What the verb would do to these messages now. Reads only."""
    states = _look(connection, ids, schema)
    skipped = _refused(verb, states)
    rest = [state for state in states if state.id not in skipped]
    keys = {(state.account, state.ordering_key) for state in rest if state.ordering_key is not None}
    oldest = max((state.age_seconds for state in rest), default=None)
    return Preview(tuple(state.id for state in rest), skipped, oldest, len(keys))


def retry(
    connection: Connection, ids: Sequence[int], order: Order, *, schema: str, per_second: float | None = None
) -> Changed:
    """Make failed and held messages due: now, or spread over time in id order, so many a second.

    ``attempts`` starts at 0 again, so that the whole schedule of retries lies before the message; what happened before
    stays in ``relay.attempt``. A message with an ordering key may be accepted after later ones of its key.
    """
    seconds_apart = 1 / per_second if per_second else 0.0

    def write(chosen: Sequence[int]) -> None:
        _run(connection, sql.RETRY, schema, ids=chosen, seconds_apart=seconds_apart)

    return _change(connection, "retry", ids, order, schema, write)


def discard(connection: Connection, ids: Sequence[int], order: Order, *, schema: str) -> Changed:
    """Close messages as failed with ``relay.discarded`` and the reason; those that had failed keep when they did.

    This is also how a held message ends that the platform turned out to have: ``done`` needs the platform's own proof.
    """

    def write(chosen: Sequence[int]) -> None:
        _run(connection, sql.DISCARD, schema, ids=chosen, reason=order.reason)

    return _change(connection, "discard", ids, order, schema, write)


def redact(connection: Connection, ids: Sequence[int], order: Order, *, schema: str) -> Changed:
    """Replace the content of finished messages, archived or not, by a tombstone; remove extra content and headers.

    The ledger row keeps the SHA-256 (hex, of the UTF-8 text) of each text removed.
    """
    digests: dict[str, dict[str, str]] = {}

    def write(chosen: Sequence[int]) -> None:
        for row in _run(connection, sql.DIGESTS, schema, ids=chosen).mappings():
            removed = {name: digest for name, digest in row.items() if name != "id" and digest is not None}
            digests[str(row["id"])] = removed
        _run(connection, sql.ALLOW_REDACTING, schema, switch="on")
        _run(connection, sql.REDACT, schema, ids=chosen, tombstone=TOMBSTONE)
        _run(connection, sql.REDACT_ARCHIVED, schema, ids=chosen, tombstone=TOMBSTONE)
        _run(connection, sql.ALLOW_REDACTING, schema, switch="off")

    recorded = replace(order, selection={**order.selection, "sha256": digests})
    return _change(connection, "redact", ids, recorded, schema, write)


def reveal(connection: Connection, message_id: int, order: Order, *, schema: str) -> Texts | None:
    """What a message says, and that somebody wanted to know; None where there is no such message.

    Commit before anybody sees it: then nothing is ever revealed without its row in the ledger.
    """
    row = _run(connection, sql.TEXTS, schema, id=message_id).one_or_none()
    if row is None:
        return None
    _record(connection, "reveal", order, [message_id], 1, schema)
    return Texts(*row)


def pause_in_force(connection: Connection, scope: str, *, schema: str) -> PauseInForce | None:
    """The pause of ``account:NAME`` or ``app:KEY`` that holds now."""
    row = _run(connection, sql.PAUSE_IN_FORCE, schema, scope=scope).one_or_none()
    return None if row is None else PauseInForce(*row)


def pause(
    connection: Connection, scope: str, order: Order, *, schema: str, lasting: timedelta | None = None
) -> tuple[datetime | None, int]:
    """Pause ``account:NAME`` or ``app:KEY``, for so long or until resumed, instead of any pause there is.

    Gives back when it ends and the id of the ledger row. Calls in flight go on.
    """
    row = _run(
        connection, sql.SET_PAUSE, schema, scope=scope, lasting=lasting, reason=order.reason, by=order.actor
    ).one()
    return row.until, _record(connection, "pause", order, None, 0, schema)


def resume(connection: Connection, scope: str, order: Order, *, schema: str) -> int | None:
    """End a pause, whoever ordered it; the id of the ledger row, or None where nothing was paused."""
    if _run(connection, sql.END_PAUSE, schema, scope=scope).one_or_none() is None:
        return None
    return _record(connection, "resume", order, None, 0, schema)


def prunable(connection: Connection, older_than: timedelta, *, schema: str) -> tuple[int, float | None]:
    """How many messages finished longer ago than that, and how long ago the first of them. Reads the whole table."""
    row = _run(connection, sql.COUNT_PRUNABLE, schema, older_than=older_than).one()
    return row.messages, row.oldest_seconds


def prune(engine: Engine, older_than: timedelta, order: Order, *, schema: str, batch: int) -> Iterator[Pruned]:
    """Delete messages that finished longer ago than that, their attempts, and calls no message is left of.

    Yields what each batch removed, once it is committed together with its ledger row. A dedupe key goes with its
    message. What another transaction has locked stays until the next time.
    """
    with engine.begin() as connection:
        cutoff: datetime = _run(connection, sql.CUTOFF, schema, older_than=older_than).scalar_one()
    for table, text in (("outbox", sql.PRUNE_MESSAGES), ("call", sql.PRUNE_CALLS)):
        told = replace(order, selection={**order.selection, "table": table, "before": cutoff.isoformat()})
        after, more = 0, True
        while more:
            with engine.begin() as connection:
                _run(connection, sql.ALLOW_PRUNING, schema)
                page = _run(connection, text, schema, after=after, batch=batch, cutoff=cutoff).one()
                if page.ids:
                    _record(connection, "prune", told, page.ids if table == "outbox" else None, len(page.ids), schema)
            after, more = page.after, page.more
            if table == "outbox":
                yield Pruned(messages=len(page.ids), attempts=page.attempts)
            else:
                yield Pruned(calls=len(page.ids))


def _change(
    connection: Connection,
    verb: Verb,
    ids: Sequence[int],
    order: Order,
    schema: str,
    write: Callable[[Sequence[int]], None],
) -> Changed:
    locked = set(_run(connection, sql.LOCK, schema, ids=sorted(set(ids))).scalars())
    if verb == "redact":
        locked |= set(_run(connection, sql.LOCK_ARCHIVED, schema, ids=sorted(set(ids))).scalars())
    states = _look(connection, ids, schema)
    skipped = _refused(verb, states)
    # Neither refused nor locked: its call was settled between the two looks, and the next claim may have it by now.
    skipped |= {s.id: "it is just changing: try again" for s in states if s.id not in skipped and s.id not in locked}
    chosen = [state.id for state in states if state.id not in skipped]
    if not chosen:
        return Changed((), skipped, None)
    write(chosen)
    return Changed(tuple(chosen), skipped, _record(connection, verb, order, chosen, len(chosen), schema))


def _look(connection: Connection, ids: Sequence[int], schema: str) -> Sequence[Row[Any]]:
    rows: Sequence[Row[Any]] = _run(connection, sql.LOOK, schema, ids=sorted(set(ids)), tombstone=TOMBSTONE).all()
    return rows


def _refused(verb: Verb, states: Sequence[Row[Any]]) -> dict[int, str]:
    """Message id → why this verb leaves it alone."""
    refusal = {"retry": _why_not_retried, "discard": _why_not_discarded, "redact": _why_not_redacted}[verb]
    return {state.id: why for state in states if (why := refusal(state))}


def _why_not_retried(state: Row[Any]) -> str | None:
    if state.status is None:
        return "there is no such message"
    if state.status == "done":
        return "it is done, and done is final; to send it once more, insert it as a new message"
    if state.archived:
        return "it is archived, and what is archived is not sent; insert it as a new message"
    if state.open_call_id is not None:
        return f"it is in flight, in call {state.open_call_id}"
    if state.status == "pending" and not state.held:
        return "it is pending already"
    if state.redacted:
        return "its content was removed, so there is nothing to send"
    if state.expired:
        return "its deliver_before has passed, so it would not be sent"
    return None


def _why_not_discarded(state: Row[Any]) -> str | None:
    if state.status is None:
        return "there is no such message"
    if state.status == "done":
        return "it is done, and done is final"
    if state.archived:
        return "it is archived: it failed, and stays as it is"
    if state.open_call_id is not None:
        return f"it is in flight: try again when call {state.open_call_id} is settled"
    if state.status == "failed" and state.error_code == DISCARDED:
        return "it is discarded already"
    return None


def _why_not_redacted(state: Row[Any]) -> str | None:
    if state.status is None:
        return "there is no such message"
    if state.status == "pending":
        return "it is pending and would be sent without its content; discard it first"
    if state.redacted:
        return "its content was removed already"
    return None


def _record(
    connection: Connection, action: str, order: Order, message_ids: Sequence[int] | None, count: int, schema: str
) -> int:
    few = message_ids is not None and len(message_ids) <= MOST_IDS_RECORDED
    recorded: int = _run(
        connection,
        sql.RECORD,
        schema,
        actor=order.actor,
        action=action,
        reason=order.reason,
        selection=json.dumps(order.selection, ensure_ascii=False),
        message_ids=message_ids if few else None,
        count=count,
    ).scalar_one()
    return recorded


def _run(connection: Connection, text: str, schema: str, **parameters: Any) -> Any:
    return connection.execute(statement(text, schema), parameters)
