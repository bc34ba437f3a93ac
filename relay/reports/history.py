"""The history of one message: its attempts, the calls that named it, and those they were split off from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Connection, Select, any_, func, literal, select, union, union_all
from sqlalchemy.sql import FromClause

from relay.operators.actions import Texts
from relay.reports.app_keys import app_keys
from relay.reports.backlog import PauseListed, app_pauses, pause_of
from relay.reports.columns import OPEN, all_of, columns_of
from relay.reports.failed_heads import FailedHead, failed_head
from relay.sql import run
from relay.traces import trace_id_of
from relay.windows import read_attempt as attempt
from relay.windows import read_attempt_archive as attempt_archive
from relay.windows import read_call as call
from relay.windows import read_call_archive as call_archive
from relay.windows import read_outbox as outbox
from relay.windows import read_outbox_archive as outbox_archive


@dataclass(frozen=True, slots=True)
class Attempt:
    """One call that did not deliver the message. ``retry_at`` None: it was final; ``result_index`` counts from 0."""

    call_id: int
    result_index: int
    outcome: str
    error_code: str | None
    error_message: str | None
    at: datetime
    retry_at: datetime | None


@dataclass(frozen=True, slots=True)
class Call:
    """``result_index``: where the message stood in it; ``created_by``: the login; ``outcome`` None: it is open."""

    id: int
    parent_id: int | None
    result_index: int
    messages: int
    worker: str
    created_by: str | None
    outcome: str | None
    http_status: int | None
    request_id: str | None
    error_code: str | None
    sub_code: str | None
    error_message: str | None
    claimed_at: datetime
    sent_at: datetime | None
    settled_at: datetime | None
    duration_ms: int | None


@dataclass(frozen=True, slots=True)
class MessageReport:
    """``content_sha256`` is the one of ``audit_message``; ``calls`` and ``history`` are in the order they happened.

    ``held``: for a person to decide. ``pause``: of its account, where it is pending and that one is paused by its name.
    ``perhaps_paused_by``: otherwise, of app keys, some of them, one of which may be that of its account: which ones
    have it is known to the workers alone.
    ``behind_failed``: an earlier message of its key, for which it waits where workers hold the keys of failed ones.
    ``newest_only``: of them the newest NEWEST_CALLS are here, and there are more.
    """

    id: int
    status: str
    topic: str
    account: str
    target_group: str | None
    target_app_key: str | None
    ordering_key: str | None
    dedupe_key: str | None
    producer: str | None
    content_characters: int
    content_sha256: str | None
    attempts: int
    call_id: int | None
    result_index: int | None
    error_code: str | None
    error_message: str | None
    available_at: datetime | None
    deliver_before: datetime | None
    created_at: datetime
    created_by: str
    finished_at: datetime | None
    archived: bool
    history: tuple[Attempt, ...]
    calls: tuple[Call, ...]
    held: bool = False
    pause: PauseListed | None = None
    perhaps_paused_by: tuple[PauseListed, ...] = ()
    behind_failed: FailedHead | None = None
    newest_only: bool = False

    @property
    def held_since(self) -> datetime | None:
        """When the attempt was recorded after which it is held; of one that never had any, when it was inserted."""
        return (self.history[-1].at if self.history else self.created_at) if self.held else None


NEWEST_CALLS = 100
_MOST_LINES = 10 * NEWEST_CALLS
_MAY_READ = "select has_table_privilege('{schema}.audit_message', 'select')"
_TRACEPARENT = "select traceparent from {schema}.audit_message where id = :id"


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a message is, with its attempts and calls."""

    messages: FromClause
    attempts: FromClause
    calls: FromClause


# While one of its messages is in the outbox, a call is not archived; afterwards it may be in either place.
_HOT = _Place(outbox, attempt, call)
_ARCHIVE = _Place(
    outbox_archive,
    attempt_archive,
    union_all(select(call), select(*(call_archive.c[column.name] for column in call.c))).subquery(),
)


def message(connection: Connection, message_id: int) -> MessageReport | None:
    """One message with its attempts, the calls that named it, and the calls those were split off from."""
    return _report(connection, message_id, _HOT) or _report(connection, message_id, _ARCHIVE)


