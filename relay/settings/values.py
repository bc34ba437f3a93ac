"""What every option has in common, whoever reads it: how it is called, how a value is written, how long a day is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from relay.errors import ConfigurationError, needs

with needs("worker", "relay.settings"):
    from pydantic import AfterValidator, BeforeValidator, SecretStr
    from pydantic_settings import SettingsConfigDict

from relay.addresses import normalized_url
from relay.texts import secret, trimmed

PREFIX = "RELAY_"
A_DAY = 86_400  # seconds; whatever is longer is a mistake, and the database has to be able to add it to its time


def variable_of(key: str) -> str:
    """The name of an option in the environment."""
    return PREFIX + key.upper()


def of_text(change: Callable[[str], str]) -> BeforeValidator:
    """Change what was given as text; a value of another kind stays."""
    return BeforeValidator(lambda value: change(value) if isinstance(value, str) else value)


CONFIG = SettingsConfigDict(
    alias_generator=variable_of,  # every source speaks in names of variables, and so do the errors
    case_sensitive=True,
    env_ignore_empty=True,
    frozen=True,
    extra="forbid",
    str_strip_whitespace=True,
    coerce_numbers_to_str=True,
    allow_inf_nan=False,
)


def _postgresql(url: str) -> str:
    try:
        return normalized_url(url)
    except ConfigurationError as error:
        raise ValueError(f"{error}; {error.hint[0].lower()}{error.hint[1:]}" if error.hint else str(error)) from None


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("must be the name of a time zone, such as Asia/Shanghai or UTC") from None
    return name


PlainText = Annotated[str, of_text(trimmed)]
KeyText = Annotated[str, of_text(secret)]
HiddenText = Annotated[SecretStr, of_text(secret)]
DatabaseUrl = Annotated[PlainText, AfterValidator(_postgresql)]
Zone = Annotated[PlainText, AfterValidator(_zone)]
