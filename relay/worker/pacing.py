"""How hard to press a platform that is in trouble, as functions of values.

    full ──provider faults in a row──> open (no calls) ──time──> canary (1 call, few messages)
      ^                                  ^                          │ fails
      │                                  └──────────────────────────┤
      └── twice as many calls after each success <──────────────────┘ succeeds

A ban of the platform leads to the canary at once: when it ends, not everybody should knock at the same moment.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

TOLERATED = 4  # faults in a row that may be chance
OPEN_BASE_SECONDS = 0.5
OPEN_MAX_SECONDS = 30.0
CANARY_MESSAGES = 5


@dataclass(frozen=True, slots=True)
class Gate:
    """``calls``: how many may be in flight (None: as many as there are slots); none at all before ``open_until``."""

    faults: int = 0
    calls: int | None = None
    open_until: float = 0.0


FULL = Gate()


def after_fault(gate: Gate, now: float, rng: random.Random) -> Gate:
    """The provider failed, or nobody knows. ``now`` is in the seconds of any steady clock."""
    faults = gate.faults + 1
    if faults <= TOLERATED:
        return replace(gate, faults=faults)
    if now < gate.open_until:
        return gate  # the other calls of the same burst say nothing new
    longest = min(OPEN_MAX_SECONDS, OPEN_BASE_SECONDS * 2.0 ** min(faults - TOLERATED - 1, 10))
    return Gate(faults, calls=1, open_until=now + longest * rng.uniform(0.5, 1.0))


def after_ban(gate: Gate) -> Gate:
    """The platform asked for silence. The pause itself is kept for all workers in the database."""
    return replace(gate, calls=1)


def after_success(gate: Gate, slots: int) -> Gate:
    """The platform answered."""
    if gate.calls is None:
        return FULL
    calls = gate.calls * 2
    return FULL if calls >= slots else Gate(calls=calls)


def allowed_calls(gate: Gate, slots: int, now: float) -> int:
    """How many calls may be in flight now."""
    if now < gate.open_until:
        return 0
    return slots if gate.calls is None else min(slots, gate.calls)


def allowed_messages(gate: Gate, batch_size: int) -> int:
    """How many messages the next call may carry: the first one after trouble is small."""
    return min(batch_size, CANARY_MESSAGES) if gate.calls == 1 else batch_size
