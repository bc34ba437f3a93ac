"""The business argument ``messages``: a JSON array of 1 to 50 objects, and what makes one element unacceptable.

A text that is not such an array refuses the whole call (40 missing, 41 anything else). An element that is wrong in
itself is refused alone, at its own index. ``null`` stands for absent, unknown members are ignored. No sub code of the
platform for a single message is documented; those used here follow the general ones of its ``isv.`` family. The length
limits are those of the single-message API, counted in characters: none is printed for the batch one.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

from relay.sandbox.answers import ProduceResult, Refusal

MAX_ELEMENTS = 50
MAX_CHARACTERS = {
    "topic": 256,
    "content": 122_880,
    "target_group": 256,
    "target_app_key": 256,
    "json_ex_content": 500,
}
MISSING = Refusal(40, "Missing required arguments:messages", "isv.missing-parameter:messages")
INVALID = Refusal(41, "Invalid arguments:messages", "isv.invalid-parameter:messages")
ACCEPTED = ProduceResult()

Element = dict[str, Any]


def read_elements(text: str) -> list[Element] | Refusal:
    """The elements in the order sent, or why the call is refused."""
    if not text.strip():
        return MISSING
    elements = _parse(text)
    if not isinstance(elements, list) or not 1 <= len(elements) <= MAX_ELEMENTS:
        return INVALID
    return elements if all(isinstance(element, dict) for element in elements) else INVALID


def judge(element: Element, permitted_topics: frozenset[str]) -> ProduceResult:
    """What is wrong with this element, if anything. An empty set of topics permits every topic."""
    for name, limit in MAX_CHARACTERS.items():
        value = element.get(name)
        if value is None and name not in ("topic", "content"):
            continue
        if not isinstance(value, str):
            return _invalid(f"{name} must be a string")
        if len(value) > limit:
            return _invalid(f"{name} is longer than {limit} characters")
    for name in ("content", "json_ex_content"):
        if element.get(name) is not None and not isinstance(_parse(element[name]), dict):
            return _invalid(f"{name} must be the text of a JSON object")
    if not element["topic"].strip():
        return _invalid("topic must not be blank")
    if permitted_topics and element["topic"] not in permitted_topics:
        return ProduceResult("isv.invalid-permission", "this app may not produce this topic")
    return ACCEPTED


def _invalid(sentence: str) -> ProduceResult:
    return ProduceResult("isv.invalid-parameter", sentence)


def _parse(text: str) -> object:
    """The JSON value, or None when the text is not JSON. Numbers become floats: only shapes matter here."""
    try:
        return json.loads(text, parse_int=float, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
