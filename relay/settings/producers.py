"""What is said about producers and is theirs to read: sections by the producer's name, collected and not judged.

    [producers.spool] folder = "/var/spool"      the TOML file
    RELAY_PRODUCER_SPOOL_FOLDER=/var/spool       the environment
    load(producers={"spool": {"folder": ...}})   a program

Which producers and options there are is known only where they are installed: all of this is checked when one is opened.
The one that has its options among ours (``tmc.py``) has them under both names: RELAY_PRODUCER_TMC_URL is RELAY_TMC_URL,
and ``[producers.tmc]`` is ``[tmc]``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from relay.settings.tmc import OURS
from relay.settings.values import variable_of

PREFIX = "RELAY_PRODUCER_"
_OURS, _OURS_AS_A_SECTION = variable_of(f"{OURS}_"), f"{PREFIX}{OURS.upper()}_"

Tables = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True, repr=False)
class Sections:
    """Values as they were given, among them secrets. ``overrides`` win over ``variables``, those over ``tables``.

    ``variables`` are named by what comes after RELAY_PRODUCER_: where the producer's name ends in it is not known here.
    """

    overrides: Tables = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    tables: Tables = field(default_factory=dict)

    def with_overrides(self, overrides: Tables) -> Sections:
        """The same with these options over them, option by option."""
        merged = {name: {**self.overrides.get(name, {}), **options} for name, options in overrides.items()}
        return Sections({**self.overrides, **merged}, self.variables, self.tables)


def take_tables(given: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The tables below ``[producers]``, taken out; the one that is ours is put where its options are."""
    table = given.get("producers")
    if not isinstance(table, dict):
        return {}
    found = {name: table.pop(name) for name, value in list(table.items()) if isinstance(value, dict)}
    if OURS in found:
        beside = given.get(OURS, {})
        if isinstance(beside, dict):  # else it is an unknown key, and told as one
            given[OURS] = {**found.pop(OURS), **beside}
    return found


def written_apart(given: Mapping[str, Any], options: Collection[str]) -> dict[str, tuple[str, str, list[str]]]:
    """A key as it is called among ours -> as it stands below ``[producers]``, in which section, and what may be there.

    To be asked before the tables are taken.
    """
    producers = given.get("producers")
    written = producers.get(OURS) if isinstance(producers, dict) else None
    if not isinstance(written, dict):
        return {}
    known = [option.removeprefix(f"{OURS}_") for option in options if option.startswith(f"{OURS}_")]
    return {f"{OURS}_{key}": (key, f"producers.{OURS}", known) for key in written}


def with_ours(environment: Mapping[str, str]) -> dict[str, str]:
    """The same environment, where RELAY_PRODUCER_TMC_... is RELAY_TMC_... unless that is set itself."""
    moved = {
        _OURS + name.removeprefix(_OURS_AS_A_SECTION): value
        for name, value in environment.items()
        if name.startswith(_OURS_AS_A_SECTION)
    }
    return {**moved, **{name: value for name, value in environment.items() if not name.startswith(_OURS_AS_A_SECTION)}}
