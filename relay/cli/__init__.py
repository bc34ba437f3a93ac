"""The command ``relay``: verbs, wiring, signals, exit codes. The only room that puts the others together.

An application that only inserts does not install what the verbs need. So this module imports nothing but the standard
library, and says in one sentence what is missing.
"""

from __future__ import annotations

import signal
import sys


def main() -> None:
    """Run the command line of this process, and exit with its code."""
    if "run" in sys.argv[1:3]:
        # A worker that is stopped while it still loads its libraries has claimed nothing: that is a clean end too.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        from relay.cli.verbs import relay
    except ModuleNotFoundError as error:
        if error.name != "click":
            raise
        sys.stderr.write("error: click is not installed\nhint: pip install 'outbox-relay[worker]'\n")
        sys.exit(78)
    relay(prog_name="relay")
