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
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from relay.errors import ConfigurationError, needs

with needs("worker", "relay.settings"):
    from pydantic import (
        AfterValidator,
        BaseModel,
        BeforeValidator,
        Field,
        PrivateAttr,
        SecretStr,
        ValidationError,
        ValidationInfo,
        field_validator,
    )
    from pydantic_settings import (
        BaseSettings,
        EnvSettingsSource,
        InitSettingsSource,
        PydanticBaseSettingsSource,
        SettingsConfigDict,
    )

from relay.addresses import is_loopback, normalized_url
from relay.settings.files import (
    CREDENTIAL_PARTS,
    DEFAULT_FILE,
    PRODUCER_KEY,
    account_problems,
    flattened,
    is_there,
    read_accounts,
    read_toml,
    take_accounts,
)
from relay.settings.producers import PREFIX as PRODUCER_PREFIX
from relay.settings.producers import Sections, Tables, take_tables, with_ours
from relay.texts import UnusableText, read_value, secret, trimmed
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

PREFIX = "RELAY_"
# These may come from a file and are never shown. A query may contain the key that decrypts a column.
SECRETS = ("database_url", "tmc_app_secret", "tmc_session", "accounts_database_url", "accounts_query")
_NOT_SHOWN = (*SECRETS, "tmc_url")  # when it is wrong: an address may contain a password
_IN_A_FILE = "_FILE"
# RELAY_TEST_* is for the tests; the others Kubernetes gives every container beside a service called "relay".
_FOREIGN = re.compile(r"RELAY_(TEST_.*|(.*_)?SERVICE_(HOST|PORT)(_.*)?|(.*_)?PORT_\d+_(TCP|UDP|SCTP)(_.*)?)")
_FOREIGN_PORT = re.compile(r"(tcp|udp|sctp)://.*")

_A_DAY = 86_400  # seconds; whatever is longer is a mistake, and the database has to be able to add it to its time


def _variable(key: str) -> str:
    return PREFIX + key.upper()


def _postgresql(url: str) -> str:
    try:
        return normalized_url(url)
    except ConfigurationError as error:
        raise ValueError(f"{error}; {error.hint[0].lower()}{error.hint[1:]}" if error.hint else str(error)) from None


def _of_text(change: Callable[[str], str]) -> BeforeValidator:
    return BeforeValidator(lambda value: change(value) if isinstance(value, str) else value)


def _none_or_a_day(days: float) -> float:
    if 0 < days < 1:
        raise ValueError("must be 0 or at least 1: nothing younger than a day is archived by workers, no key forgotten")
    return days


def _identifier(name: str) -> str:
    if not 1 <= len(name.encode()) <= 63:
        raise ValueError("must be a name of 1 to 63 bytes")
    return name


_Text = Annotated[str, _of_text(trimmed)]
_Url = Annotated[_Text, AfterValidator(_postgresql)]
_Secret = Annotated[str, _of_text(secret)]
_HiddenSecret = Annotated[SecretStr, _of_text(secret)]
_Days = Annotated[float, AfterValidator(_none_or_a_day)]


