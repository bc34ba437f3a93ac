"""Probes come at any time and in any number: each is answered, and the database is asked one question at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from relay.store import Store
from relay.worker.readiness import Readiness
from relay.worker.threads import Threads


class Answers(Store):
    def __init__(self) -> None:
        pass

    def writable(self) -> bool:
        return True


class Loop(Threads):
    """Without threads: a question is answered in the next turn of the loop, as fast as can be."""

    def __init__(self) -> None:
        self.asked = self.at_once = 0

    async def run(self, work: Callable[[], Any]) -> Any:
        self.asked += 1
        self.at_once += 1
        assert self.at_once == 1
        await asyncio.sleep(0)
        self.at_once -= 1
        return work()


async def test_concurrent_probes_are_all_answered() -> None:
    """A probe that comes between an answer and those who wait for it puts a new question; they have theirs."""
    threads = Loop()
    readiness = Readiness(Answers(), threads, asyncio.Event())

    async def probe(turns_later: int) -> str:
        for _ in range(turns_later):
            await asyncio.sleep(0)
        return await readiness.trouble()

    assert set(await asyncio.gather(*(probe(number % 12) for number in range(1000)))) == {""}
    assert 1 < threads.asked < 20
