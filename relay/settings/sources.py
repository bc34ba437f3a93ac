"""Where values come from: environment, secret files and the TOML file, each value with the place it was found at.

Everything that is wrong with a source is collected, a line each, and nothing is raised: whoever loads the settings
raises all of it at once, and ``relay config`` shows it beside the option. No line contains a value.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from relay.errors import ConfigurationError
from relay.settings.files import DEFAULT_FILE, flattened, is_there, read_toml, take_accounts
from relay.settings.producers import PREFIX as PRODUCER_PREFIX
from relay.settings.producers import take_tables, with_ours, written_apart
from relay.settings.values import PREFIX, variable_of
from relay.texts import UnusableText, read_value
from relay.wording import nearest

FLAG, ENVIRONMENT, SECRET_FILE, FILE, DEFAULT = "flag", "environment", "secret file", "file", "default"
IN_A_FILE = "_FILE"
# RELAY_TEST_* is for the tests; the others Kubernetes gives every container beside a service called "relay".
_FOREIGN = re.compile(r"RELAY_(TEST_.*|(.*_)?SERVICE_(HOST|PORT)(_.*)?|(.*_)?PORT_\d+_(TCP|UDP|SCTP)(_.*)?)")
_FOREIGN_PORT = re.compile(r"(tcp|udp|sctp)://.*")


@dataclass(frozen=True, slots=True, repr=False)
class GivenValue:
    """A value as it was given, perhaps a secret. ``place`` is the name of the variable, or the path of the file."""

    value: Any
    source: str
    place: str


@dataclass(slots=True, repr=False)
class Gathered:
    """What all sources say. ``given`` is the strongest of each variable; ``problems`` are by variable, or by none."""

    given: dict[str, GivenValue] = field(default_factory=dict)
    problems: list[tuple[str, str]] = field(default_factory=list)
    producer_tables: dict[str, dict[str, Any]] = field(default_factory=dict)
    producer_variables: dict[str, str] = field(default_factory=dict)


def environment() -> dict[str, str]:
    """That of this process, with one name for what has two."""
    return with_ours(os.environ)


def gathered(
    environment: Mapping[str, str], variables: Collection[str], secrets: Sequence[str], *, read: Collection[str]
) -> Gathered:
    """From the strongest source to the weakest. Of the options ``secrets`` only the files of ``read`` are looked at."""
    found = Gathered(producer_variables=_of_producers(environment))
    known = [*variables, *(variable_of(name) + IN_A_FILE for name in secrets)]
    found.problems += [
        ("", f"{name}: unknown setting{nearest(name, known, PREFIX)}") for name in _unknown(environment, known)
    ]
    for variable in variables:
        value = environment.get(variable)
        if value and not is_service_link(variable, value):
            found.given[variable] = GivenValue(value, ENVIRONMENT, variable)
    for name in (name for name in secrets if name in read):
        _take_secret(found, environment, variable_of(name))
    _take_table(found, environment, variables)
    return found


def is_service_link(name: str, value: str) -> bool:
    """RELAY_METRICS_PORT=tcp://10.0.0.1:9464 beside a service called "relay-metrics": no port of ours."""
    return name.startswith(PREFIX) and name.endswith("_PORT") and bool(_FOREIGN_PORT.fullmatch(value))


def option_of(variable: str) -> str:
    """How the TOML file and the flags call it."""
    return variable.removeprefix(PREFIX).lower()


def options_of(variables: Collection[str]) -> list[str]:
    """What the TOML file and flags may name: all but which file that is."""
    return [option_of(variable) for variable in variables if variable != variable_of("config")]


def _unknown(environment: Mapping[str, str], known: Collection[str]) -> list[str]:
    return [
        name
        for name, value in sorted(environment.items())
        if name.startswith(PREFIX) and name not in known and not _FOREIGN.fullmatch(name)
        if not is_service_link(name, value) and not name.startswith(PRODUCER_PREFIX)
    ]


def _of_producers(environment: Mapping[str, str]) -> dict[str, str]:
    return {
        name.removeprefix(PRODUCER_PREFIX): value
        for name, value in environment.items()
        if name.startswith(PRODUCER_PREFIX) and value
        if not _FOREIGN.fullmatch(name) and not is_service_link(name, value)
    }


def _take_secret(found: Gathered, environment: Mapping[str, str], variable: str) -> None:
    path = environment.get(variable + IN_A_FILE)
    if not path or variable in found.given:  # nobody needs it
        return
    try:
        found.given[variable] = GivenValue(read_value(Path(path)), SECRET_FILE, path)
    except UnusableText as error:
        found.problems.append((variable, f"{variable}{IN_A_FILE}: {path} {error}"))


def _take_table(found: Gathered, environment: Mapping[str, str], variables: Collection[str]) -> None:
    named = environment.get(variable_of("config"))
    path = Path(named) if named else DEFAULT_FILE
    if not named and not is_there(path):
        return
    try:
        table = read_toml(path)
    except ConfigurationError as error:
        found.problems.append((variable_of("config"), str(error)))
        return
    take_accounts(table)
    options = options_of(variables)
    apart = written_apart(table, options)
    found.producer_tables = take_tables(table)
    for key, value in flattened(table):
        if key in options:
            found.given.setdefault(variable_of(key), GivenValue(value, FILE, str(path)))
        elif key in apart:
            written, section, known = apart[key]
            said = f"unknown key {written} in [{section}]{nearest(written, known)}"
            found.problems.append(("", f"{path}: {said}"))
        else:
            found.problems.append(("", f"{path}: unknown key {key}{nearest(key, options)}"))
