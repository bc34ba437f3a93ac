"""Whether another process of the same web server runs a worker too.

A server with several processes starts an application in each: as children of one parent, with one command line. The
first of them takes a lock that its end sets free, however it ends; the others find it taken. Only for a warning: where
the lock cannot be taken for any other reason nobody is named, and nothing else depends on it.
"""

from __future__ import annotations

import fcntl
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW  # the folder is everybody's: no link of a stranger's


@contextmanager
def counted_in(parent: int | None = None) -> Iterator[str]:
    """This process runs a worker for as long as the block lasts; gives the id of one that did already, or nothing."""
    try:
        path = _path(os.getppid() if parent is None else parent)
        lock = os.open(path, _FLAGS, 0o600)
    except OSError:
        yield ""
        return
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            first = os.read(lock, 20).decode(errors="replace")
            yield "" if first == str(os.getpid()) else first  # several workers of one process are its own business
            return
        os.ftruncate(lock, 0)
        os.write(lock, str(os.getpid()).encode())
        try:
            yield ""
        finally:
            with suppress(OSError):
                path.unlink()
    finally:
        os.close(lock)


def _path(parent: int) -> Path:
    command = "\0".join([*sys.argv, os.getcwd()])
    name = f"outbox-relay-{os.getuid()}-{parent}-{sha256(command.encode(errors='replace')).hexdigest()[:16]}"
    return Path(tempfile.gettempdir()) / name
