"""``python -m benchmarks.peers NAME install DATABASE``, then ``... NAME drain DATABASE TASK`` with the task as JSON.

Runs in the peer's own environment. ``drain`` prints, as JSON, how long it took and the CPU time it used. Without a URL
in the task the handler does nothing at all.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from contextlib import AsyncExitStack
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from benchmarks.peers import Handle, module_of


def main(name: str, verb: str, database: str, task: str = "{}") -> None:
    peer = import_module(module_of(name))
    # The runners of pgqueuer and faststream take uvloop where it is installed, as it is with them.
    loop_factory = import_module("uvloop").new_event_loop if find_spec("uvloop") else None
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        if verb == "install":
            runner.run(peer.install(database))
        else:
            print(json.dumps(runner.run(_drain(peer, database, **json.loads(task)))))


async def _drain(
    peer: Any, database: str, messages: int, url: str | None, client: str, knobs: dict[str, int]
) -> dict[str, float]:
    async with AsyncExitStack() as stack:
        handle = await _handler(url, client, stack)
        drain = await stack.enter_async_context(peer.ready(database, messages, handle, **knobs))
        cpu, started = time.process_time(), time.monotonic()
        await drain()
        return {"seconds": time.monotonic() - started, "cpu_seconds": time.process_time() - cpu}


async def _handler(url: str | None, client: str, stack: AsyncExitStack) -> Handle:
    if url is None:
        return _nothing
    posting = import_module("benchmarks.peers.posting").posting
    handle: Handle = await stack.enter_async_context(posting(url, client))
    return handle


async def _nothing(content: str) -> None:
    return None


if __name__ == "__main__":
    main(*sys.argv[1:])