class Settings(BaseSettings):
    """The options in force. Made by :func:`load`; frozen."""

    model_config = SettingsConfigDict(
        alias_generator=_variable,  # every source speaks in names of variables, and so do the errors
        case_sensitive=True,
        env_ignore_empty=True,
        frozen=True,
        extra="forbid",
        str_strip_whitespace=True,
        coerce_numbers_to_str=True,
        allow_inf_nan=False,
    )

    _sections: Sections = PrivateAttr(default_factory=Sections)

    config: Path | None = None
    database_url: _Url | None = Field(None, repr=False)
    schema_name: Annotated[str, AfterValidator(_identifier)] = Field("relay", validation_alias="RELAY_SCHEMA")

    producer: str = "tmc"  # or "stdout", or the name of an entry point in the group relay.producers
    tmc_allow_http: bool = False
    tmc_url: str = "https://eco.taobao.com/router/rest"
    tmc_app_key: _Secret | None = None
    tmc_app_secret: _HiddenSecret | None = None
    tmc_session: _HiddenSecret | None = None
    tmc_sign_method: Literal["hmac-sha256", "hmac", "md5"] = "hmac-sha256"
    tmc_format: Literal["json", "xml"] = "json"
    tmc_simplify: bool = False
    tmc_timeout_seconds: float = Field(15, gt=0, le=_A_DAY)  # from connecting to the last byte of the answer

    accounts_query: _Text | None = Field(None, repr=False)  # credentials from the application's own table
    accounts_database_url: _Url | None = Field(None, repr=False)
    accounts_dir: Path | None = None  # NAME/app_key, NAME/app_secret, NAME/session

    batch_size: int = Field(50, ge=1, le=50)  # the API takes at most 50
    concurrency: int = Field(8, ge=1, le=1000)  # calls in flight in this process
    poll_interval_ms: int = Field(100, ge=1, le=1000 * _A_DAY)  # the longest sleep while idle
    wakeup: Literal["auto", "poll", "notify"] = "auto"  # auto: notify where it works; notify: or do not start
    linger_ms: int = Field(0, ge=0, le=1000 * _A_DAY)  # wait this long to fill a batch: saves calls of the daily quota
    rate_limit: float = Field(0, ge=0, le=1_000_000)  # calls per second and app key, all workers together; 0: no limit
    lease_seconds: float = Field(60, gt=0, le=_A_DAY)
    max_attempts: int = Field(12, ge=1, le=1_000_000)  # in calls that the platform answered index by index
    outage_hours: float = Field(48, ge=0, le=876_000)  # where whole calls came to nothing, the time counts; 0: attempts
    retry_base_seconds: float = Field(1, gt=0, le=365 * _A_DAY)
    retry_max_seconds: float = Field(900, gt=0, le=365 * _A_DAY)
    on_unknown: Literal["resend", "hold"] = "resend"
    on_failed_head: Literal["release", "hold"] = "release"  # what a failed message does to its ordering key
    archive_after_days: _Days = Field(0, ge=0, le=36_500)  # workers move what finished before; 0: nobody does
    dedupe_keep_days: _Days = Field(0, ge=0, le=36_500)  # 0: for ever
    shutdown_grace_seconds: float = Field(25, ge=0, le=_A_DAY)

    metrics_host: str = "*"  # every address of this machine, IPv6 and IPv4; or one of them
    metrics_port: int = Field(9464, ge=0, le=65535)  # 0: no metrics, no probes
    log_level: Annotated[Literal["debug", "info", "warning", "error"], _of_text(str.lower)] = "info"
    log_format: Literal["auto", "json", "console"] = "auto"  # auto: console on a terminal, else json

    @field_validator("tmc_url")
    @classmethod
    def _only_https_leaves_the_host(cls, url: str, info: ValidationInfo) -> str:
        try:
            parts = urlsplit(url)
        except ValueError:  # its text may quote a part of a password
            raise ValueError("must be an http or https address") from None
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("must be an http or https address")
        if parts.scheme == "http" and not is_loopback(parts.hostname) and not info.data.get("tmc_allow_http", True):
            raise ValueError("must be https unless RELAY_TMC_ALLOW_HTTP=true: the session travels in every call")
        return url

    @field_validator("lease_seconds")
    @classmethod
    def _outlasts_a_call(cls, lease: float, info: ValidationInfo) -> float:
        timeout = info.data.get("tmc_timeout_seconds", 0)
        least = least_lease_seconds(timeout)
        if timeout and info.data.get("producer") == "tmc" and lease < least:
            raise ValueError(f"must be at least {least:g} with RELAY_TMC_TIMEOUT_SECONDS {timeout:g}")
        return lease

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

    def require_tmc(self) -> tuple[str, str, str | None]:
        """App key, secret and session (None: without) of the account ``default``, in the clear."""
        key, secret, session = self.tmc_app_key, self.tmc_app_secret, self.tmc_session
        if not key or not secret:
            missing = [name for name, given in (("APP_KEY", key), ("APP_SECRET", secret)) if not given]
            names = " and ".join(f"{PREFIX}TMC_{name}" for name in missing)
            raise ConfigurationError(
                f"The producer tmc needs {names}.", f"Set {names}; to try without the platform: relay sandbox"
            )
        return key, secret.get_secret_value(), session.get_secret_value() if session else None

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
    given = {_variable(key): value for key, value in flags.items() if value is not None and key in known}
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


def least_lease_seconds(timeout_seconds: float) -> float:
    """A lease that ends while its call is in flight would let another worker send the same messages."""
    return timeout_seconds + max(1, timeout_seconds / 4)


def database_url() -> str:
    """The URL of the database, for SQLAlchemy with psycopg; contains the password."""
    return normalized_url(load().database_url)


def schema_name() -> str:
    """The schema that the settings name. Raises ConfigurationError as ``load`` does."""
    return load().schema_name


def environment_of(*, database_url: str, schema: str) -> dict[str, str]:
    """The environment of a ``relay`` that is started from here: that of this process, with this database and schema."""
    url, file = _variable("database_url"), _variable("database_url") + _IN_A_FILE
    ours = {url: database_url, "RELAY_SCHEMA": schema}
    return {name: value for name, value in os.environ.items() if name != file} | ours


def secret_files(toml: Path) -> list[Path]:
    """The files that secrets come from: those of RELAY_..._FILE, and the TOML file if there are any in it."""
    environment = _environment()
    named = (environment.get(_variable(name) + _IN_A_FILE) for name in SECRETS)
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
    return [variable.removeprefix(PREFIX).lower() for variable in _variables() if variable != _variable("config")]


def _unknown_variables(environment: Mapping[str, str]) -> list[str]:
    known = [*_variables(), *(_variable(name) + _IN_A_FILE for name in SECRETS)]
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
    for variable in map(_variable, SECRETS):
        if path := environment.get(variable + _IN_A_FILE):
            try:
                values[variable] = read_value(Path(path))
            except UnusableText as error:
                raise ConfigurationError(f"{variable}{_IN_A_FILE}: {path} {error}") from None
    return values


def _toml(environment: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """The options of the TOML file by their variables, and its sections of producers."""
    named = environment.get(_variable("config"))
    path = Path(named) if named else DEFAULT_FILE
    if not named and not is_there(path):
        return {}, {}
    given = read_toml(path)
    accounts, producers = take_accounts(given), take_tables(given)
    flat = dict(flattened(given))
    problems = [f"{path}: unknown key {key}{nearest(key, _options())}" for key in flat if key not in _options()]
    problems += account_problems(path, accounts)
    if problems:
        raise ConfigurationError("\n".join(problems))
    return {_variable(key): value for key, value in flat.items()}, producers
