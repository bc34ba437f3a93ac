"""A relay that runs beside what is measured, in a process of its own, and remembers when each message was accepted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection

from benchmarks.contenders import Job
from benchmarks.contenders.relay import engine_for, producer_for, worker_for
from benchmarks.starting import starting
from relay.events import Event, WorkerStarted
from relay.message import Answer, Batch
from relay.producers import Producer


class Timed:
    """A producer that notes when the platform had answered, on the monotonic clock of the machine."""

    def __init__(self, producer: Producer) -> None:
        self._producer = producer
        self.max_batch, self.max_bytes = producer.max_batch, producer.max_bytes
        self.open, self.close = producer.open, producer.close
        self.accepted: dict[int, float] = {}

    async def produce(self, batch: Batch) -> Answer:
        answer = await self._producer.produce(batch)
        at = time.monotonic()
        self.accepted |= {message.id: at for message in batch.messages}
        return answer


@dataclass(frozen=True, slots=True)
class Follower:
    pipe: Connection

    def stop(self) -> dict[int, float]:
        """Message id -> when it was accepted."""
        self.pipe.send("stop")
        accepted: dict[int, float] = self.pipe.recv()
        return accepted


@contextmanager
def following(job: Job, *, wakeup: bool = True) -> Iterator[Follower]:
    """Works when the block is entered; ended with it."""
    context = starting()
    ours, theirs = context.Pipe()
    process = context.Process(target=_follow, args=(job, wakeup, theirs), daemon=True)
    process.start()
    try:
        ours.recv()
        yield Follower(ours)
    finally:
        process.terminate()
        process.join()


def _follow(job: Job, wakeup: bool, parent: Connection) -> None:
    parent.send(asyncio.run(_until_told(job, wakeup, parent)))


async def _until_told(job: Job, wakeup: bool, parent: Connection) -> dict[int, float]:
    engine = engine_for(job)
    timed = Timed(producer_for(job))

    def started(event: Event) -> None:
        if isinstance(event, WorkerStarted):
            parent.send("started")

    worker = worker_for(job, engine, timed, wakeup=wakeup, observers=[started])
    asyncio.get_running_loop().add_reader(parent.fileno(), worker.stop)
    await worker.run()
    parent.recv()
    return timed.accepted
