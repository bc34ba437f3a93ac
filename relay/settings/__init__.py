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
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from relay.errors import ConfigurationError, needs

with needs("worker", "relay.settings"):
    from pydantic import (
        AfterValidator,
        BaseModel,
        Field,
        PrivateAttr,
        ValidationError,
        ValidationInfo,
        field_validator,
    )
    from pydantic_settings import (
        BaseSettings,
        EnvSettingsSource,
        InitSettingsSource,
        PydanticBaseSettingsSource,
    )

from relay.addresses import normalized_url
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
from relay.settings.producers import PREFIX as PRODUCER_PREFIX
from relay.settings.producers import Sections, Tables, take_tables, with_ours
from relay.settings.tmc import OUR_ADDRESSES, OUR_SECRETS, OURS, TmcSettings, least_lease_seconds
from relay.settings.values import A_DAY, PREFIX, DatabaseUrl, PlainText, of_text, variable_of
from relay.texts import UnusableText, read_value
from relay.wording import nearest, problems_of

__all__ = [
    "CREDENTIAL_PARTS",
    "PREFIX",
    "PRODUCER_KEY",
    "PRODUCER_PREFIX",
    "SECRETS",
    "Sections",
    "Settings",
    "database_url",
    "environment_of",
    "is_there",
    "least_lease_seconds",
    "load",
    "no_color",
    "read_accounts",
    "schema_name",
    "secret_files",
    "service_links",
]

# These may come from a file and are never shown. A query may contain the key that decrypts a column.
SECRETS = ("database_url", *OUR_SECRETS, "accounts_database_url", "accounts_query", "dashboard_database_url")
_NOT_SHOWN = (*SECRETS, *OUR_ADDRESSES)
_IN_A_FILE = "_FILE"
# RELAY_TEST_* is for the tests; the others Kubernetes gives every container beside a service called "relay".
_FOREIGN = re.compile(r"RELAY_(TEST_.*|(.*_)?SERVICE_(HOST|PORT)(_.*)?|(.*_)?PORT_\d+_(TCP|UDP|SCTP)(_.*)?)")
_FOREIGN_PORT = re.compile(r"(tcp|udp|sctp)://.*")


def _none_or_a_day(days: float) -> float:
    if 0 < days < 1:
        raise ValueError("must be 0 or at least 1: nothing younger than a day is archived by workers, no key forgotten")
    return days


def _identifier(name: str) -> str:
    if not 1 <= len(name.encode()) <= 63:
        raise ValueError("must be a name of 1 to 63 bytes")
    return name


_Days = Annotated[float, AfterValidator(_none_or_a_day)]


