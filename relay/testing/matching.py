"""Whether a message is the one that a test means, and what to say where none is. Functions of values.

A mapping is meant as "at least this": ``content={"tid": 1}`` fits every content whose ``tid`` is 1. Everything else,
lists included, has to be equal.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any, Protocol

from relay.outbox.kinds import derives_from

if TYPE_CHECKING:
    from relay.outbox.topic import Topic

    Asked = str | type[Topic]
    """A topic, by its name or by the class that is bound to it."""

_SHOWN = 10
_MISSING = object()


class Matchable(Protocol):
    """A frozen row with a topic and fields by name."""

    @property
    def topic(self) -> str:
        """Of the message, exactly."""
        ...


def named(topic: Any) -> str:
    """The name of the topic. TypeError for what is none: it would fit no message, and so prove nothing."""
    if isinstance(topic, str):
        return topic
    if not derives_from(topic, "relay.outbox.topic", "Topic"):
        what = f"class {topic.__name__}" if isinstance(topic, type) else f"object of type {type(topic).__name__}"
        raise TypeError(f"the {what} is no topic; give its name, or a class that derives from relay.Topic")
    if not topic.__topic__:
        raise TypeError(f"{topic.__name__} is bound to no topic; give a class with one, or the name of a topic")
    return str(topic.__topic__)


def fitting(found: Iterable[Matchable], topic: str, wanted: Mapping[str, Any]) -> list[Any]:
    """Those of this topic in which every field is as wanted."""
    return [each for each in found if each.topic == topic and not differences(each, wanted)]


def differences(found: Any, wanted: Mapping[str, Any]) -> list[str]:
    """Where a message is not as wanted, a line each."""
    return [line for name, value in wanted.items() for line in _unlike(name, value, getattr(found, name))]


def refuse_unknown(kind: Any, wanted: Iterable[str]) -> None:
    """TypeError for a field that such a message does not have: else a misspelt one fits nothing, for no reason told."""
    known = [field.name for field in fields(kind)]
    for name in wanted:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"content={{{name!r}: ...}} asks for a member of the content"
            raise TypeError(f"a message has no field {name!r}; {hint}")


def unmet(verb: str, found: Sequence[Any], topic: str, wanted: Mapping[str, Any], times: int | None, met: int) -> str:
    """The sentence of a failed assertion, and below it what there is instead, the nearest first."""
    asked = "".join(f", {name}={value!r}" for name, value in wanted.items())
    number = "at least once" if times is None else f"{times} times"
    lines = [f"expected {verb}: {topic!r}{asked}, {number}; there are {met}"]
    if not found:
        lines.append(f"  nothing at all is {verb}")
    nearest = sorted(found, key=lambda each: (each.topic != topic, len(differences(each, wanted))))
    for each in nearest[:_SHOWN]:
        wrong = differences(each, wanted) if each.topic == topic else [f"topic is {each.topic!r}"]
        lines.append(f"  {described(each)}" + "".join(f"\n      {line}" for line in wrong))
    if len(found) > _SHOWN:
        lines.append(f"  and {len(found) - _SHOWN} more")
    return "\n".join(lines)


def described(found: Any) -> str:
    """One message in a line; what is not set is left out."""
    told = {name: value for name, value in asdict(found).items() if value is not None and name != "topic"}
    return f"{found.topic!r}: " + ", ".join(f"{name}={value!r}" for name, value in told.items())


def _unlike(path: str, wanted: Any, found: Any) -> list[str]:
    if isinstance(wanted, Mapping) and isinstance(found, Mapping):
        inside = ((f"{path}[{name!r}]", value, found.get(name, _MISSING)) for name, value in wanted.items())
        return [line for asked in inside for line in _unlike(*asked)]
    if found is _MISSING:
        return [f"{path} is missing"]
    return [] if wanted == found else [f"{path} is {found!r}, not {wanted!r}"]
