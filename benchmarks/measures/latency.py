"""How long after its commit is a message accepted, when nothing else happens? With the wake-up, and by polling."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from functools import partial
from statistics import median, quantiles

import psycopg

from benchmarks.contenders import Job
from benchmarks.effort import Effort
from benchmarks.follower import following
from benchmarks.ground import TOPIC, Ground, conninfo
from benchmarks.platform import Platform, platform
from benchmarks.table import Cells, Table, in_turn

_LONGEST_GAP_SECONDS = 0.1  # longer than an awake relay stays awake, and no multiple of the poll interval
_PATIENCE_SECONDS = 10.0


def measure(ground: Ground, effort: Effort) -> Iterator[Table]:
    with platform(0) as there:
        runs = {
            "wake-up": partial(_latency, ground, there, effort.samples, wakeup=True),
            "polling, 100 ms": partial(_latency, ground, there, effort.samples, wakeup=False),
        }
        rows = in_turn(runs, effort.repeats)
    yield Table("idle latency, commit to accepted over HTTP", rows)


def _latency(ground: Ground, there: Platform, samples: int, *, wakeup: bool) -> Cells:
    with ground.fresh() as url:
        before = there.received().messages
        with following(Job(url, there.url), wakeup=wakeup) as relay:
            committed = _insert(url, samples)
            _until_accepted(there, before + samples)
            accepted = relay.stop()
    milliseconds = [(accepted[id_] - at) * 1000 for id_, at in committed.items()]
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
            time.sleep(random.uniform(0.02, _LONGEST_GAP_SECONDS))
    return committed


def _until_accepted(there: Platform, messages: int) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while there.received().messages < messages:
        assert time.monotonic() < deadline, "messages are missing"
        time.sleep(0.02)
