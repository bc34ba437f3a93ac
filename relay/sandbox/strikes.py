"""When faults strike: how a fault is written, and which of those in force hit the call at hand.

A fault is written ``NAME[=ARG][@WHEN]``. ``WHEN`` is ``3%`` (so often by chance: per call, or per message for the
faults that refuse single messages) or ``#2,5`` (on these calls, counted from 1 since the faults were set); without it,
always. Chance comes from a seeded generator: the same calls in the same order meet the same faults.
"""

from __future__ import annotations

import difflib
import random
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from relay.errors import ConfigurationError
from relay.sandbox.answers import CallAnswer, ProduceResult, Reply
from relay.sandbox.checks import Stage
from relay.sandbox.faults import HINT, KINDS, BansApp, Effect, RefusesCall, RefusesMessage, SpoilsAnswer

WRITTEN = re.compile(
    r"(?P<name>[a-z0-9-]+)(=(?P<arg>.*?))?(@((?P<percent>\d+(\.\d+)?)%|#(?P<calls>\d+(,\d+)*)))?", re.DOTALL | re.ASCII
)


@dataclass(frozen=True, slots=True)
class When:
    """``chance`` from 0 to 1; ``calls`` empty means every call."""

    chance: float = 1.0
    calls: frozenset[int] = frozenset()

    def strikes(self, call: int, roll: Callable[[], float]) -> bool:
        """Whether it strikes in this call, counted from 1; ``roll`` gives a number from 0 up to 1."""
        return (not self.calls or call in self.calls) and (self.chance >= 1 or roll() < self.chance)


@dataclass(frozen=True, slots=True)
class FaultInForce:
    """One fault in force. ``text`` is how it was written."""

    text: str
    name: str
    effect: Effect
    when: When


def parse_fault(text: str) -> FaultInForce:
    """The fault that this text asks for, or ConfigurationError naming the nearest one there is."""
    match = WRITTEN.fullmatch(text)
    if match is None:
        raise ConfigurationError(f"{text!r} does not read as a fault.", HINT)
    name, arg = match["name"], match["arg"] or ""
    kind = KINDS.get(name)
    if kind is None:
        near = difflib.get_close_matches(name, KINDS, n=1, cutoff=0.4)
        known = f"Did you mean {near[0]!r}? " if near else ""
        raise ConfigurationError(f"There is no fault {name!r}.", f"{known}Known are: {', '.join(KINDS)}.")
    if arg and not kind.arg:
        raise ConfigurationError(f"The fault {name!r} takes no argument.", HINT)
    return FaultInForce(text, name, kind.make(arg), _when(text, match["percent"], match["calls"]))


def _when(text: str, percent: str | None, calls: str | None) -> When:
    chance = float(percent or 100) / 100
    numbers = frozenset(int(number) for number in (calls or "").split(",") if number)
    if not 0 < chance <= 1 or 0 in numbers:
        raise ConfigurationError(f"{text!r}: percentages go from above 0 to 100, calls are counted from 1.", HINT)
    return When(chance, numbers)


class FaultPlan:
    """The faults in force, in the order written. Calls are counted from when the plan was made."""

    def __init__(self, texts: Iterable[str] = (), seed: int = 0) -> None:
        self.faults = tuple(parse_fault(text) for text in texts)
        self._roll = random.Random(seed).random  # noqa: S311 - to be repeated, not to be secret
        self._calls = 0

    def next_call(self) -> Strikes:
        """Count one more call and throw the dice for it."""
        self._calls += 1
        struck = [
            fault
            for fault in self.faults
            if isinstance(fault.effect, RefusesMessage) or fault.when.strikes(self._calls, self._roll)
        ]
        return Strikes(self._calls, struck, self._roll)


@dataclass(frozen=True, slots=True)
class Strikes:
    """The faults that may hit one call; ``names`` collects those that did."""

    call: int
    faults: Sequence[FaultInForce]
    roll: Callable[[], float]
    names: list[str] = field(default_factory=list)

    def answer_at(self, stage: Stage, contents: Iterable[str] = ("",)) -> CallAnswer | None:
        """The answer that a fault of this stage puts in place of a good one."""
        for fault in self.faults:
            effect = fault.effect
            if not isinstance(effect, RefusesCall) or effect.stage is not stage:
                continue
            if any(effect.containing in content for content in contents):
                self._hit(fault)
                return effect.answer
        return None

    def ban(self) -> tuple[str, BansApp] | None:
        """The name and the ban of the first fault that bans the app."""
        bans = ((fault.name, fault.effect) for fault in self.faults if isinstance(fault.effect, BansApp))
        return next(bans, None)

    def result_for(self, content: str) -> ProduceResult | None:
        """The refusal of this one message, if a fault hits it."""
        for fault in self.faults:
            effect = fault.effect
            if not isinstance(effect, RefusesMessage) or effect.containing not in content:
                continue
            if fault.when.strikes(self.call, self.roll):
                self._hit(fault)
                return effect.result
        return None

    def spoil(self, reply: Reply) -> Reply:
        """The reply after every fault that spoils answers, in the order written."""
        for fault in self.faults:
            if isinstance(fault.effect, SpoilsAnswer):
                self._hit(fault)
                reply = fault.effect.spoil(reply)
        return reply

    def _hit(self, fault: FaultInForce) -> None:
        if fault.name not in self.names:
            self.names.append(fault.name)
