"""A pydantic model as the text that is sent: what it writes itself, by alias, unless it would hide or change a value.

pydantic has an exact form for most of what JSON has none for: a Decimal is its digits as a string, a UUID and a time
are strings (ISO 8601), an Enum is its value, bytes are UTF-8. That is what is sent. Four things it would change without
a word, and they are refused: a secret (written as asterisks), NaN and the infinities (written as null), two fields of
one name (readers see the last), and a value that does not fit its field, of which pydantic warns, with the value.

A secret that a serializer of the model writes out is no longer one; a field with ``exclude=True`` is not looked at.
Where there is a model pydantic is loaded already, so nothing is imported here.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from relay.errors import MessageError
from relay.outbox.kinds import is_a

_ONE_AFTER_ANOTHER = (list, tuple, set, frozenset, deque)


def is_model(value: object) -> bool:
    """Whether it is a pydantic model itself, not a class of them."""
    return is_a(value, "pydantic.main", "BaseModel")


def text_of_model(model: Any, name: str) -> str:
    """The JSON text of it, an object or not; MessageError names places and types, never values."""
    kind = type(model).__name__
    by_alias = model.model_config.get("serialize_by_alias", True)  # False: its author says so
    try:
        text = str(model.model_dump_json(by_alias=by_alias, warnings="error"))
    except (ValueError, TypeError) as error:  # its text may quote the content, so it is not chained
        hint = "Its fields hold something else than they say, or something that has no form in JSON."
        raise MessageError(f"{name}: {kind} cannot be written as JSON ({type(error).__name__}).", hint) from None
    except RecursionError:
        hint = "Make it flatter, or leave out what leads back."
        raise MessageError(f"{name} is nested too deeply, or contains itself.", hint) from None
    _refuse_doubles(text, name, kind)
    for place, value in _leaves(model, kind, set()):
        if isinstance(value, float):
            if "null" in text or '"None":' in text:
                hint = "Leave it out, or write None."
                raise MessageError(f"{name}: {place} is NaN or infinite, which JSON cannot say.", hint)
        elif any(json.dumps(mask, ensure_ascii=False) in text for mask in _masks(value)):
            raise MessageError(
                f"{name}: {place} is a {type(value).__name__}, which would be sent as asterisks.",
                "If it is meant to be sent, let its field be a str or bytes; if not, say Field(exclude=True).",
            )
    return text


def _leaves(value: Any, place: str, seen: set[int]) -> Iterator[tuple[str, Any]]:
    """Every secret, and every float that is no number, with the place where it stands."""
    if isinstance(value, float):
        if not math.isfinite(value):
            yield place, value
        return
    if value is None or isinstance(value, str | bytes | int) or id(value) in seen:
        return
    if hasattr(type(value), "get_secret_value"):
        yield place, value
        return
    seen.add(id(value))
    for name, item in _inside(value):
        yield from _leaves(item, f"{place}{name}", seen)


def _inside(value: Any) -> Iterator[tuple[str, Any]]:
    if is_model(value):
        yield from _of_model(value)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        yield from ((f".{field.name}", getattr(value, field.name, None)) for field in dataclasses.fields(value))
    elif isinstance(value, Mapping):
        yield from (("'s key", key) for key in value)
        yield from ((f".{key}" if isinstance(key, str) else "[...]", item) for key, item in value.items())
    elif isinstance(value, _ONE_AFTER_ANOTHER):
        yield from ((f"[{index}]", item) for index, item in enumerate(value))


def _of_model(model: Any) -> Iterator[tuple[str, Any]]:
    kind = type(model)
    says_nan = model.model_config.get("ser_json_inf_nan") == "strings"
    fields = kind.model_fields
    values = {**vars(model), **(model.__pydantic_extra__ or {})}
    computed = kind.model_computed_fields
    if isinstance(computed, Mapping):  # before pydantic 2.11 it is asked of an object
        values |= {name: getattr(model, name) for name in computed}
    for name, item in values.items():
        excluded = name in fields and fields[name].exclude
        if not excluded and not (says_nan and isinstance(item, float)):
            yield f".{name}", item


def _masks(secret: Any) -> Iterator[str]:
    """What pydantic may write in its place; a secret that is empty is written as what it is."""
    mask = str(secret)
    value = secret.get_secret_value()
    if isinstance(value, bytes):
        mask, value = "*" * 10 if value else "", value.decode(errors="replace")
    if mask != value:
        yield mask


def _refuse_doubles(text: str, name: str, kind: str) -> None:
    def distinct(pairs: list[tuple[str, Any]]) -> None:
        if len({key for key, _ in pairs}) != len(pairs):
            hint = "Give each field, and each key of a dict, a name of its own."
            raise MessageError(f"{name}: {kind} writes two values of one name.", hint)

    with suppress(json.JSONDecodeError, RecursionError):  # the check of the content tells that
        json.JSONDecoder(object_pairs_hook=distinct, parse_int=str, parse_float=str).decode(text)
