"""Every option with its value and where that comes from, also where some of them are wrong. Never raises for a value.

A secret is shown as being there, with a fingerprint that tells two apart; of an address of a database the place is
shown and no fingerprint, for its password may be guessed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from inspect import get_annotations
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr
from sqlalchemy import make_url

from relay.addresses import told
from relay.credential import fingerprint
from relay.settings import HIDDEN, PARTLY_SHOWN, SECRETS, Settings, made, sources, variables
from relay.settings.producers import Sections
from relay.settings.values import unit_of, variable_of

_ADDRESS = "_url"


@dataclass(frozen=True, slots=True)
class Option:
    """``name`` is that in the file, ``place`` a variable or a path. ``value`` and ``default`` are what people may see,
    ``raw`` is the value itself, None where it is a secret or of no use.
    """

    name: str
    variable: str
    value: object = None
    is_set: bool = False
    fingerprint: str | None = None
    source: str = sources.DEFAULT
    place: str | None = None
    default: object = None
    unit: str = ""
    meaning: str = ""
    secret: bool = False
    problem: str | None = None
    group: str = field(default="", repr=False)
    raw: object = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Inspected:
    """``settings`` are those that are right, with defaults for the rest; ``problems`` are all, a line each."""

    options: list[Option]
    settings: Settings
    problems: list[str]


def inspected(**flags: Any) -> Inspected:
    """The options as ``load`` would see them with these flags; a flag that is None was not given."""
    names = variables()
    found = sources.gathered(sources.environment(), names, SECRETS, read=SECRETS)
    given = dict(found.given)
    for name, value in flags.items():
        if value is not None:
            given[variable_of(name)] = sources.GivenValue(value, sources.FLAG, f"--{name.replace('_', '-')}")
    sections = Sections({}, found.producer_variables, found.producer_tables)
    settings, wrong, taken = _as_far_as_possible({variable: each.value for variable, each in given.items()}, sections)
    of_sources: dict[str, str] = {}
    for variable, line in found.problems:
        of_sources.setdefault(variable, line)
    told_wrong = {**of_sources, **wrong}
    options = [
        _option(
            variable,
            given.get(variable),
            getattr(settings, name) if variable in taken or variable not in given else None,
            told_wrong.get(variable),
        )
        for variable, name in names.items()
    ]
    return Inspected(options, settings, [*(line for _, line in found.problems), *wrong.values()])


def _as_far_as_possible(
    values: Mapping[str, Any], sections: Sections
) -> tuple[Settings, dict[str, str], Collection[str]]:
    """The settings without what is wrong, the first problem of each option, and which values were taken. A default that
    does not go with a value counts against it: then that value is left out which makes most of it good.
    """
    wrong: dict[str, str] = {}
    left = dict(values)
    settings, problems = made(left, sections)
    while settings is None:
        wrong = {**dict(reversed(problems)), **wrong}
        without = {variable for variable, _ in problems} & left.keys()
        if not without:
            without = {min(left, key=lambda each: len(made(_less(left, {each}), sections)[1]))}
        left = _less(left, without)
        settings, problems = made(left, sections)
    return settings, wrong, left.keys()


def _less(values: Mapping[str, Any], without: set[str]) -> dict[str, Any]:
    return {variable: value for variable, value in values.items() if variable not in without}


def _option(variable: str, given: sources.GivenValue | None, taken: Any, problem: str | None) -> Option:
    """``taken`` is the value in force; None where what was given is not."""
    name = variables()[variable]
    about = Settings.model_fields[name]
    text = taken.get_secret_value() if isinstance(taken, SecretStr) else taken
    value, raw, mark = taken, taken, None
    if name in SECRETS:
        value, raw = None, None
        if text:
            value, mark = (told(make_url(text)), None) if name.endswith(_ADDRESS) else (None, fingerprint(text))
    elif name in HIDDEN and "@" in str(text):  # an address with a password
        value, raw = "{0.scheme}://{0.hostname}{0.path}".format(urlsplit(text)), None
    elif taken is None and given is not None and name not in HIDDEN:
        value, raw = str(given.value), given.value
    elif name in PARTLY_SHOWN and text:
        value = f"…{text[-4:]}"
    return Option(
        name=sources.option_of(variable),
        variable=variable,
        value=value,
        is_set=given is not None,
        fingerprint=mark,
        source=given.source if given else sources.DEFAULT,
        place=given.place if given else None,
        default=about.default,
        unit=unit_of(name, about),
        meaning=about.description or "",
        secret=name in SECRETS,
        problem=problem,
        group=next(kind.__name__ for kind in Settings.__mro__ if name in get_annotations(kind)),
        raw=None if given is None else raw,
    )
