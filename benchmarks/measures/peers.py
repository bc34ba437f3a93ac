"""Other libraries on the same server, with the same kind of messages, in turn with the relay.

What is compared is what each was made for. A peer hands one message to one handler; the relay puts up to fifty into
one call, because this platform has such a call. Calls per second say what the platform sees of it.

A peer connects before its time begins, the relay within it. Over HTTP the peers get fewer messages, enough for a
second or more; the relay would be through before it is warm.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.effort import Effort
from benchmarks.ground import Ground
from benchmarks.peers import PEERS, Knobs, lap
from benchmarks.peers.environments import MissingError, interpreter
from benchmarks.platform import Platform, platform
from benchmarks.race import drain
from benchmarks.table import Cells, Table, in_turn

_LATENCY_MS = 20
_AS_IT_COMES = 8  # the default of RELAY_CONCURRENCY
_HTTP_SHARE = 4  # a peer gets a quarter of the messages where each is a call
_TRIAL_MESSAGES = 100


@dataclass(frozen=True, slots=True)
class Field:
    """Who takes part, and why somebody does not."""

    ground: Ground
    pythons: Mapping[str, Path]
    absent: Mapping[str, str]

    def table(
        self,
        title: str,
        effort: Effort,
        knobs_of: Callable[[str], Knobs],
        *,
        in_flight: int,
        there: Platform | None = None,
    ) -> Table:
        runs = {
            "relay": partial(_relay, self.ground, effort.messages, in_flight, there),
            "relay, as it comes": partial(_relay, self.ground, effort.messages, _AS_IT_COMES, there),
        }
        for name, python in self.pythons.items():
            messages = effort.messages // PEERS[name].slower // (_HTTP_SHARE if there else 1)
            runs[name] = partial(_peer, self.ground, name, python, knobs_of(name), messages, there)
        rows = in_turn(runs, effort.repeats)
        return Table(title, rows, note=self._note(knobs_of, in_flight), first_over=True)

    def _note(self, knobs_of: Callable[[str], Knobs], in_flight: int) -> str:
        lines = [
            f"relay: RELAY_CONCURRENCY={in_flight}, as it comes {_AS_IT_COMES}; "
            "up to 50 messages a call; keeps the row and its call"
        ]
        for name in self.pythons:
            peer = PEERS[name]
            knobs = ", ".join(f"{knob}={value}" for knob, value in knobs_of(name).items())
            lines.append(f"{peer.requirements[0]}: {knobs}; one message a call; keeps {peer.keeps}")
        return "\n".join(lines + [f"{name}: left out: {reason}" for name, reason in self.absent.items()])


def measure(ground: Ground, effort: Effort) -> Iterator[Table]:
    field = _field(ground)
    yield field.table("peers: drain, a handler that does nothing, tuned", effort, _tuned, in_flight=32)
    with platform(0) as there:
        yield field.table("peers: over HTTP, 0 ms, tuned", effort, _tuned, in_flight=32, there=there)
    with platform(_LATENCY_MS) as there:
        title = f"peers: over HTTP, {_LATENCY_MS} ms, at most 16 calls in flight"
        yield field.table(title, effort, _sixteen, in_flight=16, there=there)


def _tuned(name: str) -> Knobs:
    return PEERS[name].tuned


def _sixteen(name: str) -> Knobs:
    return PEERS[name].sixteen


def _field(ground: Ground) -> Field:
    pythons, absent = {}, {}
    for name, peer in PEERS.items():
        print(f"{name}: installing and trying ...", file=sys.stderr, flush=True)
        try:
            python = interpreter(name)
            lap.drain(ground, name, python, peer.tuned, messages=_TRIAL_MESSAGES)
        except (MissingError, lap.FailedError) as error:
            absent[name] = str(error)
        else:
            pythons[name] = python
    return Field(ground, pythons, absent)


def _relay(ground: Ground, messages: int, in_flight: int, there: Platform | None) -> Cells:
    run = drain(ground, "relay", messages=messages, platform=there, in_flight=in_flight)
    return _cells(messages, run.seconds, run.cpu_seconds, run.calls, there)


def _peer(ground: Ground, name: str, python: Path, knobs: Knobs, messages: int, there: Platform | None) -> Cells:
    run = lap.drain(ground, name, python, knobs, messages=messages, platform=there)
    return _cells(messages, run.seconds, run.cpu_seconds, run.calls, there)


def _cells(messages: int, seconds: float, cpu_seconds: float, calls: int, there: Platform | None) -> Cells:
    cells = {"messages/s": messages / seconds, "CPU ms/1,000": cpu_seconds / messages * 1e6}
    return cells | {"calls/s": calls / seconds} if there else cells
