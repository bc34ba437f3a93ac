"""What every option has in common, whoever reads it: how it is called, how a value is written, how long a day is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from relay.errors import needs

with needs("worker", "relay.settings"):
    from pydantic import BeforeValidator, SecretStr
    from pydantic_settings import SettingsConfigDict

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

PlainText = Annotated[str, of_text(trimmed)]
KeyText = Annotated[str, of_text(secret)]
HiddenText = Annotated[SecretStr, of_text(secret)]