def trace_id(connection: Connection, message_id: int) -> str | None:
    """The trace that the message comes from; None where it names none, or this login may not read the audit views."""
    if not run(connection, _MAY_READ).scalar_one():
        return None
    return trace_id_of(run(connection, _TRACEPARENT, id=message_id).scalar())


def unmasked(found: MessageReport, texts: Texts) -> MessageReport:
    """The same with what was said of the message letter for letter, as ``operators.actions.reveal`` gives it back."""
    return replace(
        found,
        error_message=texts.error_message,
        history=tuple(
            replace(one, error_message=texts.of_attempts.get(one.call_id, one.error_message)) for one in found.history
        ),
        calls=tuple(replace(one, error_message=texts.of_calls.get(one.id, one.error_message)) for one in found.calls),
    )


def _report(connection: Connection, message_id: int, place: _Place) -> MessageReport | None:
    messages, attempts = place.messages.c, place.attempts.c
    asked = columns_of(MessageReport, place.messages, archived=literal(place is _ARCHIVE), held=messages.held.is_(True))
    facts: dict[str, Any] | None = connection.execute(asked.where(messages.id == message_id)).mappings().one_or_none()  # type: ignore[assignment]
    if facts is None:
        return None
    tried = columns_of(Attempt, place.attempts).where(attempts.message_id == message_id)
    history = all_of(connection, Attempt, tried.order_by(attempts.call_id.desc()).limit(NEWEST_CALLS + 1))
    calls = all_of(connection, Call, _calls_of(message_id, place).limit(NEWEST_CALLS + 1))
    waits = facts["status"] == "pending"
    pause = pause_of(connection, facts["account"]) if waits else None
    asked_for_apps = waits and pause is None and not facts["held"]
    perhaps = asked_for_apps and app_keys(connection).may_hold_up(facts["account"])
    return MessageReport(
        **facts,
        history=history[:NEWEST_CALLS][::-1],
        calls=calls[:NEWEST_CALLS][::-1],
        newest_only=max(len(history), len(calls)) > NEWEST_CALLS,
        pause=pause,
        perhaps_paused_by=app_pauses(connection) if perhaps else (),
        behind_failed=_behind(connection, facts, history, calls) if waits else None,
    )


def _behind(
    connection: Connection, facts: dict[str, Any], history: tuple[Attempt, ...], calls: tuple[Call, ...]
) -> FailedHead | None:
    """None too where it is in flight, or was tried since that one failed: then no worker waits with it."""
    if facts["ordering_key"] is None or facts["held"] or any(one.settled_at is None for one in calls):
        return None
    found = failed_head(connection, facts["account"], facts["ordering_key"], facts["id"])
    return None if found and history and history[0].at > found.finished_at else found


def _calls_of(message_id: int, place: _Place) -> Select[Any]:
    """The newest first. Calls are found by what names them, for no index leads from a message to all of its calls.

    Each is looked up by its id (an array, a lateral): as joins, the planner would rather read all calls of the archive.
    """
    named = union(
        _newest(select(place.attempts.c.call_id.label("id")).where(place.attempts.c.message_id == message_id)),
        select(place.messages.c.call_id).where(place.messages.c.id == message_id),
        _newest(select(call.c.id).where(OPEN, any_(call.c.message_ids) == message_id)),
    )
    calls = place.calls.c
    first = select(calls.id, calls.parent_id).where(calls.id == any_(func.array(named.scalar_subquery())))
    line = first.cte("line", recursive=True)
    parent = select(calls.id, calls.parent_id).where(calls.id == line.c.parent_id).offset(0).lateral()
    line = line.union(select(parent.c.id, parent.c.parent_id).select_from(line).join(parent, literal(True)))
    position = func.array_position(calls.message_ids, literal(message_id, BigInteger)) - 1
    shown = columns_of(Call, place.calls, result_index=position, messages=func.cardinality(calls.message_ids))
    lines = select(line.c.id).limit(_MOST_LINES)  # a recursion goes on for as long as somebody reads it
    return shown.where(calls.id == any_(func.array(lines.scalar_subquery()))).order_by(calls.id.desc())


def _newest(ids: Select[Any]) -> Select[Any]:
    """Some more than are shown: what they were split off from is among the shown ones, too."""
    return select(ids.order_by(ids.selected_columns.id.desc()).limit(NEWEST_CALLS + 1).subquery())
