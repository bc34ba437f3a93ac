"""How settings that are wrong are told: a line each with what the option takes, and the nearest name to an unknown."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo


def nearest(name: str, known: Iterable[str], prefix: str = "") -> str:
    """The question after a name that nobody knows; empty where nothing is near. The prefix makes nothing nearer."""
    by_end = {candidate.removeprefix(prefix): candidate for candidate in known}
    near = difflib.get_close_matches(name.removeprefix(prefix), by_end, n=1, cutoff=0.7)
    return f"; did you mean {by_end[near[0]]}?" if near else ""


def problems_of(
    error: ValidationError,
    options: Mapping[str, FieldInfo],
    *,
    hidden: Collection[str],
    named: Callable[[str], str] | None = None,
) -> list[str]:
    """A line for each problem; what was given is told unless the option is ``hidden``.

    ``named`` says how an option is called, by the name of its field, or all of them together by an
    empty one; without it that is its variable.
    """
    return [line for _, line in problems_by_option(error, options, hidden=hidden, named=named)]


def problems_by_option(
    error: ValidationError,
    options: Mapping[str, FieldInfo],
    *,
    hidden: Collection[str],
    named: Callable[[str], str] | None = None,
) -> list[tuple[str, str]]:
    """The same lines, each after its option: its variable where it has one, else its field; none if of several."""
    fields = {str(option.validation_alias): name for name, option in options.items()}
    lines: list[tuple[str, str]] = []
    for problem in error.errors(include_url=False):
        place = str(problem["loc"][0]) if problem["loc"] else ""  # the variable; the field where a default is wrong
        field = fields.get(place, place)
        if field not in options:  # of several together: what was given is all of it
            lines.append(("", (f"{named('')}: " if named else "") + _requirement(problem, None)))
            continue
        name = named(field) if named else options[field].validation_alias
        shown = "" if field in hidden or problem["type"] == "missing" else f", got {problem['input']}"
        option = str(options[field].validation_alias or field)
        lines.append((option, f"{name}: {_requirement(problem, options[field])}{shown}"))
    return lines


def _requirement(problem: Any, option: FieldInfo | None) -> str:
    kind, context = problem["type"], problem.get("ctx", {})
    if kind == "missing":
        return "is needed"
    if kind == "value_error":
        return str(context["error"])
    if kind == "literal_error":
        return f"must be {context['expected']}"
    if option is not None and kind in ("greater_than", "greater_than_equal", "less_than_equal"):
        return _range(option)
    words = {"int": "a whole number", "float": "a number", "bool": "true or false", "finite": "a finite number"}
    wanted = words.get(kind.partition("_")[0])
    return f"must be {wanted}" if wanted else str(problem["msg"])


def _range(option: FieldInfo) -> str:
    limits = {type(limit).__name__: limit for limit in option.metadata}
    if "Gt" in limits:
        most = f" and at most {limits['Le'].le:,}" if "Le" in limits else ""
        return f"must be more than {limits['Gt'].gt}{most}"
    if "Ge" not in limits:
        return f"must be at most {limits['Le'].le}"
    least = limits["Ge"].ge
    return f"must be between {least} and {limits['Le'].le}" if "Le" in limits else f"must be at least {least}"
