"""The outbox row as a mapped class, so that ``session.add(...)`` is the same line in sync and async code.

Own registry: it works in one unit of work with the application's models and is invisible to their metadata. Another
schema is reached by the engine's ``schema_translate_map={"relay": ...}``.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Unpack, overload

from sqlalchemy import ColumnDefault, Connection, event, type_coerce
from sqlalchemy.exc import DontWrapMixin
from sqlalchemy.orm import Mapped, column_property, registry, synonym

from relay.errors import MessageError
from relay.outbox.columns import NOT_GIVEN, Columns, line, parameters
from relay.outbox.content import ExactText, exact_text
from relay.outbox.tracing import carry
from relay.outbox.transaction import refuse_autocommit
from relay.schema import MAX_BYTES, metadata, outbox

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from relay.outbox.topic import Topic


def _json_attribute(name: str) -> Any:
    """A json column as Python values, before the flush (when the exact text waits in ``_name``) and after loading."""

    def read(message: OutboxMessage) -> Any:
        value = getattr(message, f"_{name}")
        return json.loads(value) if isinstance(value, ExactText) else value

    def write(message: OutboxMessage, value: object) -> None:
        setattr(message, f"_{name}", None if value is None else exact_text(value, name))

    return property(read, write)


class OutboxMessage:
    """A row of the outbox; the constructor checks what :func:`relay.add` checks, and raises MessageError.

    A ``relay.Topic`` is given as the content, without a topic; its keys are those it has then.
    Two things differ from ``relay.add``: a dedupe key that is there already is an IntegrityError at the flush, and
    autocommit is refused (NotInTransaction) there too. What the relay keeps, from ``status`` down, cannot be set
    (MessageError) and is loaded when first read after the flush; in async code ``await session.refresh(message)`` comes
    before.

    Two ways round the unit of work are not seen, so there it is for you to see that messages and orders are written in
    one transaction: ``session.bulk_save_objects`` (it calls no mapper event, so autocommit is not refused), and a
    session whose ``binds`` lead messages and orders to two engines, which are two transactions.
    """

    id: Mapped[int]
    topic: Mapped[str]
    account: Mapped[str]
    target_group: Mapped[str | None]
    target_app_key: Mapped[str | None]
    ordering_key: Mapped[str | None]
    dedupe_key: Mapped[str | None]
    available_at: Mapped[datetime]
    deliver_before: Mapped[datetime | None]
    producer: Mapped[str | None]
    status: Mapped[str]
    attempts: Mapped[int]
    call_id: Mapped[int | None]
    result_index: Mapped[int | None]
    error_code: Mapped[str | None]
    error_message: Mapped[str | None]
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    created_by: Mapped[str]
    created_xid: Mapped[int]
    content_sha256: Mapped[bytes]

    content = _json_attribute("content")
    json_ex_content = _json_attribute("json_ex_content")
    headers = _json_attribute("headers")

    @overload
    def __init__(self, *, topic: str, content: object, **columns: Unpack[Columns]) -> None: ...
    @overload
    def __init__(self, *, content: Topic, **columns: Unpack[Columns]) -> None: ...
    def __init__(self, *, topic: str = NOT_GIVEN, content: object, **columns: Unpack[Columns]) -> None:
        row = parameters(topic, content, columns)
        carry(row)
        for name, value in row.items():
            setattr(self, name, value)

    def __repr__(self) -> str:
        known = self.__dict__  # not the attributes: they would ask the database
        return f"<OutboxMessage id={known.get('id')} topic={known.get('topic')!r} status={known.get('status')}>"


_JSON = ("content", "json_ex_content", "headers")
_HIDDEN = "content_salt"  # the relay's alone
_KEPT = tuple(c.name for c in outbox.c if c.name not in {"id", "topic", *_JSON, *Columns.__annotations__, _HIDDEN})

registry(metadata=metadata).map_imperatively(
    OutboxMessage,
    outbox,
    eager_defaults=False,  # they would need SELECT on what they return
    exclude_properties=(*_KEPT, _HIDDEN),
    properties={f"_{name}": outbox.c[name] for name in _JSON}
    | {name: synonym(f"_{name}") for name in _JSON}
    # As expressions, and so never part of an INSERT, which then needs no right to write them.
    | {name: column_property(type_coerce(outbox.c[name], outbox.c[name].type)) for name in _KEPT},
)


class _PassedOnError(MessageError, DontWrapMixin):
    """A MessageError that SQLAlchemy passes on from within a statement as it is."""


def _written(name: str) -> Callable[[object], ExactText | None]:
    """How a value of this column is bound in a statement that does not come from here: as ``relay.add`` writes it."""

    def write(value: object) -> ExactText | None:
        try:
            return None if value is None else exact_text(value, name)
        except MessageError as error:
            raise _PassedOnError(str(error), error.hint) from None

    return write


for _name in _JSON:
    _type: Any = outbox.c[_name].type
    _type.write = _written(_name)


def _content_is_missing() -> str:
    # An INSERT of many rows by SQLAlchemy's ORM leaves out what it does not know as a column, without a word.
    raise _PassedOnError(
        "This INSERT names no content: insert(relay.OutboxMessage) and bulk_insert_mappings cannot write messages.",
        "Use relay.add_many(session, [{...}, ...]), or session.add_all([relay.OutboxMessage(...), ...]).",
    )


outbox.c.content.default = ColumnDefault(_content_is_missing)


def _refuse_change(_message: OutboxMessage, _value: object, _before: object, initiator: Any) -> None:
    # Left to itself SQLAlchemy would take the value, write nothing, and say nothing.
    raise MessageError(
        f"{initiator.key} of a message is kept by the relay and cannot be set.",
        "Use relay retry, relay discard or relay redact, or their SQL functions: they leave a row in the ledger.",
    )


for _name in _KEPT:
    event.listen(getattr(OutboxMessage, _name), "set", _refuse_change, propagate=True)


def _check_text(_message: OutboxMessage, value: object, _before: object, initiator: Any) -> None:
    if isinstance(value, str):
        line(initiator.key, value)


for _name in MAX_BYTES.keys() - {*_JSON}:
    event.listen(getattr(OutboxMessage, _name), "set", _check_text, propagate=True)


@event.listens_for(OutboxMessage, "before_insert", propagate=True)
def _refuse_flush_in_autocommit(_mapper: object, connection: Connection, _message: OutboxMessage) -> None:
    refuse_autocommit(connection)
