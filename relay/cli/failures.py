"""From an exception to one sentence, a hint and an exit code.

Only texts known to be free of secrets and contents are shown: our own, and what ``database.py`` made of PostgreSQL's.
Of anything else the type is named, and ``--debug`` shows the rest.
"""

from __future__ import annotations

import contextlib
import errno
import os
from typing import IO, Any

import click

from relay.cli.called import as_called
from relay.errors import ConfigurationError, RelayError

# What the extra ``worker`` brings, as it is imported.
OF_THE_WORKER = {"aiohttp", "alembic", "click", "httpx", "prometheus_client", "psycopg", "pydantic"} | {
    "starlette", "structlog", "uvicorn"
}  # fmt: skip
OF_THE_DASHBOARD = {"jinja2", "markupsafe"}  # and what only the extra dashboard brings
_OF_OTHERS = "Nothing of the relay's imports it. Install what needs it as a whole; pip check says what is missing."
_CANNOT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)


class Failure(click.ClickException):
    """``error: sentence`` and ``hint: next step`` on stderr; each line of the sentence is a problem of its own."""

    def __init__(self, error: RelayError) -> None:
        super().__init__(str(error))
        self.hint = as_called(error.hint)
        self.exit_code = error.exit_code  # type: ignore[misc]  # click declares it for the class

    def show(self, file: IO[Any] | None = None) -> None:
        """Print it on stderr, or to ``file``."""
        from relay.cli.printing import say

        for line in self.message.splitlines():
            say(f"error: {line}", file=file, err=True)
        if self.hint:
            say(f"hint: {self.hint}", file=file, err=True)


class Unwritten(Failure):
    """What a command prints has nowhere to go: a full disk, a standard output that was closed before the start."""

    def __init__(self, error: OSError) -> None:
        hint = "What a command changes is changed before it prints: look before you repeat it."
        super().__init__(RelayError(f"Cannot write to standard output: {error.strerror}", hint))

    def show(self, file: IO[Any] | None = None) -> None:
        """The same, then let nothing more be written to standard output."""
        super().show(file)
        with contextlib.suppress(
            OSError
        ):  # the interpreter would try to write the rest again, and fail in its own words
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def failure_of(error: Exception) -> Failure:
    """What to tell of an error that a verb let through."""
    if isinstance(error, RelayError):
        return Failure(error)
    if isinstance(error, ModuleNotFoundError) and error.name and not error.name.startswith("relay"):
        package = error.name.partition(".")[0]
        extra = "dashboard" if package in OF_THE_DASHBOARD else "worker" if package in OF_THE_WORKER else None
        hint = f"pip install 'outbox-relay[{extra}]'" if extra else _OF_OTHERS
        return Failure(ConfigurationError(f"{package} is not installed", hint))
    if isinstance(error, OSError) and error.errno in _CANNOT_WRITE and error.filename is None:
        return Unwritten(error)
    return Failure(RelayError(f"Unexpected {type(error).__name__}", "relay --debug ... shows where it happened"))
