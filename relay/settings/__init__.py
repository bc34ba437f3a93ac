"""Every option of the relay: its name, default, unit and limits; the only room that reads the environment.

An option ``batch_size`` is the variable RELAY_BATCH_SIZE and the key ``batch_size`` in the TOML file, where
``[tmc] app_key`` is another way to write ``tmc_app_key``; tables ``[accounts.NAME]`` are accounts, not options, and
``[producers.NAME]`` options of that producer (``producers.py``).
What is found first wins:

    flags > environment > secret files (RELAY_..._FILE) > TOML (RELAY_CONFIG, else ./relay.toml) > defaults

A name that nobody knows is an error, not a shrug. All problems are reported together, a line each, and the value of an
option that may contain a secret is never part of the report.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, get_args

from relay.errors import ConfigurationError, needs

with needs("worker", "relay.settings"):
    from pydantic import PrivateAttr, ValidationError, ValidationInfo, field_validator

from relay.addresses import normalized_url
from relay.settings import sources
from relay.settings.credentials import AccountSettings
from relay.settings.cycle import CycleSettings
from relay.settings.dashboard import DashboardSettings
from relay.settings.files import (
    CREDENTIAL_PARTS,
    DEFAULT_FILE,
    PRODUCER_KEY,
    flattened,
    is_there,
    read_accounts,
    read_toml,
    take_accounts,
)
from relay.settings.observing import ObservingSettings
from relay.settings.places import PlaceSettings
from relay.settings.producers import PREFIX as PRODUCER_PREFIX
from relay.settings.producers import Sections, Tables, take_tables
from relay.settings.tmc import OUR_ADDRESSES, OUR_KEYS, OUR_SECRETS, TmcSettings, least_lease_seconds
from relay.settings.values import PREFIX, variable_of
from relay.wording import nearest, problems_by_option

__all__ = [
    "CREDENTIAL_PARTS",
    "FOR_DASHBOARD",
    "FOR_SANDBOX",
    "FOR_TABLES",
    "HIDDEN",
    "PARTLY_SHOWN",
    "PREFIX",
    "PRODUCER_KEY",
    "PRODUCER_PREFIX",
    "SECRETS",
    "SEE",
    "Sections",
    "Settings",
    "database_url",
    "environment_of",
    "is_there",
    "least_lease_seconds",
    "load",
    "load_for",
    "made",
    "no_color",
    "not_there",
    "read_accounts",
    "schema_name",
    "secret_files",
    "service_links",
    "variables",
]

# These may come from a file and are never shown. A query may contain the key that decrypts a column.
SECRETS = ("database_url", *OUR_SECRETS, "accounts_database_url", "accounts_query", "dashboard_database_url")
SEE = "relay config shows every option, and where each is set."
FOR_TABLES = ("database_url",)  # what a command needs of them that sends nothing
FOR_DASHBOARD = (*FOR_TABLES, "dashboard_database_url")
FOR_SANDBOX = OUR_SECRETS
HIDDEN = (*SECRETS, *OUR_ADDRESSES, "trace_url")  # not quoted where they are wrong
PARTLY_SHOWN = OUR_KEYS  # of which people see the end


# Fields are read from the last group to the first: an option may be compared with those of the groups behind its own.
class Settings(DashboardSettings, ObservingSettings, CycleSettings, AccountSettings, TmcSettings, PlaceSettings):
    """The options in force. Made by :func:`load`; frozen."""

    _sections: Sections = PrivateAttr(default_factory=Sections)

    @field_validator("*", mode="before")
    @classmethod
    def _no_switch_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        """Of TOML and Python, where pydantic would take true for 1."""
        kind = cls.model_fields[str(info.field_name)].annotation
        if isinstance(value, bool) and {int, float} & {kind, *get_args(kind)}:
            raise ValueError("must be a number")
        return value

    @property
    def file(self) -> Path:
        """The TOML file; unless RELAY_CONFIG names it, there may be none."""
        return self.config or DEFAULT_FILE

    @property
    def sections(self) -> Sections:
        """What was said about producers, as it was given."""
        return self._sections


def no_color() -> bool:
    """Whether the environment asks every program for no colours: https://no-color.org"""
    return bool(os.environ.get("NO_COLOR"))


