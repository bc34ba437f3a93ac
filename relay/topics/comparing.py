"""Whether everything that fits an old schema fits the new one, as far as that can be read from the two.

What is found is a sentence each: ``incompatible`` where some old message does not fit, ``undecided`` where this does
not know the construct or cannot tell. Never is something called compatible because nobody looked: a keyword that is not
known here counts as undecided unless it says the same on both sides.

The old schema says what was written: a property that it does not name was not written, unless it permits others
(``additionalProperties``). That holds for what pydantic gives in the mode of serialization.

    accepts ─> every old branch    anyOf, oneOf with a discriminator, several types
           └─> some new branch
           └─> one and one         values, type, bounds (``keywords``), then the parts of objects and arrays
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from relay.topics.keywords import Certainty, assertions, bounds, misshapen, refers, same, type_of, unknown, within


@dataclass(frozen=True, slots=True)
class Incompatibility:
    """``place`` is where in the content, empty for all of it; ``says`` what is the matter there."""

    kind: Certainty
    topic: str
    place: str
    says: str

    def __str__(self) -> str:
        return ": ".join(part for part in (self.kind, self.topic, self.place, self.says) if part)


def compared(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Incompatibility]:
    """What the topics of the document ``new`` may not take of the messages of ``old``; empty: they take all."""
    found = []
    for topic, schema in old["topics"].items():
        if topic not in new["topics"]:
            found.append(Incompatibility("incompatible", topic, "", "the topic is no longer there"))
            continue
        comparison = _Comparison(schema, new["topics"][topic])
        troubles = dict.fromkeys(comparison.accepts(schema, new["topics"][topic], ""))
        found += [Incompatibility(kind, topic, place, says) for kind, place, says in troubles]
    return found


_Trouble = tuple[Certainty, str, str]


class _Comparison:
    """Of one topic: references lead into the schema they stand in."""

    def __init__(self, old: Any, new: Any) -> None:
        self._old, self._new = old, new
        self._begun: set[tuple[int, int]] = set()
        self._same = same(old, new)

    def accepts(self, old: Any, new: Any, place: str) -> list[_Trouble]:
        old, new = _resolved(old, self._old), _resolved(new, self._new)
        if old is False or new is True or (id(old), id(new)) in self._begun:
            return []  # what has begun and is still being compared is told there
        if new is False:
            return [("incompatible", place, "nothing is accepted here any more")]
        old = {} if old is True else old
        if not isinstance(old, dict) or not isinstance(new, dict):
            return [("undecided", place, "this is no JSON Schema")]
        if not assertions(new) or (same(old, new) and (self._same or not refers(old))):
            return []
        self._begun.add((id(old), id(new)))
        try:
            return list(self._all_of_it(old, new, place))
        finally:
            self._begun.discard((id(old), id(new)))

    def _all_of_it(self, old: dict[str, Any], new: dict[str, Any], place: str) -> Iterator[_Trouble]:
        branches, choices = _branches(old), _branches(new)
        if choices and not branches and "enum" in old and isinstance(old["enum"], list):
            branches = [{"const": value} for value in old["enum"]]
        if branches:
            for branch in branches:
                yield from self.accepts(branch, new, place)
        elif choices:
            tag = _tag(new)
            if _type(old) == "object" and tag is not None and tag not in old.get("properties", {}):
                yield "incompatible", _at(place, tag), "tells alternatives apart now, and is missing in old messages"
            yield from self._some_of(old, choices, place)
        elif "$ref" in old or "$ref" in new:
            yield "undecided", place, f"where {old.get('$ref', new.get('$ref'))} leads"
        elif wrong := misshapen(old) or misshapen(new):
            yield "undecided", place, f"{', '.join(wrong)} is not as JSON Schema has it"
        else:
            yield from self._one(old, new, place)

    def _some_of(self, old: dict[str, Any], choices: list[Any], place: str) -> list[_Trouble]:
        tried = [(_resolved(choice, self._new), self.accepts(old, choice, place)) for choice in choices]
        near = [troubles for choice, troubles in tried if not self._apart(old, choice)]
        if not all(troubles for _, troubles in tried):
            return []
        if not near:
            return [("incompatible", place, f"{_told(old)} is no longer accepted")]
        best = min(near, key=len)
        if len(near) == 1:
            return best
        said = best[0][2]
        return [("undecided", place, f"{_told(old)} fits none of {len(near)} alternatives as a whole ({said})")]

    def _apart(self, old: dict[str, Any], choice: Any) -> bool:
        """Whether no value can fit both: other types, or a property that has other values in each."""
        if not isinstance(choice, dict):
            return choice is False
        kinds = _type(old), _type(choice)
        if None not in kinds and not within(str(kinds[0]), str(kinds[1])):
            return True
        of_old, of_choice = old.get("properties"), choice.get("properties")
        if not isinstance(of_old, dict) or not isinstance(of_choice, dict):
            return False
        for name in set(of_old) & set(of_choice):
            before = _values(_resolved(of_old[name], self._old))
            now = _values(_resolved(of_choice[name], self._new))
            if before is not None and now is not None and not any(_is_in(value, now) for value in before):
                return True
        return False

    def _one(self, old: dict[str, Any], new: dict[str, Any], place: str) -> Iterator[_Trouble]:
        if _values(old) is not None or _values(new) is not None:
            yield from ((kind, place, says) for kind, says in _narrowed(old, new))
            return
        before, now = _type(old), _type(new)
        if now is not None and (before is None or not within(before, now)):
            was = "anything was allowed, and now" if before is None else f"the type was {before}, and now"
            yield "incompatible", place, f"{was} {now}"
            return
        if before is None:
            yield "undecided", place, f"whether all that was allowed fits {', '.join(sorted(assertions(new)))}"
            return
        for kind, says in (*bounds(old, new), *unknown(old, new)):
            yield kind, place, says
        yield from self._objects(old, new, place)
        yield from self._arrays(old, new, place)

    def _objects(self, old: dict[str, Any], new: dict[str, Any], place: str) -> Iterator[_Trouble]:
        was, is_now = old.get("properties", {}), new.get("properties", {})
        others = new.get("additionalProperties", True)
        # What a model does not permit it has not written; an object without properties may hold anything.
        before = old.get("additionalProperties", "properties" not in old)
        for name in new.get("required", []):
            if name not in old.get("required", []):
                how = "may be missing in old messages" if name in was else "is missing in old messages"
                yield "incompatible", _at(place, name), f"is required now, and {how}"
        for name, schema in was.items():
            if name not in is_now and others is False:
                yield "incompatible", _at(place, name), "is no longer accepted"
            else:
                yield from self.accepts(schema, is_now.get(name, others), _at(place, name))
        if before is not False:
            for name in sorted(set(is_now) - set(was)):
                yield from self.accepts(before, is_now[name], _at(place, name))
            yield from self.accepts(before, others, _at(place, "*"))
        if "propertyNames" in new:
            names = old.get("propertyNames", {"type": "string"} if before is not False else {"enum": list(was)})
            yield from self.accepts(names, new["propertyNames"], f"{place}'s names".removeprefix("'s "))

    def _arrays(self, old: dict[str, Any], new: dict[str, Any], place: str) -> Iterator[_Trouble]:
        was, is_now = old.get("prefixItems", []), new.get("prefixItems", [])
        rest, rest_now = old.get("items", True), new.get("items", True)
        longest = old.get("maxItems")
        told = max(len(was), len(is_now))
        for index in range(told if longest is None else min(told, longest)):
            before = was[index] if index < len(was) else rest
            now = is_now[index] if index < len(is_now) else rest_now
            yield from self.accepts(before, now, f"{place}[{index}]")
        if longest is None or longest > told:
            yield from self.accepts(rest, rest_now, f"{place}[]")


def _resolved(schema: Any, root: Any) -> Any:
    """Where its ``$ref`` or its only ``allOf`` leads, as long as nothing beside it says more; else itself."""
    for _ in range(100):
        if not isinstance(schema, dict) or len(assertions(schema)) != 1:
            return schema
        if isinstance(whole := schema.get("allOf"), list) and len(whole) == 1:
            schema = whole[0]
        elif isinstance(reference := schema.get("$ref"), str) and reference.startswith("#"):
            target = root
            for step in reference.split("/")[1:]:
                step = step.replace("~1", "/").replace("~0", "~")
                if isinstance(target, list) and step.isdecimal() and int(step) < len(target):
                    target = target[int(step)]
                elif isinstance(target, dict) and step in target:
                    target = target[step]
                else:
                    return schema
            schema = target
        else:
            return schema
    return schema


def _branches(schema: dict[str, Any]) -> list[Any]:
    """The schemas of which one must fit, or none at all if it is a single one."""
    kinds = schema.get("type")
    if isinstance(kinds, list) and all(isinstance(kind, str) for kind in kinds):
        return [{**schema, "type": kind} for kind in kinds]
    for name in ("anyOf", "oneOf"):
        exclusive = name == "anyOf" or "discriminator" in schema
        if isinstance(schema.get(name), list) and exclusive and assertions(schema) == {name}:
            return list(schema[name])
    return []


def _tag(schema: dict[str, Any]) -> str | None:
    discriminator = schema.get("discriminator")
    return discriminator.get("propertyName") if isinstance(discriminator, dict) else None


def _values(schema: Any) -> list[Any] | None:
    if not isinstance(schema, dict):
        return None
    if "const" in schema:
        return [schema["const"]]
    return schema["enum"] if isinstance(schema.get("enum"), list) else None


def _type(schema: dict[str, Any]) -> str | None:
    if isinstance(schema.get("type"), str):
        return str(schema["type"])
    kinds = {type_of(value) for value in _values(schema) or ()}
    return kinds.pop() if len(kinds) == 1 else None


def _narrowed(old: dict[str, Any], new: dict[str, Any]) -> Iterator[tuple[Certainty, str]]:
    """Where one of the two, or both, list the values there are."""
    before, now, kind = _values(old), _values(new), _type(new)
    if before is None:
        yield "incompatible", f"{_told(old)} was allowed, and now only {', '.join(map(repr, now or ()))}"
        return
    for value in before:
        if now is not None and not _is_in(value, now):
            yield "incompatible", f"{value!r} is no longer allowed"
        elif now is None and kind is not None and not within(type_of(value), kind):
            yield "incompatible", f"{value!r} is no longer allowed: the type is now {kind}"
    more = assertions(new) - {"type", "enum", "const"}
    if more and any(not same(old.get(name), new[name]) or refers(new[name]) for name in more):
        yield "undecided", f"whether {', '.join(map(repr, before))} fits {', '.join(sorted(more))}"


def _is_in(value: Any, values: list[Any]) -> bool:
    return any(same(value, each) for each in values)


def _told(schema: dict[str, Any]) -> str:
    values = _values(schema)
    if values is not None:
        return ", ".join(map(repr, values))
    title = schema.get("title")
    return f"any {_type(schema) or 'value'}" + (f" ({title})" if isinstance(title, str) else "")


def _at(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name
