"""How long after its commit is a message accepted, when nothing else happens? With the wake-up, and by polling.

Beside it what the platform and the client take by themselves: a bare POST of one message by the same producer, in a
process that does nothing else, at the same pace. What is over that is the relay's and the database's.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator
from functools import partial
from multiprocessing.connection import Connection
from statistics import median, quantiles

import psycopg

from benchmarks.contenders import Job
from benchmarks.contenders.relay import producer_for
from benchmarks.effort import Effort
from benchmarks.follower import following
from benchmarks.ground import TOPIC, Ground, conninfo
from benchmarks.platform import Platform, platform
from benchmarks.starting import starting
from benchmarks.table import Cells, Row, Table, in_turn
from relay.message import Answered, Batch, Message

_GAP_SECONDS = (0.02, 0.08)  # longer than an awake relay stays awake, and no multiple of the poll interval
_STARTING = 5  # samples that are not counted: connections and plans are made
_PATIENCE_SECONDS = 10.0
_BARE_POST = "the platform's own: a bare POST"


def measure(ground: Ground, effort: Effort) -> Iterator[Table]:
    with platform(0) as there:
        runs = {
            "wake-up": partial(_latency, ground, there, effort.samples, wakeup=True),
            "polling, 100 ms": partial(_latency, ground, there, effort.samples, wakeup=False),
            _BARE_POST: partial(_bare_post, there, effort.samples),
        }
        rows = in_turn(runs, effort.repeats)
    yield Table("idle latency, commit to accepted over HTTP", _over(rows, rows[-1]))


def _over(rows: list[Row], own: Row) -> list[Row]:
    """With what each median is over that of the bare POST of the same turn."""

    def over(cells: Cells, post: Cells) -> Cells:
        return {**cells, "p50 over the platform's own": cells["p50 ms"] - post["p50 ms"]}

    return [Row(row.label, [over(*both) for both in zip(row.runs, own.runs, strict=True)]) for row in rows]


def _latency(ground: Ground, there: Platform, samples: int, *, wakeup: bool) -> Cells:
    with ground.fresh() as url:
        before = there.received().messages
        with following(Job(url, there.url), wakeup=wakeup) as relay:
            committed = _insert(url, _STARTING + samples)
            _until_accepted(there, before + _STARTING + samples)
            accepted = relay.stop()
    return _cells([(accepted[id_] - at) * 1000 for id_, at in committed.items()])


def _cells(milliseconds: list[float]) -> Cells:
    milliseconds = milliseconds[_STARTING:]
    return {"p50 ms": median(milliseconds), "p99 ms": quantiles(milliseconds, n=100, method="inclusive")[98]}


def _insert(url: str, samples: int) -> dict[int, float]:
    """Message id -> when its commit had come back."""
    committed = {}
    with psycopg.connect(conninfo(url), autocommit=True) as connection:
        for _ in range(samples):
            row = connection.execute(
                "insert into relay.outbox (topic, content) values (%s, '{}') returning id", (TOPIC,)
            ).fetchone()
            assert row is not None
            committed[row[0]] = time.monotonic()
            time.sleep(random.uniform(*_GAP_SECONDS))
    return committed


def _until_accepted(there: Platform, messages: int) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while there.received().messages < messages:
        assert time.monotonic() < deadline, "messages are missing"
        time.sleep(0.02)


def _bare_post(there: Platform, samples: int) -> Cells:
    context = starting()
    ours, theirs = context.Pipe()
    process = context.Process(target=_post, args=(Job("", there.url), samples, theirs), daemon=True)
    process.start()
    theirs.close()  # so that the pipe ends if the process does
    try:
        return _cells(ours.recv())
    finally:
        process.terminate()
        process.join()


def _post(job: Job, samples: int, parent: Connection) -> None:
    parent.send(asyncio.run(_posted(job, samples)))


async def _posted(job: Job, samples: int) -> list[float]:
    """Milliseconds from asking the producer to its answer."""
    producer, milliseconds = producer_for(job), []
    await producer.open()
    for number in range(_STARTING + samples):
        await asyncio.sleep(random.uniform(*_GAP_SECONDS))
        asked = time.monotonic()
        answer = await producer.produce(Batch(number, "default", (Message(number, TOPIC, "{}"),)))
        milliseconds.append((time.monotonic() - asked) * 1000)
        assert isinstance(answer, Answered)
    await producer.close()
    return milliseconds
