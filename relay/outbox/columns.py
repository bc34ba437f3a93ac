"""What an insert into the outbox may name, and what each column accepts.

This is the first block of the table in public: everything but ``topic`` and ``content`` may be left out, and None means
the same as leaving it out. All is checked before the database would refuse it, because its refusal spoils the caller's
whole transaction, and quotes the row.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from difflib import get_close_matches
from typing import Any, TypedDict

from relay.errors import MessageError
from relay.outbox.content import beyond_limit, encodable, exact_text, utf8_length
from relay.outbox.kinds import derives_from, is_a
from relay.schema import END_OF_TIMES, FIRST_TIME, MAX_BYTES, MAX_TOPIC_CHARACTERS, outbox


class Columns(TypedDict, total=False):
    """The columns an insert may name beside ``topic`` and ``content``."""

    account: str | None
    target_group: str | None
    target_app_key: str | None
    json_ex_content: Any
    ordering_key: str | None
    dedupe_key: str | None
    available_at: datetime | None
    deliver_before: datetime | None
    producer: str | None
    headers: Any


NOT_GIVEN: Any = type("NotGiven", (), {"__repr__": lambda _: "not given"})()
"""In the place of an argument that was left out."""

_OPTIONAL = tuple(Columns.__annotations__)
NAMES = ("topic", "content", *_OPTIONAL)
# What others call it, where the letters alone would lead astray.
_CALLED_ELSEWHERE = {
    "available_at": ("delay", "delay_seconds", "countdown", "eta", "not_before", "run_at", "schedule_at", "send_at"),
    "deliver_before": ("deadline", "expires", "expires_at", "expiry", "not_after", "timeout", "ttl"),
    "ordering_key": ("group", "group_id", "key", "message_group_id", "partition_key", "queue", "routing_key"),
    "dedupe_key": ("deduplication_id", "idempotency_key", "message_id", "request_id", "unique_key"),
    "account": ("seller", "session", "shop", "tenant"),
    "headers": ("attributes", "metadata", "properties"),
}
_MEANT = {called: name for name, others in _CALLED_ELSEWHERE.items() for called in others}
_TIMES = ("available_at", "deliver_before")
_KEYS = ("ordering_key", "dedupe_key")  # whatever an application puts between their parts
# ASCII's and Latin-1's, separators of lines, what turns a text round, what nobody sees; as the tables have it.
_CONTROLS = re.compile(
    "[\x01-\x1f\x7f-\x9f\u2028-\u202e\u2060-\u206f"
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f"
    "\u2800\u3164\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e00ff]"
)
_BLANK = re.compile(r"[\s\u00a0\u1680\u2000-\u200d\u202f\u205f\u3000\ufe00-\ufe0f\U000e0100-\U000e01ef]*")


def parameters(topic: object, content: object, columns: Mapping[str, object]) -> dict[str, Any]:
    """Column name -> checked value, for what was given; MessageError says what is wrong with which column.

    A ``relay.Topic`` stands for topic and content, in the place of the topic, or for the content of its own topic.
    """
    if is_typed(topic) or derives_from(topic, "relay.outbox.topic", "Topic"):
        topic, content = NOT_GIVEN, _alone(topic, content)
    if is_typed(content):
        topic, columns = _of_typed(content, topic, columns)
    for name, value in (("topic", topic), ("content", content)):
        if value is NOT_GIVEN:
            hint = "Give a topic and a content, or a message whose class is a relay.Topic."
            raise MessageError(f"This names no {name}.", hint)
    row: dict[str, Any] = {"topic": checked_topic(topic), "content": exact_text(content)}
    for name, value in columns.items():
        if name not in _OPTIONAL:
            raise _unknown(str(name))
        if value is None:
            continue
        if name in ("json_ex_content", "headers"):
            row[name] = exact_text(value, name)
        elif name in _TIMES:
            row[name] = _moment(name, value)
        else:
            row[name] = line(name, value)
    _refuse_too_late(row.get("available_at"), row.get("deliver_before"))
    return row


def is_typed(value: object) -> bool:
    """Whether it is a ``relay.Topic``."""
    return is_a(value, "relay.outbox.topic", "Topic")


def _alone(message: object, content: object) -> object:
    """What stands in the place of the topic, which is a message of its own or the class of one."""
    is_class = isinstance(message, type)
    if content is NOT_GIVEN and not is_class:
        return message
    kind = message.__name__ if isinstance(message, type) else type(message).__name__
    what = "the class of messages that carry" if is_class else "a message that carries"
    raise MessageError(
        f"{kind} is {what} topic and content in one{'' if content is NOT_GIVEN else ', and this names a content too'}.",
        f"Give one message of it, with its fields, and nothing else: relay.add(session, {kind}(...))",
    )


def _refuse_too_late(available_at: datetime | None, deliver_before: datetime | None) -> None:
    """A message that could never be sent, whatever time it is. One that is late already is taken, and fails with
    relay.expired: a business transaction does not fail because it came late, nor by the clock of its host.
    """
    if available_at is not None and deliver_before is not None and deliver_before <= available_at:
        raise MessageError(
            f"The deliver_before ({deliver_before.isoformat()}) is not after available_at "
            f"({available_at.isoformat()}), so the message could never be sent.",
            "Let available_at be the first moment at which it may be sent, and deliver_before the last.",
        )


def _of_typed(message: Any, topic: object, columns: Mapping[str, object]) -> tuple[str, Mapping[str, object]]:
    """The topic a typed message is bound to, and the columns with the keys it gives itself."""
    kind, bound = type(message).__name__, str(message.__topic__)
    if not bound:
        raise MessageError(
            f"{kind} is bound to no topic.", f'Name it where the class is made: class {kind}(relay.Topic, topic="...")'
        )
    if topic is not NOT_GIVEN and topic != bound:
        raise MessageError(f"{kind} is bound to the topic {bound}, and this is another.", "Leave the topic out.")
    missing = (name for name in _KEYS if columns.get(name) is None)
    return bound, {**columns, **{name: getattr(message, name)() for name in missing}}


def checked_topic(value: object) -> str:
    """``value`` if it can be a topic; MessageError says what is wrong with it."""
    topic = line("topic", value)
    if len(topic) > MAX_TOPIC_CHARACTERS:
        raise MessageError(
            f"topic has {len(topic)} characters, the platform takes at most {MAX_TOPIC_CHARACTERS}.",
            "Name a topic as the platform has it.",
        )
    return topic


def line(name: str, value: object) -> str:
    """A text that is neither blank nor too long; a name also has nothing that a terminal would act upon."""
    if not isinstance(value, str):
        hint = f"Write {name}=str(...)." if isinstance(value, int) else ""
        raise MessageError(f"{name} is of type {type(value).__name__}, it must be a str.", hint)
    if _BLANK.fullmatch(value):
        raise MessageError(f"{name} is blank.", "Name one." if name == "topic" else "Leave it out for the default.")
    if "\0" in value or not encodable(value):
        raise MessageError(
            f"{name} has a character that PostgreSQL cannot store (NUL or a lone surrogate).",
            "Repair or drop it where it is read.",
        )
    if name in MAX_BYTES and (size := utf8_length(value)) > MAX_BYTES[name]:
        raise beyond_limit(name, size)
    plain = value.isascii() and value.isprintable()
    if name not in _KEYS and not plain and _CONTROLS.search(value):
        hint = "A line feed, an escape sequence, a mark without width: leave it out."
        raise MessageError(f"{name} has a control character, or one that nobody sees.", hint)
    return value


def _moment(name: str, value: object) -> datetime:
    if not isinstance(value, datetime):
        raise MessageError(f"{name} is of type {type(value).__name__}, it must be a datetime.")
    if value.utcoffset() is None:
        hint = "Give it a zone: datetime.now(timezone.utc), or .replace(tzinfo=ZoneInfo('Asia/Shanghai'))"
        raise MessageError(f"{name} has no time zone, so it names no moment.", hint)
    if not FIRST_TIME <= value < END_OF_TIMES:
        sentence = f"{name} is outside the years 1 to 9999, without their first and last day."
        raise MessageError(sentence, "Leave it out if there is no such limit.")
    return value


def _unknown(name: str) -> MessageError:
    if name in outbox.c:
        return MessageError(
            f"{name} is kept by the relay, an insert cannot name it.", f"Columns: {', '.join(_OPTIONAL)}"
        )
    near = _MEANT.get(name) or get_close_matches(name, _OPTIONAL, 1, cutoff=0)[0]
    how = " It is a moment: datetime.now(timezone.utc) + timedelta(seconds=60)." if near in _TIMES else ""
    return MessageError(f"There is no column {name!r}.", f"Did you mean {near!r}?{how} Columns: {', '.join(_OPTIONAL)}")
