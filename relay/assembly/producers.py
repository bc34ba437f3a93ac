"""The producer of the settings, its options, and what else it is told: the same for a worker and for a question.

Every section that names a producer is checked here, used or not, so that a misspelt option is not silently without
effect. A variable names producer and option in one word; where several names fit, the longest is meant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from relay.credential import Credential
from relay.errors import ConfigurationError
from relay.explained import Explainer
from relay.findings import Finding
from relay.producers import (
    BUILT_IN,
    Probing,
    Producer,
    ProducerContext,
    ProducerOptions,
    known_names,
    load,
    options_kind,
)
from relay.producers.options import secret_options, validated
from relay.settings import PRODUCER_KEY, PRODUCER_PREFIX, Settings, is_there, least_lease_seconds, read_accounts
from relay.texts import UnusableText, read_value
from relay.wording import nearest

Credentials = Callable[[str], Credential | None]  # of an account, as they are now; None where it is unknown

_IN_A_FILE = "_file"
_TIMEOUT = "timeout_seconds"


def producer_for(settings: Settings, credentials: Credentials, now: Callable[[], float]) -> Producer:
    """Not open yet. ``now`` gives the seconds since the epoch to sign with.

    Raises ConfigurationError for whatever is wrong with the options of this producer or of another that has some.
    """
    options = producer_options(settings)[settings.producer]
    return load(settings.producer)(context_of(settings, options, credentials, now))


def wants_credentials(name: str) -> bool:
    """Whether this producer makes no call for an account without credentials."""
    return bool(getattr(load(name), "needs_credentials", False))


def call_messages(settings: Settings, options: ProducerOptions | None = None) -> int:
    """How many messages a call may carry: RELAY_BATCH_SIZE, or the option of the producer's own where it has one.

    A RELAY_BATCH_SIZE below the default counts even so. Without options: of the producer of the settings.
    """
    own: int | None = getattr(options or producer_options(settings)[settings.producer], "batch_size", None)
    usual = type(settings).model_fields["batch_size"].default
    if own is None:
        return settings.batch_size
    return own if settings.batch_size == usual else min(own, settings.batch_size)


def call_timeout_seconds(settings: Settings) -> float | None:
    """How long a call of the producer of the settings may take; None where it has no time-out of its own."""
    return getattr(producer_options(settings)[settings.producer], _TIMEOUT, None)


def explainers(settings: Settings) -> list[Explainer]:
    """Those of the producer of the settings, of every other that has options, and of the accounts in the TOML file."""
    named = [str(table.get(PRODUCER_KEY, "")) for table in _accounts(settings).values()]
    return explainers_of(settings.producer, *settings.sections.tables, *named)


def explainers_of(*names: str) -> list[Explainer]:
    """Those of these producers, as far as they are there, and at last of those that come with the relay."""
    asked, known = dict.fromkeys([*names, *BUILT_IN]), known_names()
    return [found for name in asked if name in known and (found := getattr(load(name), "explain", None))]


def _accounts(settings: Settings) -> Mapping[str, Mapping[str, Any]]:
    return read_accounts(settings.file) if is_there(settings.file) else {}


async def probed(producer: Producer, account: str) -> Finding | None:
    """What the far end says of this account without being given a message; None where the producer cannot ask."""
    if not isinstance(producer, Probing):
        return None
    await producer.open()
    try:
        return await producer.probe(account)
    finally:
        await producer.close()


def producer_options(settings: Settings) -> dict[str, ProducerOptions]:
    """The options of the producer of the settings, and of every other that has a section, by the producer's name.

    Raises ConfigurationError naming every problem, without the value of a secret.
    """
    given, problems = given_options(settings)
    options: dict[str, ProducerOptions] = {}
    for name in dict.fromkeys([settings.producer, *given]):
        if has_ours(settings, name):
            options[name] = ours(settings, name)
            continue
        said = given.get(name, GivenOptions())
        found, wrong = said.read(name)
        problems += wrong or short_lease(settings, name, found, said)
        if found is not None:
            options[name] = found
    if problems:
        raise ConfigurationError("\n".join(problems), "See docs/producers.md: where the options of a producer are set.")
    return options


def producer_secret_files(settings: Settings) -> list[Path]:
    """The files that secrets of producers come from, the TOML file among them."""
    found = []
    for name, said in given_options(settings)[0].items():
        secrets = secret_options(options_kind(name))
        found += [Path(path) for option, (path, _) in said.files.items() if option in secrets]
        if secrets & settings.sections.tables.get(name, {}).keys():
            found.append(settings.file)
    return found


@dataclass(slots=True)
class GivenOptions:
    """What was given to one producer: option -> value, and the name under which it was given.

    ``files`` hold secrets: paths by option. They win over what is ``written`` in the TOML file, ``said`` over both.
    """

    written: dict[str, tuple[object, str]] = field(default_factory=dict)
    files: dict[str, tuple[str, str]] = field(default_factory=dict)
    said: dict[str, tuple[object, str]] = field(default_factory=dict)

    def read(self, name: str) -> tuple[ProducerOptions | None, list[str]]:
        """The options, or why not, a line each."""
        kind = options_kind(name)
        problems: list[str] = []
        values = {**self.written, **self._from_files(kind, problems), **self.said}
        for option in [option for option in values if option not in kind.model_fields]:
            label = values.pop(option)[1]
            problems.append(f"{label}: unknown option{_nearest(name, option, label, kind.model_fields)}")

        def named(option: str) -> str:
            if not option:
                return f"the producer {name}"
            return values[option][1] if option in values else variable(name, option)

        options, wrong = validated(kind, {option: value for option, (value, _) in values.items()}, named=named)
        return options, problems + wrong

    def _from_files(self, kind: type[ProducerOptions], problems: list[str]) -> dict[str, tuple[object, str]]:
        """An option of the producer's own may end like the name of such a file; what is no secret is in none."""
        found: dict[str, tuple[object, str]] = {}
        for option, (path, label) in self.files.items():
            if option + _IN_A_FILE in kind.model_fields or option not in secret_options(kind):
                found[option + _IN_A_FILE] = (path, label)
                continue
            try:
                found[option] = (read_value(Path(path)), label)
            except UnusableText as error:
                problems.append(f"{label}: {path} {error}")
        return found