class Settings(TmcSettings, DashboardSettings):
    """The options in force. Made by :func:`load`; frozen."""

    _sections: Sections = PrivateAttr(default_factory=Sections)

    config: Path | None = None
    database_url: DatabaseUrl | None = Field(None, repr=False)
    schema_name: Annotated[str, AfterValidator(_identifier)] = Field("relay", validation_alias="RELAY_SCHEMA")

    producer: str = OURS  # or "stdout", or the name of an entry point in the group relay.producers

    accounts_query: PlainText | None = Field(None, repr=False)  # credentials from the application's own table
    accounts_database_url: DatabaseUrl | None = Field(None, repr=False)
    accounts_dir: Path | None = None  # NAME/app_key, NAME/app_secret, NAME/session

    batch_size: int = Field(50, ge=1, le=50)  # the API takes at most 50
    concurrency: int = Field(8, ge=1, le=1000)  # calls in flight in this process
    poll_interval_ms: int = Field(100, ge=1, le=1000 * A_DAY)  # the longest sleep while idle
    wakeup: Literal["auto", "poll", "notify"] = "auto"  # auto: notify where it works; notify: or do not start
    linger_ms: int = Field(0, ge=0, le=1000 * A_DAY)  # wait this long to fill a batch: saves calls of the daily quota
    rate_limit: float = Field(0, ge=0, le=1_000_000)  # calls per second and app key, all workers together; 0: no limit
    lease_seconds: float = Field(60, gt=0, le=A_DAY)
    max_attempts: int = Field(12, ge=1, le=1_000_000)  # in calls that the platform answered index by index
    outage_hours: float = Field(48, ge=0, le=876_000)  # where whole calls came to nothing, the time counts; 0: attempts
    retry_base_seconds: float = Field(1, gt=0, le=365 * A_DAY)
    retry_max_seconds: float = Field(900, gt=0, le=365 * A_DAY)
    on_unknown: Literal["resend", "hold"] = "resend"
    on_failed_head: Literal["release", "hold"] = "release"  # what a failed message does to its ordering key
    archive_after_days: _Days = Field(0, ge=0, le=36_500)  # workers move what finished before; 0: nobody does
    dedupe_keep_days: _Days = Field(0, ge=0, le=36_500)  # 0: for ever
    shutdown_grace_seconds: float = Field(25, ge=0, le=A_DAY)

    metrics_host: str = "*"  # every address of this machine, IPv6 and IPv4; or one of them
    metrics_port: int = Field(9464, ge=0, le=65535)  # 0: no metrics, no probes
    metrics_accounts: int = Field(20, ge=0, le=100)  # that have a backlog of their own there; the rest are "other"
    log_level: Annotated[Literal["debug", "info", "warning", "error"], of_text(str.lower)] = "info"
    log_format: Literal["auto", "json", "console"] = "auto"  # auto: console on a terminal, else json

    @field_validator("retry_max_seconds")
    @classmethod
    def _not_below_the_base(cls, longest: float, info: ValidationInfo) -> float:
        base = info.data.get("retry_base_seconds", 0)
        if longest < base:
            raise ValueError(f"must not be less than RELAY_RETRY_BASE_SECONDS {base:g}")
        return longest

    @property
    def file(self) -> Path:
        """The TOML file; unless RELAY_CONFIG names it, there may be none."""
        return self.config or DEFAULT_FILE

    @property
    def sections(self) -> Sections:
        """What was said about producers, as it was given."""
        return self._sections

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        *_: PydanticBaseSettingsSource,
        **__: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Where values come from, the strongest first: arguments, environment, secret files, TOML."""
        environment = _environment()
        files = InitSettingsSource(settings_cls, _secret_files(environment))
        table = InitSettingsSource(settings_cls, _toml(environment)[0])
        if isinstance(env_settings, EnvSettingsSource):
            links = service_links(environment)
            env_settings.env_vars = {name: value for name, value in environment.items() if value and name not in links}
        return init_settings, env_settings, files, table


def no_color() -> bool:
    """Whether the environment asks every program for no colours: https://no-color.org"""
    return bool(os.environ.get("NO_COLOR"))


def load(base: Settings | None = None, /, **flags: Any) -> Settings:
    """The options in force, or those of ``base``, with these flags; a flag that is None was not given.

    The flag ``producers`` is options of producers, by the producer's name: ``producers={"spool": {"folder": "/tmp"}}``.
    Raises ConfigurationError naming every problem.
    """
    producers: Tables = flags.pop("producers", None) or {}
    known = _options()
    problems = [f"{key}: unknown option{nearest(key, known)}" for key in flags if key not in known]
    given = {variable_of(key): value for key, value in flags.items() if value is not None and key in known}
    try:
        if base is None:
            environment = _environment()
            problems += _unknown_variables(environment)
            settings = Settings(**given)
            sections = Sections({}, _of_producers(environment), _toml(environment)[1])
        else:  # and nothing else is asked
            settings = Settings.__new__(Settings)
            BaseModel.__init__(settings, **{name: getattr(base, key) for name, key in _variables().items()} | given)
            sections = base.sections
        settings._sections = sections.with_overrides(producers)
    except ValidationError as error:
        problems += problems_of(error, Settings.model_fields, hidden=_NOT_SHOWN)
    if problems:
        raise ConfigurationError("\n".join(problems))
    return settings


