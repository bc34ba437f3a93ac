"""Where accounts are written down: in the settings, in the TOML file, in a folder of mounted secrets.

Each source reads what is there at the moment it is asked, so that a renewed session needs no restart. None of their
errors contains a value.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from relay.accounts import Found
from relay.accounts.directions import said_of
from relay.errors import ConfigurationError
from relay.settings import CREDENTIAL_PARTS, PRODUCER_KEY, read_accounts
from relay.texts import UnusableText, read_value, secret, trimmed

DIRECTORY = "RELAY_ACCOUNTS_DIR"


class Given:
    """What stays as it is while the process runs: credentials, or why what was given is none."""

    name = "the settings"

    def __init__(self, given: Mapping[str, Found]) -> None:
        self._given = dict(given)

    def look_up(self, accounts: Collection[str]) -> Mapping[str, Found]:
        """Those of these accounts that were given; never raises."""
        return {account: self._given[account] for account in accounts if account in self._given}


class TomlFile:
    """The tables ``[accounts.NAME]`` of a file, which is read again once it has changed."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._path = path
        self._read_version: tuple[int, ...] = ()
        self._said: dict[str, Found] = {}

    def look_up(self, accounts: Collection[str]) -> Mapping[str, Found]:
        """What the file says now. Raises ConfigurationError when it cannot be read or is no TOML."""
        self._read_if_changed()
        return {account: self._said[account] for account in accounts if account in self._said}

    def names(self) -> list[str]:
        """The accounts of the file as it is now, those in trouble among them."""
        self._read_if_changed()
        return list(self._said)

    def _read_if_changed(self) -> None:
        try:
            status = self._path.stat()
        except OSError as error:
            raise ConfigurationError(
                f"{self._path}: {error.strerror}", "Let the relay read it, or take it out of the settings."
            ) from None
        # Looked at before reading: what changes meanwhile is read once more. A secret that is mounted anew is another
        # file, perhaps of the same age and size.
        version = (status.st_mtime_ns, status.st_size, status.st_ino)
        if version != self._read_version:
            tables = read_accounts(self._path)
            self._said = {name: self._found(name, table) for name, table in tables.items()}
            self._read_version = version

    def _found(self, name: str, table: Mapping[str, Any]) -> Found:
        try:
            _refuse_unclean(name, f"{self._path}: [accounts.{_quoted(name)}]")
            return said_of(table, f"{self._path}: [accounts.{name}]")
        except ConfigurationError as error:
            return error


class Folder:
    """NAME/app_key, NAME/app_secret and NAME/session below one folder; beside NAME/producer, a file for each option.

    Only names that the folder lists are looked at, so that no name can lead out of it; hidden ones (Kubernetes keeps
    its own there) and those with two dots are no accounts.
    """

    name = DIRECTORY

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def look_up(self, accounts: Collection[str]) -> Mapping[str, Found]:
        """One folder an account, one file a part. An account whose files are of no use gets the error as its value.

        Raises ConfigurationError when the folder cannot be listed.
        """
        listed = self._listed()
        found: dict[str, Found] = {}
        for account in accounts:
            if account not in listed:
                continue
            try:
                if parts := _parts(self._folder / account):
                    _refuse_unclean(account, f"{DIRECTORY}: {_quoted(account)}")
                    found[account] = said_of(parts, f"{DIRECTORY}: {account}")
            except ConfigurationError as error:
                found[account] = error
        return found

    def names(self) -> list[str]:
        """What may be an account, in the order of names. Raises as ``look_up`` does."""
        return sorted(self._listed())

    def _listed(self) -> set[str]:
        try:
            listed = os.listdir(self._folder)
        except OSError as error:
            raise ConfigurationError(
                f"{DIRECTORY}: cannot read {self._folder}: {error.strerror}", "Name a folder that the relay may read."
            ) from None
        return {name for name in listed if not name.startswith(".") and ".." not in name}


def _refuse_unclean(name: str, where: str) -> None:
    """Messages of the account that is meant would wait, and nobody see why."""
    if name != trimmed(name) or not name:
        raise ConfigurationError(
            f"{where}: {'white space around the name' if name.strip() else 'no name'} of an account",
            "Write the name as the messages have it, without white space around it.",
        )


def _quoted(name: str) -> str:
    return json.dumps(name, ensure_ascii=False)


def _parts(place: Path) -> dict[str, str]:
    """The files that are there; only where one of them names a producer, others than those of a credential count."""
    parts = {}
    others = _others(place) if (place / PRODUCER_KEY).exists() else []
    for name in (*CREDENTIAL_PARTS, *others):
        try:
            (place / name).stat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError:
            pass  # reading it says why
        try:
            # Also one without anything in it: the session may just be being renewed.
            value = read_value(place / name, again=True)
            parts[name] = secret(value) if name in CREDENTIAL_PARTS else value
        except UnusableText as error:
            raise ConfigurationError(f"{DIRECTORY}: {place / name} {error}") from None
    return parts


def _others(place: Path) -> list[str]:
    """Hidden ones are the ways in which Kubernetes mounts a secret."""
    try:
        return sorted(name for name in os.listdir(place) if not name.startswith(".") and name not in CREDENTIAL_PARTS)
    except OSError as error:
        raise ConfigurationError(f"{DIRECTORY}: cannot read {place}: {error.strerror}") from None
