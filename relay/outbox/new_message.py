"""A message before it is in the outbox: a value that has been checked, for ``add_many``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Unpack, overload

from relay.errors import MessageError
from relay.outbox.columns import NOT_GIVEN, Columns, is_typed, parameters

if TYPE_CHECKING:
    from relay.outbox.topic import Topic


class NewMessage:
    """A message to insert; the constructor takes and checks what :func:`relay.add` does, and raises MessageError.

    It keeps the text of its content, so what is done to a dict afterwards changes nothing.
    """

    __slots__ = ("_row",)
    _row: dict[str, Any]

    @overload
    def __init__(self, topic: str, content: object, **columns: Unpack[Columns]) -> None: ...
    @overload
    def __init__(self, topic: Topic, /, **columns: Unpack[Columns]) -> None: ...
    def __init__(self, topic: str | Topic, content: object = NOT_GIVEN, **columns: Unpack[Columns]) -> None:
        self._row = parameters(topic, content, columns)

    def __repr__(self) -> str:
        return f"<NewMessage topic={self._row['topic']!r}>"


def row_of(message: object, position: int) -> dict[str, Any]:
    """Column name -> checked value of what ``add_many`` takes; an error says at which position, counted from 0."""
    if isinstance(message, NewMessage):
        return message._row
    place = f"messages[{position}]"
    columns: dict[str, Any] = {"topic": message} if is_typed(message) else {}
    if not columns:
        if not isinstance(message, Mapping):
            hint = "Give a mapping with topic and content, a relay.Topic, or relay.NewMessage(topic, content)."
            raise MessageError(f"{place} is of type {type(message).__name__}, no message.", hint)
        columns = dict(message)
        if missing := [name for name in ("topic", "content") if name not in columns]:
            raise MessageError(f"{place} names no {' and no '.join(missing)}.", "Every message has both.")
    try:
        return parameters(columns.pop("topic"), columns.pop("content", NOT_GIVEN), columns)
    except MessageError as error:
        raise MessageError(f"{place}: {error}", error.hint) from None
