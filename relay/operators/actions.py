"""What a person may do: retry, discard, redact, reveal, pause, resume. Each leaves a row in the ledger.

Functions over a connection whose transaction is the caller's and READ COMMITTED: the change and its row in
``relay.action`` are committed together or not at all. Retry, discard, pause and resume are functions of the database:
who may call those needs no right on a table. What stays true:

- a message in an open call is never changed: the platform may be reading it;
- done is final, and nothing is marked done here: only an answer of the platform proves that;
- what is archived stays as it is, but that its content can be removed and read like any other;
- a message without its content is never sent;
- whatever is not changed is named, with the reason why not; where nothing was changed, nothing is recorded;
- who gives back what was seen (``versions`` of messages, the ``since`` of a pause) changes that or nothing: what
  somebody else has changed meanwhile is left alone, and the attempt is recorded all the same. Of a redaction nothing of
  the kind is asked: a content never changes, so it is the one that was seen, whatever became of the message.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from sqlalchemy import Connection, Row

from relay.acting import acting
from relay.errors import RelayError
from relay.operators import statements as sql
from relay.operators.ledger import Order, parameters, record
from relay.outbox.columns import line
from relay.schema import TOMBSTONE
from relay.showing import escaped
from relay.sql import run
from relay.texts import UnusableText, secret

Verb = Literal["retry", "discard", "redact"]
Seen = datetime | Literal["-infinity"]
SAW_NONE: Final = "-infinity"  # as the ``seen`` of a pause: none was in force


@dataclass(frozen=True, slots=True)
class ActionFilter:
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
class Preview:
    """What would be changed. ``oldest_seconds`` counts from the insert.

    ``versions``: of each of ``changing``, in its order. Given back with these ids, they are changed as they were seen.
    """

    changing: tuple[int, ...]
    skipped: Mapping[int, str]
    oldest_seconds: float | None
    ordering_keys: int
    versions: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Changed:
    """``skipped``: message id → why not. ``action``: id of the ledger row.

    None where nothing was changed, unless by versions: that somebody else came first is in the ledger, too.
    """

    changed: tuple[int, ...]
    skipped: Mapping[int, str]
    action: int | None


@dataclass(frozen=True, slots=True)
class PauseInForce:
    """``until`` None: until a person resumes it. In the reason personal data is masked.

    ``since`` tells it from any other pause of the scope.
    """

    until: datetime | None
    reason: str
    by: str
    since: datetime


@dataclass(frozen=True, slots=True)
class Texts:
    """The texts of a message, letter for letter as they were inserted (or the tombstone of a redaction).

    And what was said of it, unmasked: of its last error, of each attempt and each call, by the id of the call.
    """

    content: str
    json_ex_content: str | None
    headers: str | None
    error_message: str | None = None
    of_attempts: Mapping[int, str | None] = field(default_factory=dict)
    of_calls: Mapping[int, str | None] = field(default_factory=dict)


def find(connection: Connection, wanted: ActionFilter, *, verb: Verb) -> list[int]:
    """Ids of the messages this verb might change, in order. What is discarded is found by that error code only."""
    return list(run(connection, sql.FIND, verb=verb, **asdict(wanted)).scalars())


def has_pending(connection: Connection, account: str) -> bool:
    """Whether a message of this account waits, held ones included."""
    return bool(find(connection, ActionFilter(status="pending", account=account, limit=1), verb="discard"))


def preview(connection: Connection, verb: Verb, ids: Sequence[int]) -> Preview:
    """What the verb would do to these messages now. Reads only."""
    seen = run(connection, sql.WHY_NOT, verb=verb, ids=list(ids)).all()
    rest = [one for one in seen if one.why_not is None]
    skipped = {one.id: one.why_not for one in seen if one.why_not is not None}
    keys = {(one.account, one.ordering_key) for one in rest if one.ordering_key is not None}
    oldest = max((one.age_seconds for one in rest), default=None)
    versions = tuple(one.version for one in rest)
    return Preview(tuple(one.id for one in rest), skipped, oldest, len(keys), versions)


def retry(
    connection: Connection,
    ids: Sequence[int],
    order: Order,
    *,
    per_second: float | None = None,
    versions: Sequence[int] | None = None,
) -> Changed:
    """Make failed and held messages due: now, or spread over time in id order, ``per_second`` of them a second.

    ``attempts`` starts at 0 again, so that the whole schedule of retries lies before the message; what happened before
    stays in ``relay.attempt``. A message with an ordering key may be accepted after later ones of its key.
    ``versions``: those of the ids, in their order, as :func:`preview` gave them; what has another one is left alone.
    """
    if per_second is not None and not 0 < per_second < math.inf:
        raise RelayError(
            f"{per_second:g} messages a second is no rate.", "Give a number above 0, or None: all at once."
        )
    told = {**_seen(ids, versions), "per_second": per_second, **parameters(order)}
    with acting(connection, "no message is retried, nothing was changed"):
        return _changed(run(connection, sql.RETRY, **told).one())


def discard(
    connection: Connection, ids: Sequence[int], order: Order, *, versions: Sequence[int] | None = None
) -> Changed:
    """Close messages as failed with ``relay.discarded`` and the reason; those that had failed keep when they did.

    This is also how a held message ends that the platform turned out to have: ``done`` needs the platform's own proof.
    ``versions`` as for :func:`retry`.
    """
    told = {**_seen(ids, versions), **parameters(order)}
    with acting(connection, "no message is discarded, nothing was changed"):
        return _changed(run(connection, sql.DISCARD, **told).one())


def redact(connection: Connection, ids: Sequence[int], order: Order) -> Changed:
    """Replace the content of finished messages, archived or not, by a tombstone; remove extra content and headers.

    The ledger row keeps the SHA-256 of each text removed, taken with a salt that is removed too: it shows that nothing
    else was there, and leads nobody back to the text.
    """
    with acting(connection, "no message is redacted, nothing was changed"):
        return _redact(connection, ids, order)


def _redact(connection: Connection, ids: Sequence[int], order: Order) -> Changed:
    chosen, left_alone, why_not = run(connection, sql.LOCK, verb="redact", ids=list(ids)).one()
    skipped = dict(zip(left_alone, why_not, strict=True))
    if not chosen:
        return Changed((), skipped, None)
    run(connection, sql.SALT, ids=chosen)
    digests: dict[str, dict[str, str]] = {}
    for row in run(connection, sql.DIGESTS, ids=chosen).mappings():
        removed = {name: digest for name, digest in row.items() if name != "id" and digest is not None}
        digests[str(row["id"])] = removed
    run(connection, sql.ALLOW_REDACTING, switch="on")
    run(connection, sql.REDACT, ids=chosen, tombstone=TOMBSTONE)
    run(connection, sql.REDACT_ARCHIVED, ids=chosen, tombstone=TOMBSTONE)
    run(connection, sql.ALLOW_REDACTING, switch="off")
    recorded = replace(order, selection={**order.selection, "salted_sha256": digests})
    return Changed(tuple(chosen), skipped, record(connection, "redact", recorded, chosen, len(chosen)))


def reveal(connection: Connection, message_id: int, order: Order, *, calls: Sequence[int] = ()) -> Texts | None:
    """What a message says, and that a person wanted to know; None where there is no such message.

    Of ``calls`` what the platform said of them. Commit before it is shown: then nothing is ever revealed without
    its row in the ledger.
    """
    with acting(connection, "no content is shown, nothing was changed"):
        return _reveal(connection, message_id, order, calls)


def _reveal(connection: Connection, message_id: int, order: Order, calls: Sequence[int]) -> Texts | None:
    row = run(connection, sql.TEXTS, id=message_id).one_or_none()
    if row is None:
        return None
    record(connection, "reveal", order, [message_id], 1)
    said: dict[bool, dict[int, str | None]] = {True: {}, False: {}}
    for one in run(connection, sql.ERROR_TEXTS, id=message_id, calls=list(calls)):
        said[one.of_attempt][one.call_id] = one.error_message
    return replace(Texts(*row), of_attempts=said[True], of_calls=said[False])


def pause_in_force(connection: Connection, scope: str) -> PauseInForce | None:
    """The pause of ``account:NAME`` or ``app:KEY`` that holds now."""
    return pauses_in_force(connection, [scope]).get(scope)


def pauses_in_force(
    connection: Connection, scopes: Sequence[str] | None = None, *, error_code: str | None = None
) -> dict[str, PauseInForce]:
    """Those that hold now, by scope and in its order: of these, or for this code; None: of all, for whatever."""
    given = {"scopes": None if scopes is None else list(scopes), "error_code": error_code}
    return {scope: PauseInForce(*rest) for scope, *rest in run(connection, sql.PAUSES_IN_FORCE, **given)}


def pause(
    connection: Connection, scope: str, order: Order, *, lasting: timedelta | None = None, seen: Seen | None = None
) -> tuple[datetime | None, int | None]:
    """Pause ``account:NAME`` or ``app:KEY``, for that long or until resumed, instead of any pause there is.

    Gives back when it ends and the id of the ledger row. Calls in flight go on. Raises RelayError for what no message
    can have, which would be paused for nothing.

    ``seen``: the ``since`` of the pause that shall be replaced, or SAW_NONE. Does another one stand there, or has
    somebody ended that one, nothing is done, the ledger has the attempt, and None is given back twice.
    """
    require_possible(scope)
    told = {"scope": scope, "lasting": lasting, "seen": seen, **parameters(order)}
    with acting(connection, f"{escaped(scope)} is not paused by this, nothing was changed"):
        row = run(connection, sql.PAUSE, **told).one()
    return (None, None) if row.action is None else (row.until, row.action)


def require_possible(scope: str) -> None:
    """Raises RelayError where no message can have this account, or no credential this app key."""
    kind, _, name = scope.partition(":")
    if kind == "account":
        line("account", name)
        return
    try:
        usable = kind == "app" and secret(name) == name != ""
    except UnusableText:
        usable = False
    if not usable:
        raise RelayError(f"{json.dumps(scope)} names no app key.", "Look it up: relay status, or your settings.")


def resume(connection: Connection, scope: str, order: Order, *, seen: datetime | None = None) -> int | None:
    """End a pause, a person's or a worker's; the id of the ledger row, or None where nothing was paused.

    ``seen``: the ``since`` of the pause that is meant; None also where another one stands there now, and then the
    ledger has the attempt.
    """
    return resume_all(connection, [scope], order, seen=None if seen is None else {scope: seen}).get(scope)


def resume_all(
    connection: Connection, scopes: Sequence[str], order: Order, *, seen: Mapping[str, datetime] | None = None
) -> dict[str, int]:
    """The same of many, all or none: scope → id of its ledger row. What was not paused is left out.

    ``seen``: of each scope the ``since`` of the pause that is meant; what is paused anew is left out as well.
    """
    named = list(dict.fromkeys(scopes))
    if seen is not None and (unseen := [scope for scope in named if scope not in seen]):
        raise RelayError(
            f"Of {escaped(unseen[0])} is not said which pause was seen.",
            "Give the since of each pause, as pauses_in_force tells it; or no seen at all.",
        )
    told = {"scopes": named, "seen": [seen[scope] if seen is not None else None for scope in named]}
    alone = f"{escaped(scopes[0])} is not resumed, nothing was changed" if len(scopes) == 1 else None
    with acting(connection, alone or "no more is resumed, nothing was changed but what is in the ledger"):
        rows = run(connection, sql.RESUME, **told, **parameters(order)).all()
    return {row.scope: row.action for row in rows if row.action is not None}


def _seen(ids: Sequence[int], versions: Sequence[int] | None) -> dict[str, list[int] | None]:
    if versions is not None and len(versions) != len(ids):
        raise RelayError(
            f"{len(ids)} ids and {len(versions)} versions were given.",
            "Give the changing and the versions of one preview; or no versions at all.",
        )
    return {"ids": list(ids), "versions": None if versions is None else list(versions)}


def _changed(row: Row[Any]) -> Changed:
    return Changed(tuple(row.changed), dict(zip(row.left_alone, row.why_not, strict=True)), row.action)
