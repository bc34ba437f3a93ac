"""The command ``relay``: verbs, wiring, signals, exit codes. The only room that puts the others together.

An application that only inserts does not install what the verbs need. So this module imports nothing but the standard
library, and says in one sentence what is missing.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys


def main() -> None:
    """Run the command line of this process, and exit with its code."""
    _open_standard_streams()
    if next((word for word in sys.argv[1:] if not word.startswith("-")), "") != "run":
        sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115 as long as the process lives
        sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
        _run()
        return
    # A worker that is stopped while it still loads its libraries has claimed nothing: that is a clean end too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    from relay.cli.ending import bounded_end, watch_signals

    watch_signals()
    with bounded_end():
        _run()


def _run() -> None:
    try:
        from relay.cli.verbs import relay
    except ModuleNotFoundError as error:
        if error.name != "click":
            raise
        sys.stderr.write("error: click is not installed\nhint: pip install 'outbox-relay[worker]'\n")
        sys.exit(78)
    from relay.cli.called import name_called

    try:
        relay(prog_name=name_called())
    except OSError as error:  # of what is written before a verb begins: help, the version
        from relay.cli.failures import failure_of

        failure = failure_of(error)
        failure.show()
        sys.exit(failure.exit_code)


def _open_standard_streams() -> None:
    """Give those that are closed to /dev/null: else the first connection to a database would be standard error."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            with contextlib.suppress(OSError):
                # Takes the lowest number that is free. For reading, so that what is written to standard output is told.
                os.open(os.devnull, os.O_WRONLY if descriptor == 2 else os.O_RDONLY)
