"""What ``relay config`` shows: every option of the relay, of the producers in use and of accounts, with its source.

It works where the settings do not: what is wrong stands beside its option, and the rest is shown as it would be. No
secret leaves it, and nothing is connected to: accounts that a query gives are not looked up.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from relay.accounts import DEFAULT, Accounts, Found, Source
from relay.accounts.sources import Folder, Given, TomlFile
from relay.assembly.accounts import MOST_LISTED
from relay.assembly.producers import GivenOptions, given_options, has_ours, variable, wants_credentials
from relay.assembly.routes import Routes
from relay.credential import Credential
from relay.errors import ConfigurationError, RelayError
from relay.producers import ProducerOptions, known_names, options_kind
from relay.producers.options import secret_options
from relay.producers.options import shown as shown_options
from relay.settings import PRODUCER_KEY, Settings, is_there, read_accounts
from relay.settings.inspection import Inspected, Option, inspected
from relay.settings.sources import ENVIRONMENT, FILE, SECRET_FILE
from relay.settings.values import unit_of
from relay.wording import nearest


@dataclass(frozen=True, slots=True)
class AccountShown:
    """``given`` are the names of what its source says of it; ``fingerprint`` tells its credential, or its route."""

    name: str
    source: str
    place: str
    producer: str
    given: Sequence[str] = ()
    fingerprint: str | None = None
    problem: str | None = None


@dataclass(slots=True)
class Configuration:
    """``producers`` are options by the producer's name, of those that are used or have some. ``problems`` are all there
    are, a line each.
    """

    options: list[Option]
    producers: dict[str, list[Option]] = field(default_factory=dict)
    accounts: list[AccountShown] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def configuration(**flags: Any) -> Configuration:
    """As ``relay run`` would see it with these flags; a flag that is None was not given."""
    found = inspected(**flags)
    shown = Configuration(list(found.options), problems=list(found.problems))
    if not found.settings.database_url and not _troubled(found, "database_url"):
        _add_problem(shown, "database_url", "RELAY_DATABASE_URL: is needed")
    if found.settings.producer in known_names():
        _add_producers(shown, found.settings)
    else:
        name, known = found.settings.producer, known_names()
        told = f"there is no producer {name!r}; known producers: {', '.join(known)}{nearest(name, known)}"
        _add_problem(shown, "producer", f"RELAY_PRODUCER: {told}")
    if not _troubled(found, "config"):
        _add_accounts(shown, found.settings)
    shown.problems = list(dict.fromkeys(shown.problems))  # what is wrong with a producer is wrong with its accounts
    return shown


def _troubled(found: Inspected, name: str) -> bool:
    return any(option.problem for option in found.options if option.name == name)


def _add_problem(shown: Configuration, name: str, problem: str) -> None:
    shown.options = [replace(each, problem=problem) if each.name == name else each for each in shown.options]
    shown.problems.append(problem)


def _add_producers(shown: Configuration, settings: Settings) -> None:
    given, problems = given_options(settings)
    shown.problems += problems
    for name in dict.fromkeys([settings.producer, *given]):
        if has_ours(settings, name):
            continue
        said = given.get(name, GivenOptions())
        try:
            options, wrong = said.read(name)
            shown.producers[name] = list(_of_producer(name, said, options, wrong, settings))
            shown.problems += wrong
        except ConfigurationError as error:
            shown.problems.append(str(error))


def _of_producer(
    name: str, said: GivenOptions, options: ProducerOptions | None, wrong: Sequence[str], settings: Settings
) -> Iterator[Option]:
    kind = options_kind(name)
    secrets = secret_options(kind)
    values = shown_options(options) if options else {}
    for option, about in kind.model_fields.items():
        value, source, place, label = _given_to(name, option, said, settings)
        default = None if about.is_required() else about.default
        secret = option in secrets
        yield Option(
            name=option,
            variable=variable(name, option),
            value=None if secret else values.get(option, default if value is None else str(value)),
            is_set=value is not None,
            source=source,
            place=place,
            default=None if secret else default,
            unit=unit_of(option, about),
            meaning=about.description or "",
            secret=secret,
            problem=next((line for line in wrong if line.startswith(f"{label}: ")), None),
            group=name,
            raw=None if secret else value,
        )


def _given_to(name: str, option: str, said: GivenOptions, settings: Settings) -> tuple[Any, str, str | None, str]:
    """Value, source, place, and how an error calls it."""
    if option in said.said:
        value, label = said.said[option]
        return value, ENVIRONMENT, label, label
    if option in said.files:
        path, label = said.files[option]
        return path, SECRET_FILE, path, label
    if option in said.written:
        value, label = said.written[option]
        return value, FILE, str(settings.file), label
    return None, "default", None, variable(name, option)


def _add_accounts(shown: Configuration, settings: Settings) -> None:
    written: Mapping[str, Mapping[str, Any]] = read_accounts(settings.file) if is_there(settings.file) else {}
    others = bool(settings.accounts_query or settings.accounts_dir or written)
    given, problem = _default_account(settings, needed=not others and _needs_credentials(settings))
    found: list[Source] = []
    listed: dict[str, tuple[str, str, Mapping[str, Any]]] = {}
    if given:
        listed[DEFAULT] = (Given.name, "", {})
    if written:
        file = TomlFile(settings.file)
        found.append(file)
        listed |= {name: (FILE, file.name, table) for name, table in written.items()}
    if settings.accounts_dir:
        folder = Folder(settings.accounts_dir)
        found.insert(0, folder)
        try:
            names = folder.names()[:MOST_LISTED]
            listed |= {name: ("folder", str(settings.accounts_dir), {}) for name in names}
        except RelayError as error:
            shown.problems.append(str(error))
            found.remove(folder)
    routes = Routes(settings, lambda account: accounts.credential(account), time.time)
    accounts = Accounts([*found, Given(given)], understand=routes.understand)
    accounts.refresh(listed)
    for name, (source, place, table) in sorted(listed.items()):
        identity, lost = accounts.identity(name), accounts.lost(name)
        producer = str(table.get(PRODUCER_KEY) or settings.producer)
        fingerprint = identity[1] if identity else None
        shown.accounts.append(AccountShown(name, source, place, producer, tuple(table), fingerprint, lost))
        shown.problems += [lost] if lost else []
    shown.problems += [problem] if problem else []
    if settings.accounts_query:
        place = "RELAY_ACCOUNTS_DATABASE_URL" if settings.accounts_database_url else "RELAY_DATABASE_URL"
        shown.accounts.append(AccountShown("any", "query", place, settings.producer))


def _needs_credentials(settings: Settings) -> bool:
    """Whether the producer of the settings makes no call without; one that cannot be loaded does not say so."""
    try:
        return wants_credentials(settings.producer)
    except ConfigurationError:
        return False


def _default_account(settings: Settings, *, needed: bool) -> tuple[dict[str, Found], str | None]:
    """The account ``default`` of the settings, and what is wrong with it."""
    try:
        given = settings.default_credential(needed=needed)
    except ConfigurationError as error:
        return {}, str(error)
    return ({DEFAULT: Credential(*given)} if given else {}), None