def database_url() -> str:
    """The URL of the database, for SQLAlchemy with psycopg; contains the password."""
    return normalized_url(load().database_url)


def schema_name() -> str:
    """The schema that the settings name. Raises ConfigurationError as ``load`` does."""
    return load().schema_name


def environment_of(*, database_url: str, schema: str) -> dict[str, str]:
    """The environment of a ``relay`` that is started from here: that of this process, with this database and schema."""
    url, file = variable_of("database_url"), variable_of("database_url") + _IN_A_FILE
    ours = {url: database_url, "RELAY_SCHEMA": schema}
    return {name: value for name, value in os.environ.items() if name != file} | ours


def secret_files(toml: Path) -> list[Path]:
    """The files that secrets come from: those of RELAY_..._FILE, and the TOML file if there are any in it."""
    environment = _environment()
    named = (environment.get(variable_of(name) + _IN_A_FILE) for name in SECRETS)
    given = read_toml(toml) if is_there(toml) else {}
    take_tables(given)
    accounts = take_accounts(given).values()
    within = any(set(table) != {PRODUCER_KEY} for table in accounts) or any(
        key in SECRETS for key, _ in flattened(given)
    )
    return [Path(path) for path in named if path] + ([toml] if within else [])


def _variables() -> dict[str, str]:
    """Name of the variable -> name of the field."""
    return {str(field.validation_alias): name for name, field in Settings.model_fields.items()}


def _options() -> list[str]:
    """Their names in the file and as flags."""
    return [variable.removeprefix(PREFIX).lower() for variable in _variables() if variable != variable_of("config")]


def _unknown_variables(environment: Mapping[str, str]) -> list[str]:
    known = [*_variables(), *(variable_of(name) + _IN_A_FILE for name in SECRETS)]
    return [
        f"{name}: unknown setting{nearest(name, known, PREFIX)}"
        for name, value in sorted(environment.items())
        if name.startswith(PREFIX) and name not in known and not _FOREIGN.fullmatch(name)
        if not _is_service_link(name, value) and not name.startswith(PRODUCER_PREFIX)
    ]


def _environment() -> dict[str, str]:
    return with_ours(os.environ)


def _of_producers(environment: Mapping[str, str]) -> dict[str, str]:
    return {
        name.removeprefix(PRODUCER_PREFIX): value
        for name, value in environment.items()
        if name.startswith(PRODUCER_PREFIX) and value
        if not _FOREIGN.fullmatch(name) and not _is_service_link(name, value)
    }


def service_links(environment: Mapping[str, str] = os.environ) -> list[str]:
    """Names of options that Kubernetes has taken for a service of that name: ignored, and worth a warning."""
    return sorted(name for name in _variables() if _is_service_link(name, environment.get(name, "")))


def _is_service_link(name: str, value: str) -> bool:
    """RELAY_METRICS_PORT=tcp://10.0.0.1:9464 beside a service called "relay-metrics": no port of ours."""
    return name.startswith(PREFIX) and name.endswith("_PORT") and bool(_FOREIGN_PORT.fullmatch(value))


def _secret_files(environment: Mapping[str, str]) -> dict[str, Any]:
    values = {}
    for variable in map(variable_of, SECRETS):
        if path := environment.get(variable + _IN_A_FILE):
            try:
                values[variable] = read_value(Path(path))
            except UnusableText as error:
                raise ConfigurationError(f"{variable}{_IN_A_FILE}: {path} {error}") from None
    return values


def _toml(environment: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """The options of the TOML file by their variables, and its sections of producers."""
    named = environment.get(variable_of("config"))
    path = Path(named) if named else DEFAULT_FILE
    if not named and not is_there(path):
        return {}, {}
    given = read_toml(path)
    take_accounts(given)
    producers = take_tables(given)
    flat = dict(flattened(given))
    problems = [f"{path}: unknown key {key}{nearest(key, _options())}" for key in flat if key not in _options()]
    if problems:
        raise ConfigurationError("\n".join(problems))
    return {variable_of(key): value for key, value in flat.items()}, producers
