"""How a worker's process begins and ends: standard error makes nobody wait, and the end waits for nothing that hangs.

At the end everything is settled, or left to the leases. What may still hang are threads nobody waits for (a name that
is looked up, a write into a full pipe, a stalled statement) and whatever else the interpreter would like to tidy up. At
the beginning, before the event loop listens to signals, SIGTERM has to end a process that hangs in a name look-up, too:
there the interpreter runs no handler, but the number of the signal is written to a descriptor all the same.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator

from relay.background import Thread, still_at_work
from relay.observers.outlet import Outlet

_FLUSH_SECONDS = 1.0
_THREADS_SECONDS = 1.0  # for a last transaction
_LEAVE_SECONDS = 3.0
_HANDLER_SECONDS = 1.0  # for the handler of a signal to end the process itself
INTERRUPTED = 130


@contextlib.contextmanager
def bounded_end() -> Iterator[None]:
    """Around all that the process does. Ends it with the exit code it would have had, at once if anything hangs."""
    plain, outlet = sys.stderr, Outlet(2)
    sys.stderr = outlet
    try:
        yield
    except BaseException as error:
        _leave(outlet, _exit_code(error))
        sys.stderr = plain
        if isinstance(error, SystemExit):
            raise
        sys.exit(1)


def _exit_code(error: BaseException) -> int:
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    sys.excepthook(type(error), error, error.__traceback__)
    return 1


def _leave(outlet: Outlet, code: int) -> None:
    flushing = Thread(_flush_stdout, name="flush")
    flushing.start()
    if not outlet.drain(_FLUSH_SECONDS) or still_at_work(_THREADS_SECONDS):
        os._exit(code)
    threading.Thread(target=_exit_later, args=(code,), daemon=True).start()


def _flush_stdout() -> None:
    with contextlib.suppress(OSError, ValueError, AttributeError):  # nobody reads, or it is closed
        sys.stdout.flush()


def _exit_later(code: int) -> None:
    """The interpreter joins threads of others and runs their farewells; that has to come to an end, too."""
    time.sleep(_LEAVE_SECONDS)
    os._exit(code)


def watch_signals() -> None:
    """Until the event loop takes over: end a process that hangs where its handlers are not run."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(ours, theirs), name="signals", daemon=True).start()


def _watch(ours: socket.socket, theirs: socket.socket) -> None:
    """``theirs`` is here to be kept open."""
    codes = {signal.SIGTERM: 0, signal.SIGINT: INTERRUPTED}
    while number := ours.recv(1):
        if number[0] in codes:
            time.sleep(_HANDLER_SECONDS)
            os._exit(codes[signal.Signals(number[0])])