def variable(name: str, option: str) -> str:
    """How the environment calls an option of this producer."""
    return PRODUCER_PREFIX + f"{name}_{option}".upper().replace("-", "_").replace(".", "_")


def _nearest(name: str, option: str, label: str, known: Iterable[str]) -> str:
    """In the form in which the option was given: as a variable, or by its name."""
    if label.startswith(PRODUCER_PREFIX):
        return nearest(label, [variable(name, other) for other in known], PRODUCER_PREFIX)
    return nearest(option, known)


def given_options(settings: Settings) -> tuple[dict[str, GivenOptions], list[str]]:
    """By producer, and a line for everything that is said of a producer that is not installed. The last word counts."""
    known, given, problems = known_names(), dict[str, GivenOptions](), list[str]()
    sections = settings.sections

    def of(name: str, where: str) -> GivenOptions:
        if name not in known:
            problems.append(f"{where}: there is no producer {name!r}{nearest(name, known)}")
            return GivenOptions()
        return given.setdefault(name, GivenOptions())

    for name, table in sections.tables.items():
        where = f"{settings.file}: [producers.{name}]"
        of(name, where).written.update({option: (value, f"{where} {option}") for option, value in table.items()})
    for ending, text in sorted(sections.variables.items()):
        full = PRODUCER_PREFIX + ending
        fitting = [name for name in known if full.startswith(variable(name, "")) and full != variable(name, "")]
        if not fitting:
            problems.append(f"{full}: there is no producer of that name; known producers: {', '.join(known)}")
            continue
        name = max(fitting, key=len)
        option = full.removeprefix(variable(name, "")).lower()
        if option.endswith(_IN_A_FILE):
            of(name, full).files[option.removesuffix(_IN_A_FILE)] = (text, full)
        else:
            of(name, full).said[option] = (text, full)
    for name, table in sections.overrides.items():
        where = f"producers[{name!r}]"
        of(name, where).said.update({option: (value, f"{where}[{option!r}]") for option, value in table.items()})
    return given, problems


def context_of(
    settings: Settings, options: ProducerOptions, credentials: Credentials, now: Callable[[], float]
) -> ProducerContext[Any]:
    """What this producer is told. Without an option ``timeout_seconds`` a call gets 80% of the lease, so that the lease
    outlasts it.
    """
    lease = settings.lease_seconds
    timeout = getattr(options, _TIMEOUT, None) or min(lease / 1.25, max(lease - 1, lease / 2))
    return ProducerContext(options, credentials, timeout, now)


def short_lease(settings: Settings, name: str, options: ProducerOptions | None, said: GivenOptions) -> list[str]:
    """A line where the time-out of these options outlasts the lease; it names where that was given."""
    timeout = getattr(options, _TIMEOUT, 0)
    least = least_lease_seconds(timeout)
    if not timeout or settings.lease_seconds >= least:
        return []
    _, label = {**said.written, **said.said}.get(_TIMEOUT, (None, variable(name, _TIMEOUT)))
    return [f"RELAY_LEASE_SECONDS: must be at least {least:g} with {label} {timeout:g}, got {settings.lease_seconds:g}"]


def has_ours(settings: Settings, name: str) -> bool:
    """Whether the options of this producer are among the relay's own, as those of the first one are."""
    return f"{name}_{_TIMEOUT}" in type(settings).model_fields


def ours(settings: Settings, name: str) -> ProducerOptions:
    """The options of such a producer."""
    kind = options_kind(name)
    return kind(**{option: getattr(settings, f"{name}_{option}") for option in kind.model_fields})
