"""A virtual environment for each peer inside the one that runs this, made once, found again by what it was made from.

Nothing of a peer is ever imported into this process, and none of their dependencies can disturb ours. They go when
that environment goes.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from shutil import rmtree

from benchmarks.peers import PEERS

_PLACE = Path(sys.prefix) / "bench-peers"
_ALSO = ("httpx==0.28.1", "sniffio", "aiohttp==3.14.5")  # what the handlers post with


class MissingError(Exception):
    """The peer cannot be installed here; says why in one line."""


def interpreter(name: str) -> Path:
    """Python with this peer installed. Raises MissingError."""
    requirements = (*PEERS[name].requirements, *_ALSO)
    home = _PLACE / name
    python, made_from = home / "bin" / "python", home / "made-from.txt"
    wanted = "\n".join((sys.version, *requirements))
    if made_from.exists() and made_from.read_text() == wanted:
        return python
    rmtree(home, ignore_errors=True)
    _run([sys.executable, "-m", "venv", "--without-pip", str(home)])
    _run([sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", *requirements])
    made_from.write_text(wanted)
    return python


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        said = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        errors = [line for line in said if line.startswith("ERROR")]
        raise MissingError((errors or said or ["no reason given"])[-1])
