"""What may stand in a json column of the outbox, as the exact text that is stored and sent.

Nothing is changed silently: what JSON cannot say exactly (a Decimal, a time, NaN, a key that is no string) is refused
with the place where it stands, and a text that came ready is passed on letter for letter. The sentences name places and
types, never values; and a text hides itself from ``repr``, through which SQLAlchemy shows parameters in its log and
in the text of its errors.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection
from typing import Any, NoReturn

from relay.errors import MessageError
from relay.outbox.models import is_model, text_of_model
from relay.schema import MAX_BYTES, MAX_CONTENT_CHARACTERS, TOMBSTONE


class ExactText(str):
    """A JSON object that has been checked, as the text to store."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{len(self)} characters>"


def exact_text(value: object, name: str = "content") -> ExactText:
    """The text of ``value``: a dict, a pydantic model (what it writes by alias), or JSON text, str or UTF-8 bytes.

    ``name`` is the column, for the sentence of the MessageError.
    """
    if isinstance(value, ExactText):
        return value
    if isinstance(value, dict):
        text = _written(value, name)
    elif isinstance(value, str | bytes | bytearray):
        text = _verified(value, name)
    elif is_model(value):
        text = _verified(text_of_model(value, name), name)
    else:
        hint = "Give a dict, a pydantic model, or the JSON text of an object."
        raise MessageError(f"{name} is of type {_kind(value)}, not a JSON object.", hint)
    if name == "content":
        _refuse_content(text)
    elif (size := utf8_length(text)) > MAX_BYTES[name]:
        raise beyond_limit(name, size)
    return ExactText(text)


def _refuse_content(text: str) -> None:
    if len(text) > MAX_CONTENT_CHARACTERS:
        limit = f"the platform takes at most {MAX_CONTENT_CHARACTERS:,}"
        raise MessageError(f"content has {len(text):,} characters, {limit}.", "Send a reference to what is large.")
    if text == TOMBSTONE:
        raise MessageError(
            "content is what relay redact leaves behind, which nobody else may write.",
            "Call it something else than redacted.",
        )


def _written(value: dict[Any, Any], name: str) -> str:
    try:
        _refuse_inexact(value, name)
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except RecursionError:
        raise MessageError(
            f"{name} is nested too deeply, or contains itself.", "Make it flatter, or leave out what leads back."
        ) from None
    except MessageError:
        raise
    except ValueError:  # all that is left: Python refuses to write integers of thousands of digits
        raise MessageError(f"{name} has an integer with too many digits.", "Write it as a string.") from None


def _refuse_inexact(value: object, path: str) -> None:
    """Raise MessageError at the first thing in ``value`` that JSON has no exact form for."""
    if isinstance(value, str):
        if not encodable(value):
            raise MessageError(
                f"{path} has half a character (a lone surrogate).", "Repair or drop it where it is read."
            )
    elif isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise MessageError(
                    f"A key in {path} is of type {_kind(key)}.", "Keys in JSON are strings: write str(key)."
                )
            _refuse_inexact(key, f"A key in {path}")
            _refuse_inexact(item, f"{path}.{key}")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            _refuse_inexact(item, f"{path}[{index}]")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise MessageError(f"{path} is NaN or infinite, which JSON cannot say.", "Leave it out, or write None.")
    elif value is not None and not isinstance(value, int):
        how = "its isoformat()" if hasattr(value, "isoformat") else "a string, a number or a list"
        raise MessageError(f"{path} is of type {_kind(value)}, which JSON has no form for.", f"Write {how} instead.")


def _verified(value: str | bytes | bytearray, name: str) -> str:
    try:
        text = value if isinstance(value, str) else value.decode()
        text.encode()
        parsed = _GRAMMAR.decode(text)
    except UnicodeError:
        raise MessageError(f"{name} is not valid UTF-8 text.", "Encode JSON text as UTF-8.") from None
    except json.JSONDecodeError as error:
        if text.startswith("\ufeff"):
            hint = "Decode bytes as utf-8-sig, which takes it away."
            raise MessageError(f"{name} begins with a byte order mark, which is no part of JSON.", hint) from None
        # Not chained: the foreign error carries the whole text.
        sentence = f"{name} is not JSON: {error.msg} at character {error.pos}, counted from 0."
        raise MessageError(sentence, 'Names and texts stand in double quotes: {"tid": 1}') from None
    except RecursionError:
        raise MessageError(f"{name} is nested too deeply.", "Make it flatter.") from None
    if not isinstance(parsed, dict):
        raise MessageError(f"{name} is JSON, but not an object.", 'Wrap it: {"items": [...]}')
    return text


def _refuse_constant(constant: str) -> NoReturn:
    raise MessageError(f"{constant} is no JSON.", "Write null, or leave the key out.")


def _skip(_digits: str) -> None:
    """Numbers are not converted: the text is what counts, and Python refuses integers of thousands of digits."""


_GRAMMAR = json.JSONDecoder(parse_int=_skip, parse_float=_skip, parse_constant=_refuse_constant)


def keys_of(text: ExactText) -> Collection[str]:
    """The keys of the object that a checked text is."""
    keys: Collection[str] = _GRAMMAR.decode(text).keys()
    return keys


def utf8_length(text: str) -> int:
    """In bytes, as PostgreSQL counts them."""
    return len(text) if text.isascii() else len(text.encode())


def beyond_limit(name: str, size: int) -> MessageError:
    """The error for a text of ``size`` bytes in the column ``name``."""
    sentence = f"{name} has {size:,} bytes, the outbox takes at most {MAX_BYTES[name]:,}."
    return MessageError(sentence, "Keep what is large elsewhere and insert a reference to it.")


def encodable(text: str) -> bool:
    """Whether the text can be written as UTF-8: Python's strings may hold lone surrogates."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _kind(value: object) -> str:
    return type(value).__name__
