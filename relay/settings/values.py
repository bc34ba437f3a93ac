"""What every option has in common, whoever reads it: how it is called, how a value is written, in which unit it counts.

A group of options is a class with a field each. What ``relay config`` tells of a field is here: ``description`` is its
meaning in one line, its unit the end of its name or ``json_schema_extra``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from relay.errors import ConfigurationError, needs

with needs("worker", "relay.settings"):
    from pydantic import AfterValidator, BeforeValidator, ConfigDict, SecretStr
    from pydantic.fields import FieldInfo

from relay.addresses import normalized_url
from relay.texts import secret, trimmed

PREFIX = "RELAY_"
_UNITS = {"_seconds": "seconds", "_ms": "milliseconds", "_hours": "hours", "_days": "days"}
A_DAY = 86_400  # seconds; whatever is longer is a mistake, and the database has to be able to add it to its time


def variable_of(key: str) -> str:
    """The name of an option in the environment."""
    return PREFIX + key.upper()


def of_text(change: Callable[[str], str]) -> BeforeValidator:
    """Change what was given as text; a value of another kind stays."""
    return BeforeValidator(lambda value: change(value) if isinstance(value, str) else value)


def unit_of(name: str, field: FieldInfo) -> str:
    """What a number of this option counts; empty for what is no number."""
    extra: Any = field.json_schema_extra
    if isinstance(extra, dict):
        return str(extra["unit"])
    return next((unit for end, unit in _UNITS.items() if name.endswith(end)), "")


def _postgresql(url: str) -> str:
    try:
        return normalized_url(url)
    except ConfigurationError as error:
        raise ValueError(f"{error}; {error.hint[0].lower()}{error.hint[1:]}" if error.hint else str(error)) from None


def _none_or_a_day(days: float) -> float:
    if 0 < days < 1:
        raise ValueError("must be 0 or at least 1: nothing younger than a day is archived by workers, no key forgotten")
    return days


def _identifier(name: str) -> str:
    if not 1 <= len(name.encode()) <= 63:
        raise ValueError("must be a name of 1 to 63 bytes")
    return name


CONFIG = ConfigDict(
    alias_generator=variable_of,  # every source speaks in names of variables, and so do the errors
    validate_default=True,  # one may not go with what another option is
    frozen=True,
    extra="forbid",
    str_strip_whitespace=True,
    coerce_numbers_to_str=True,
    allow_inf_nan=False,
)


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
Days = Annotated[float, AfterValidator(_none_or_a_day)]
Identifier = Annotated[str, AfterValidator(_identifier)]
