"""A worker that is stopped the moment it starts, as an orchestrator does it that changes its mind."""

from __future__ import annotations

import subprocess
import sys

from tests.acceptance.outbox import Outbox

# SIGTERM arrives at the first import of a heavy library: the event loop does not listen to signals yet.
SCRIPT = """
import importlib.abc, os, signal, sys
from relay.cli import main

class Hit(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "sqlalchemy":
            os.kill(os.getpid(), signal.SIGTERM)

sys.meta_path.insert(0, Hit())
sys.argv = ["relay", "run"]
main()
"""


def test_sigterm_while_loading_is_a_clean_end(outbox: Outbox, env: dict[str, str]) -> None:
    ended = subprocess.run([sys.executable, "-c", SCRIPT], env=env, capture_output=True, timeout=30, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")
