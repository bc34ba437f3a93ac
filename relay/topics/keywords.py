"""What the keywords of JSON Schema that bound a value mean where two schemas are compared.

Each rule says whether the new schema takes less than the old one in this respect: a sentence, or nothing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from typing import Any, Literal

Certainty = Literal["incompatible", "undecided"]
Said = Iterator[tuple[Certainty, str]]
Shape = type | tuple[type, ...]

# They say something to readers and nothing of what is accepted. Every tag of a discriminator is a const as well.
ANNOTATIONS = {"$schema", "$defs", "$comment", "title", "description", "default", "examples", "discriminator"} | {
    "deprecated", "readOnly", "writeOnly"
}  # fmt: skip
_NUMBERS = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}
_COUNTS = {"minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"}
_TEXTS = {"pattern", "format", "contentEncoding", "contentMediaType"}
# Told by the structure of a schema, in ``comparing``.
_PARTS: dict[str, Shape] = {
    "type": str,
    "enum": list,
    "const": object,
    "properties": dict,
    "required": list,
    "additionalProperties": (dict, bool),
    "propertyNames": (dict, bool),
    "items": (dict, bool),
    "prefixItems": list,
}
_SHAPES: dict[str, Shape] = {
    **_PARTS,
    **dict.fromkeys(_NUMBERS, (int, float)),
    **dict.fromkeys(_COUNTS, int),
    **dict.fromkeys(_TEXTS, str),
    "uniqueItems": bool,
}


def assertions(schema: Mapping[str, Any]) -> set[str]:
    """The keywords of it that may keep a value out."""
    return set(schema) - ANNOTATIONS


def misshapen(schema: Mapping[str, Any]) -> list[str]:
    """The keywords whose value is not what JSON Schema has there; several types in a list are told apart before."""
    return sorted(name for name, shape in _SHAPES.items() if name in schema and not isinstance(schema[name], shape))


def bounds(old: Mapping[str, Any], new: Mapping[str, Any]) -> Said:
    """What of the values, lengths and forms that fitted ``old`` may not fit ``new``."""
    yield from _numbers(old, new)
    for name in sorted(_COUNTS):
        if (said := _count(name, old.get(name), new.get(name))) is not None:
            yield "incompatible", said
    for name in sorted(_TEXTS):
        before, now = old.get(name), new.get(name)
        if now is not None and before is None:
            yield "incompatible", f"{name} {now!r} is asked for now"
        elif now not in (None, before):
            yield "undecided", f"{name} was {before!r} and is now {now!r}"
    if new.get("uniqueItems") and not old.get("uniqueItems"):
        yield "incompatible", "items must now be distinct"


def unknown(old: Mapping[str, Any], new: Mapping[str, Any]) -> Said:
    """A word for each keyword that nobody here knows, unless both schemas say the same by it."""
    for name in sorted((assertions(old) | assertions(new)) - set(_SHAPES)):
        if not same(old.get(name), new.get(name)) or refers(new.get(name)):
            yield "undecided", f"what {name} means is not known here"


def same(one: Any, other: Any) -> bool:
    """Whether both are the same JSON, in which true is not 1."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def refers(value: Any) -> bool:
    """Whether a ``$ref`` stands in it, which may lead elsewhere in each of two documents."""
    if isinstance(value, Mapping):
        return "$ref" in value or any(map(refers, value.values()))
    return isinstance(value, list) and any(map(refers, value))


def _numbers(old: Mapping[str, Any], new: Mapping[str, Any]) -> Said:
    whole = old.get("type") == "integer"
    for least, most, above, below, sign in (
        ("minimum", "at least", "exclusiveMinimum", "more than", 1),
        ("maximum", "at most", "exclusiveMaximum", "less than", -1),
    ):
        before, now = (_limit(each, least, above, sign, whole) for each in (old, new))
        if now > before:
            name, word = (least, most) if least in new else (above, below)
            yield "incompatible", f"must now be {word} {new[name]}"
    step, step_now = old.get("multipleOf"), new.get("multipleOf")
    if step_now and not (whole and step_now == 1) and (not step or Fraction(str(step)) % Fraction(str(step_now)) != 0):
        yield "incompatible", f"must now be a multiple of {step_now}"


def _limit(schema: Mapping[str, Any], inclusive: str, exclusive: str, sign: int, whole: bool) -> tuple[float, bool]:
    """The tighter one of two limits, and whether it is left out itself; an upper one is mirrored: larger is tighter."""
    limits = [(-math.inf, False)]
    if inclusive in schema:
        limits.append((sign * schema[inclusive], False))
    if exclusive in schema:
        value = sign * schema[exclusive]
        limits.append((math.floor(value) + 1, False) if whole else (value, True))
    return max(limits)


def _count(name: str, before: int | None, now: int | None) -> str | None:
    if now is None:
        return None
    if name.startswith("min"):
        return f"{name} is now {now}" if now > (before or 0) else None
    return f"{name} is now {now}" if before is None or now < before else None


_TYPES: tuple[tuple[str, Callable[[Any], bool]], ...] = (
    ("null", lambda value: value is None),
    ("boolean", lambda value: isinstance(value, bool)),
    ("integer", lambda value: isinstance(value, int) or (isinstance(value, float) and value.is_integer())),
    ("number", lambda value: isinstance(value, float)),
    ("string", lambda value: isinstance(value, str)),
    ("array", lambda value: isinstance(value, list)),
    ("object", lambda value: isinstance(value, dict)),
)


def type_of(value: Any) -> str:
    """The narrowest type of JSON Schema of a value that was read from JSON."""
    return next(name for name, fits in _TYPES if fits(value))


def within(narrow: str, wide: str) -> bool:
    """Whether each value of the first type is of the second one."""
    return narrow == wide or (narrow, wide) == ("integer", "number")