def load(base: Settings | None = None, /, **flags: Any) -> Settings:
    """The options in force, or those of ``base``, with these flags; a flag that is None was not given.

    The flag ``producers`` is options of producers, by the producer's name: ``producers={"spool": {"folder": "/tmp"}}``.
    Raises ConfigurationError naming every problem.
    """
    return _loaded(base, SECRETS, flags)


def load_for(secrets: Collection[str], **flags: Any) -> Settings:
    """The same for whoever needs no other secrets than these: files that others of them are in are not looked at."""
    return _loaded(None, secrets, flags)


def _loaded(base: Settings | None, secrets: Collection[str], flags: dict[str, Any]) -> Settings:
    producers: Tables = flags.pop("producers", None) or {}
    known = sources.options_of(variables())
    problems = [f"{key}: unknown option{nearest(key, known)}" for key in flags if key not in known]
    given = {variable_of(key): value for key, value in flags.items() if value is not None and key in known}
    if base is None:
        needed = [name for name in secrets if variable_of(name) not in given]  # a flag wins, so nobody reads the file
        found = sources.gathered(sources.environment(), variables(), SECRETS, read=needed)
        problems += [line for _, line in found.problems]
        values = {variable: each.value for variable, each in found.given.items()}
        stood = {variable: each.place for variable, each in found.given.items() if each.source == sources.FILE}
        sections = Sections({}, found.producer_variables, found.producer_tables)
    else:  # and nothing else is asked
        values = {variable: getattr(base, name) for variable, name in variables().items()}
        stood = {}
        sections = base.sections
    settings, wrong = made(values | given, sections.with_overrides(producers))
    problems += [line + _place_of(variable, given, stood) for variable, line in wrong]
    if settings is None or problems:
        raise ConfigurationError("\n".join(problems), SEE)
    return settings


def _place_of(variable: str, given: Mapping[str, Any], stood: Mapping[str, str]) -> str:
    """Where a value that is wrong was given, if it was not by the variable that the error names."""
    option = sources.option_of(variable)
    if variable in given:
        return f" (given as {option})"
    return f" ({option} in {stood[variable]})" if variable in stood else ""


def made(values: Mapping[str, Any], sections: Sections) -> tuple[Settings | None, list[tuple[str, str]]]:
    """The settings of these values, by their variables; or None, and a line for each problem with its option."""
    try:
        settings = Settings.model_validate(dict(values))
    except ValidationError as error:
        return None, problems_by_option(error, Settings.model_fields, hidden=HIDDEN)
    settings._sections = sections
    return settings, []


def variables() -> dict[str, str]:
    """Name of the variable -> name of the field, for every option."""
    return {str(field.validation_alias): name for name, field in Settings.model_fields.items()}


def not_there(secrets: Collection[str]) -> list[str]:
    """Those whose RELAY_..._FILE names a file that is not there; each can be told by that variable's name."""
    environment = sources.environment()
    return [name for name in secrets if (path := environment.get(_file_of(name))) and not is_there(Path(path))]


def database_url() -> str:
    """The URL of the database, for SQLAlchemy with psycopg; contains the password."""
    return normalized_url(load_for(FOR_TABLES).database_url)


def schema_name() -> str:
    """The schema that the settings name. Raises ConfigurationError as ``load`` does."""
    return load_for(()).schema_name


def environment_of(*, database_url: str, schema: str) -> dict[str, str]:
    """The environment of a ``relay`` that is started from here: that of this process, with this database and schema."""
    url, file = variable_of("database_url"), _file_of("database_url")
    ours = {url: database_url, "RELAY_SCHEMA": schema}
    return {name: value for name, value in os.environ.items() if name != file} | ours


def secret_files(toml: Path) -> list[Path]:
    """The files that secrets come from: those of RELAY_..._FILE, and the TOML file if there are any in it."""
    environment = sources.environment()
    named = (environment.get(_file_of(name)) for name in SECRETS)
    given = read_toml(toml) if is_there(toml) else {}
    take_tables(given)
    accounts = take_accounts(given).values()
    within = any(set(table) != {PRODUCER_KEY} for table in accounts) or any(
        key in SECRETS for key, _ in flattened(given)
    )
    return [Path(path) for path in named if path] + ([toml] if within else [])


def _file_of(name: str) -> str:
    return variable_of(name) + sources.IN_A_FILE


def service_links(environment: Mapping[str, str] = os.environ) -> list[str]:
    """Names of options that Kubernetes has taken for a service of that name: ignored, and worth a warning."""
    return sorted(name for name in variables() if sources.is_service_link(name, environment.get(name, "")))
