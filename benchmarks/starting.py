"""How processes are started: by a server that has imported what they need, so that hundreds of starts cost no minutes.

The server itself connects to nothing and runs nothing; a process that it forks begins with its modules loaded and
everything else to be done.
"""

from __future__ import annotations

import multiprocessing
from multiprocessing.context import ForkServerContext

_LOADED = ["benchmarks.follower", "benchmarks.race"]


def starting() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_LOADED)
    return context
