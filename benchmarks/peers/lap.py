"""One drain by one peer in its own interpreter, on a fresh database with the same messages as everybody's.

Its schema is created and its table filled once, for every run to be copied from; connections are made before the start;
a drain counts only when nothing is left and, over HTTP, the platform accepted each message once.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import text

from benchmarks.ground import CONTENT, Ground, connected, conninfo, settle_down
from benchmarks.peers import PEERS, Knobs
from benchmarks.platform import Platform

_ROOT = Path(__file__).parents[2]
_PATIENCE_SECONDS = 600


class FailedError(Exception):
    """The peer did not come to an end; says why in one line."""


@dataclass(frozen=True, slots=True)
class PeerLap:
    seconds: float
    cpu_seconds: float
    calls: int


def drain(
    ground: Ground,
    name: str,
    python: Path,
    knobs: Knobs,
    *,
    messages: int,
    platform: Platform | None = None,
    client: str = "httpx",
) -> PeerLap:
    """Raises FailedError."""
    peer = PEERS[name]
    with ground.fresh(_filled(ground, name, python, messages)) as url:
        before = platform.received() if platform else None
        task = {"messages": messages, "url": platform and platform.url, "client": client, "knobs": knobs}
        lap = json.loads(_said_by(python, name, "drain", conninfo(url), json.dumps(task)))
        with connected(url) as connection:
            left = connection.execute(text(peer.left)).scalar_one()
        if left:
            raise FailedError(f"{left} messages are left")
        calls = 0
        if platform and before:
            received = platform.received() - before
            if received.messages != messages:
                raise FailedError(f"{received.messages} messages arrived instead of {messages}")
            calls = received.calls
    return PeerLap(lap["seconds"], lap["cpu_seconds"], calls)


def _filled(ground: Ground, name: str, python: Path, messages: int) -> str:
    peer = PEERS[name]
    schema = ground.made(name, lambda url: _install(url, name, python))
    insert = peer.fill.format(content=f"cast({CONTENT} as text)")

    def fill(url: str) -> None:
        with connected(url) as connection:
            connection.execute(text(f"{insert} from generate_series(1, :n) n"), {"n": messages})
        settle_down(url, peer.table)

    return ground.made(f"{name} {messages}", fill, template=schema)


def _install(url: str, name: str, python: Path) -> None:
    _said_by(python, name, "install", conninfo(url))


def _said_by(python: Path, *arguments: str) -> str:
    """The last line a peer printed. Imports and connections are its own business: it takes the time itself."""
    command = [str(python), "-m", "benchmarks.peers", *arguments]
    try:
        done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, timeout=_PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        raise FailedError(f"nothing after {_PATIENCE_SECONDS} s") from None
    lines = done.stdout.splitlines()
    if done.returncode or (arguments[1] == "drain" and not lines):
        raise FailedError((done.stderr.strip().splitlines() or ["no reason given"])[-1])
    return lines[-1] if lines else ""
