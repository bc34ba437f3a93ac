"""The worker of this project wired as by ``relay run --drain``, but for logs and the metrics port."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakSet

import psycopg
from sqlalchemy import Engine, event

from benchmarks.contenders import APP_KEY, APP_SECRET, SESSION, Drain, Job, Tally
from benchmarks.ground import conninfo
from relay.assembly.database import plain_engine
from relay.assembly.producers import producer_for as producer_of
from relay.assembly.worker import options, policy, wired
from relay.credential import Credential
from relay.events import Observer
from relay.message import ACCEPTED, Answer, Answered, Batch
from relay.producers import Producer
from relay.settings import Settings, load
from relay.wakeups import Notified, Polling, Wakeup
from relay.worker import Until, Worker


class Null:
    """Accepts everything at once: what is left is the relay itself."""

    max_batch, max_bytes = 50, 512 * 1024

    async def open(self) -> None:
        return None

    async def close(self) -> None:
        return None

    async def produce(self, batch: Batch) -> Answer:
        return Answered((ACCEPTED,) * len(batch), "zzp0c5fj10y3", 200, 1)


class Noting:
    """A producer that remembers which messages were accepted, every time they were."""

    def __init__(self, producer: Producer) -> None:
        self._producer = producer
        self.max_batch, self.max_bytes = producer.max_batch, producer.max_bytes
        self.open, self.close = producer.open, producer.close
        self.accepted: list[int] = []

    async def produce(self, batch: Batch) -> Answer:
        answer = await self._producer.produce(batch)
        assert isinstance(answer, Answered)
        assert set(answer.results) == {ACCEPTED}
        self.accepted += [message.id for message in batch.messages]
        return answer


def settings_for(job: Job) -> Settings:
    """What would be set for ``relay run``; nothing comes from the environment of whoever measures."""
    given = {
        "database_url": job.database_url or None,  # who only asks the platform has none
        "concurrency": job.in_flight,
        "batch_size": job.batch_size,
        "tmc_url": job.platform_url,
        "tmc_app_key": APP_KEY,
        "tmc_app_secret": APP_SECRET,
        "tmc_session": SESSION,
    }
    return load(Settings.model_construct(), **given)


def producer_for(job: Job) -> Producer:
    if job.platform_url is None:
        return Null()
    settings = settings_for(job)
    given = settings.default_credential(needed=True)
    credential = Credential(*given) if given else None
    return producer_of(settings, lambda _account: credential, time.time)


def engine_for(job: Job) -> Engine:
    return plain_engine(settings_for(job))


def worker_for(
    job: Job, engine: Engine, producer: Producer, *, wakeup: bool = True, observers: Sequence[Observer] = ()
) -> Worker:
    settings = settings_for(job)
    waking: Wakeup = Notified(conninfo(job.database_url)) if wakeup else Polling()
    _, worker = wired(
        engine,
        producer,
        name="relay",
        policy=policy(settings),
        options=options(settings),
        observers=observers,
        wakeup=waking,
    )
    return worker


def statements_of(engine: Engine) -> Callable[[], int]:
    """How many statements this engine has executed since, by SQLAlchemy or by the store; begin and commit are none."""
    executed = 0
    connections: WeakSet[psycopg.Connection[Any]] = WeakSet()
    execute = psycopg.Cursor.execute  # which every kind of cursor inherits

    def counting(cursor: psycopg.Cursor[Any], *args: Any, **kwargs: Any) -> psycopg.Cursor[Any]:
        nonlocal executed
        executed += cursor.connection in connections
        return execute(cursor, *args, **kwargs)

    psycopg.Cursor.execute = counting  # type: ignore[assignment, method-assign]
    event.listen(engine, "checkout", lambda driver, *_: connections.add(driver))
    return lambda: executed


def prepare(job: Job) -> Drain:
    engine = engine_for(job)
    executed = statements_of(engine)
    producer = producer_for(job)
    noting = Noting(producer) if job.noting else None
    worker = worker_for(job, engine, noting or producer)
    with engine.connect():
        pass  # the first connection is made before the start

    gc.collect()  # as the command does before it runs
    gc.freeze()

    def drain() -> Tally:
        asyncio.run(worker.run(Until.DRAINED))
        return Tally(executed(), noting.accepted if noting else ())

    return drain
