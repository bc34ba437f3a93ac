"""Other libraries on the same server, with the same kind of messages, in turn with the relay.

What is compared is what each was made for. A peer hands one message to one handler; the relay puts up to fifty into
one call, because this platform has such a call. Calls per second say what the platform sees of it. Where CPU is all
that matters, handlers post with httpx, one client for all, as whoever adds this platform to a peer would, and those of
the fastest peer also with aiohttp; where the platform is slow, all of them with aiohttp, which favours the peers.

A peer connects before its time begins, the relay within it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from benchmarks.effort import Effort
from benchmarks.ground import Ground
from benchmarks.peers import PEERS, Way, lap
from benchmarks.peers.environments import MissingError, interpreter
from benchmarks.platform import Platform, platform
from benchmarks.race import drain
from benchmarks.table import Cells, Table, in_turn

_LATENCY_MS, _AT_ONCE = 20, 16
_TUNED_IN_FLIGHT = 32  # RELAY_CONCURRENCY
_RELAY_PER_SECOND, _AIOHTTP_PER_SECOND = 33_000, 5_000  # tuned, 0 ms: the relay's messages, the fastest peer's calls
_DOCUMENTED_PER_SECOND = 12_000  # txoutbox with the configuration of its README
_TRIAL_MESSAGES = 100


@dataclass(frozen=True, slots=True)
class Line:
    """One peer as one line of a table runs it. ``client``: what its handlers post with."""

    label: str
    name: str
    way: Way
    keeps: str
    client: str = "httpx"


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
        lines: list[Line],
        *,
        in_flight: int,
        messages: int,
        there: Platform | None = None,
    ) -> Table:
        """``in_flight`` and ``messages`` are the relay's."""
        present = [line for line in lines if line.name in self.pythons]
        runs = {"relay": partial(_relay, self.ground, messages, in_flight, there)}
        for line in present:
            messages = effort.messages(line.way.per_second)
            runs[line.label] = partial(_peer, self.ground, line, self.pythons[line.name], messages, there)
        return Table(title, in_turn(runs, effort.repeats), note=self._note(present, in_flight), first_over=True)

    def _note(self, lines: list[Line], in_flight: int) -> str:
        said = [f"relay: RELAY_CONCURRENCY={in_flight}; up to 50 messages a call; keeps the row and its call"]
        for line in lines:
            knobs = ", ".join(f"{knob}={value}" for knob, value in line.way.knobs.items())
            who = PEERS[line.name].requirements[0] + line.label.removeprefix(line.name)
            said.append(f"{who}: {knobs}; one message a call; keeps {line.keeps}")
        return "\n".join(said + [f"{name}: left out: {reason}" for name, reason in self.absent.items()])


def measure(ground: Ground, effort: Effort) -> Iterator[Table]:
    field, tuned = _field(ground), _TUNED_IN_FLIGHT
    title, messages = "peers: drain, a handler that does nothing, tuned", effort.null_messages("relay")
    yield field.table(title, effort, _doing_nothing(), in_flight=tuned, messages=messages)
    with platform(0) as there:
        title, messages = "peers: over HTTP, 0 ms, tuned", effort.messages(_RELAY_PER_SECOND)
        yield field.table(title, effort, _posting(), in_flight=tuned, messages=messages, there=there)
    with platform(_LATENCY_MS) as there:
        title = f"peers: over HTTP, {_LATENCY_MS} ms, at most {_AT_ONCE} calls in flight"
        messages = effort.http_messages("relay", _LATENCY_MS, _AT_ONCE)
        yield field.table(title, effort, _sixteen(), in_flight=_AT_ONCE, messages=messages, there=there)


def _doing_nothing() -> list[Line]:
    fastest, *others = [Line(name, name, peer.tuned, peer.keeps) for name, peer in PEERS.items()]
    kept = replace(fastest.way, knobs={**fastest.way.knobs, "delete_on_ack": False})
    documented = Way({"batch_size": 50, "concurrency": 10, "strict_ordering": False}, _DOCUMENTED_PER_SECOND)
    return [
        fastest,
        Line("txoutbox, rows kept", "txoutbox", kept, "the row"),
        Line("txoutbox, as its README has it", "txoutbox", documented, "the row"),
        *others,
    ]


def _posting() -> list[Line]:
    lines = [Line(name, name, peer.posting, peer.keeps) for name, peer in PEERS.items() if peer.posting]
    way = replace(PEERS["txoutbox"].tuned, per_second=_AIOHTTP_PER_SECOND)
    return [Line("txoutbox, posting with aiohttp", "txoutbox", way, "nothing", client="aiohttp"), *lines]


def _sixteen() -> list[Line]:
    return [Line(n, n, peer.sixteen, peer.keeps, client="aiohttp") for n, peer in PEERS.items() if peer.sixteen]


def _field(ground: Ground) -> Field:
    pythons, absent = {}, {}
    for name, peer in PEERS.items():
        print(f"{name}: installing and trying ...", file=sys.stderr, flush=True)
        try:
            python = interpreter(name)
            lap.drain(ground, name, python, peer.tuned.knobs, messages=_TRIAL_MESSAGES)
        except (MissingError, lap.FailedError) as error:
            absent[name] = str(error)
        else:
            pythons[name] = python
    return Field(ground, pythons, absent)


def _relay(ground: Ground, messages: int, in_flight: int, there: Platform | None) -> Cells:
    run = drain(ground, "relay", messages=messages, platform=there, in_flight=in_flight)
    return _cells(messages, run.seconds, run.cpu_seconds, run.calls, there)


def _peer(ground: Ground, line: Line, python: Path, messages: int, there: Platform | None) -> Cells:
    run = lap.drain(ground, line.name, python, line.way.knobs, messages=messages, platform=there, client=line.client)
    return _cells(messages, run.seconds, run.cpu_seconds, run.calls, there)


def _cells(messages: int, seconds: float, cpu_seconds: float, calls: int, there: Platform | None) -> Cells:
    cells = {"messages/s": messages / seconds, "CPU ms/1,000": cpu_seconds / messages * 1e6}
    return cells | {"calls/s": calls / seconds} if there else cells
