"""The TOML file: options, flat or in tables, and the tables that are none (``[accounts.NAME]``)."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from relay.errors import ConfigurationError
from relay.strangers import stranger
from relay.texts import UnusableText, read_text

DEFAULT_FILE = Path("relay.toml")
CREDENTIAL_PARTS = ("app_key", "app_secret", "session")  # of an account; the session may be missing
PRODUCER_KEY = "producer"  # of an account: beside it stand options of that producer


def read_accounts(path: Path) -> dict[str, dict[str, Any]]:
    """The tables ``[accounts.NAME]`` of a TOML file by name, as they are: a mistake in one concerns that one alone, and
    is told by who looks it up (``relay.accounts``). Raises ConfigurationError where the file cannot be read.
    """
    return take_accounts(read_toml(path))


def is_there(path: Path) -> bool:
    """False where nobody may look: a container's user may not be the owner of the folder it starts in."""
    try:
        return path.exists()
    except OSError:
        return False


def read_toml(path: Path) -> dict[str, Any]:
    """The file's values. Raises ConfigurationError when it belongs to another user, cannot be read or is no TOML."""
    if problem := stranger(path, named=path != DEFAULT_FILE):
        raise ConfigurationError(f"{path} {problem}")
    try:
        return tomllib.loads(read_text(path, again=True))
    except UnusableText as error:
        raise ConfigurationError(f"{path} {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path}: {error}") from None


def take_accounts(given: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The tables below ``[accounts]``, taken out; its other keys are options."""
    table = given.get("accounts")
    if not isinstance(table, dict):
        return {}
    return {name: table.pop(name) for name, value in list(table.items()) if isinstance(value, dict)}


def flattened(table: Mapping[str, Any], before: str = "") -> Iterable[tuple[str, Any]]:
    """Every value with its path, joined by underscores: ``[tmc] url`` is ``tmc_url``."""
    for key, value in table.items():
        if isinstance(value, dict):
            yield from flattened(value, f"{before}{key}_")
        else:
            yield before + key, value
