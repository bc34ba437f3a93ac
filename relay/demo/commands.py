"""``relay ...`` as real processes, with an environment that holds nothing but what the demo exports.

None outlives us: each ends with the block that started it, and a watchdog kills it should we be killed ourselves. That
matters: a worker left behind would go on producing for the next demo. A session of their own keeps Ctrl-C from
reaching them before us.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from relay.demo.telling import indented, say, shell_line
from relay.errors import RelayError

T = TypeVar("T")

PATIENCE_SECONDS = 30
_PACKAGE_FOLDER = Path(__file__).parents[2]
_BASE = {"PATH": os.defpath, "LC_ALL": "C", "PYTHONPATH": str(_PACKAGE_FOLDER), "PYTHONUTF8": "1"}
_EXPORT = re.compile(r"^export (RELAY_\w+)=(.+)$", re.MULTILINE)
_ANNOUNCED = re.compile(r"^What arrives is shown at (\S+)/ ", re.MULTILINE)


def started(arguments: list[str], settings: Mapping[str, str], folder: Path, log_name: str | None = None) -> Service:
    """Told as it would be typed, and begun."""
    say(shell_line(arguments, background=True))
    return Service(arguments, settings, folder, log_name)


def finished(arguments: list[str], settings: Mapping[str, str], folder: Path) -> None:
    """Told as it would be typed, run to its end, and what it said told too."""
    say(shell_line(arguments))
    say(indented(run(arguments, settings, folder)))


def run(arguments: list[str], settings: Mapping[str, str], folder: Path) -> str:
    """What the command said on stdout and stderr, once it has ended well."""
    ended = subprocess.run(**_call(arguments, settings, folder), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    said = str(ended.stdout, "utf-8", "replace")
    if ended.returncode:
        raise RelayError(f"relay {arguments[0]} ended with {ended.returncode}: {said.strip()}")
    return said


class Service:
    """A command that runs until it is stopped. What it says is in ``log``, by default the file of its verb."""

    def __init__(
        self, arguments: list[str], settings: Mapping[str, str], folder: Path, log_name: str | None = None
    ) -> None:
        self.name = f"relay {arguments[0]}"
        self.log = folder / f"{log_name or arguments[0]}.log"
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(**_call(arguments, settings, folder), stdout=log, stderr=log)
        # The pipe closes when we die, however we die; a line through it means that all is well.
        watch = ["sh", "-c", 'read -r line || kill -KILL "$0"', str(self._process.pid)]
        self._watchdog = subprocess.Popen(watch, stdin=subprocess.PIPE, start_new_session=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._watchdog.communicate(b"\n")

    def require_running(self) -> None:
        """Raises RelayError, which names the log, when the process has ended."""
        if (code := self._process.poll()) is not None:
            raise RelayError(f"{self.name} ended with {code} before its time.", f"See {self.log}")

    def stay(self) -> None:
        """Until Ctrl-C; a session of its own keeps that from the command. RelayError when it ends by itself."""
        with suppress(KeyboardInterrupt):
            self._process.wait()
            self.require_running()

    def announced(self) -> tuple[str, dict[str, str]]:
        """The URL and the ``export`` lines that the sandbox says it is reached by."""

        def found() -> tuple[str, dict[str, str]] | None:
            said = self.log.read_text(encoding="utf-8", errors="replace")
            url = _ANNOUNCED.search(said)
            return (url[1], dict(_EXPORT.findall(said))) if url else None

        return self.wait_for(found, "to listen")

    def wait_for(self, found: Callable[[], T | None], what: str) -> T:
        """The first value of ``found`` that is not None. RelayError when the process ends or PATIENCE_SECONDS pass."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (value := found()) is None:
            self.require_running()
            if time.monotonic() > deadline:
                raise RelayError(f"{self.name} takes longer than {PATIENCE_SECONDS} s {what}.", f"See {self.log}")
            time.sleep(0.02)
        return value

    def stop(self) -> None:
        """SIGTERM, which must end it with 0."""
        self.require_running()
        self._process.terminate()
        try:
            code = self._process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            raise RelayError(f"{self.name} does not end on SIGTERM.", f"See {self.log}") from None
        if code:
            raise RelayError(f"{self.name} ended with {code} on SIGTERM.", f"See {self.log}")


def _call(arguments: list[str], settings: Mapping[str, str], folder: Path) -> dict[str, Any]:
    """In the demo's own folder, where no relay.toml of the user is found."""
    return {
        "args": [sys.executable, "-m", "relay", *arguments],
        "env": {**_BASE, **settings},
        "cwd": folder,
        "stdin": subprocess.DEVNULL,
        "start_new_session": True,
    }
