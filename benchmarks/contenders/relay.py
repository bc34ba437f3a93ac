"""The worker of this project as ``relay run --drain`` wires it, but for logs and the metrics port."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import psycopg
from sqlalchemy import Engine, create_engine, event

from benchmarks.contenders import APP_KEY, APP_SECRET, SESSION, Drain, Job, Tally
from benchmarks.ground import conninfo
from relay.events import Events, Observer
from relay.message import ACCEPTED, Answer, Answered, Batch
from relay.outcomes import Policy
from relay.producers import Producer, ProducerConfig
from relay.producers.tmc import TmcProducer
from relay.store import Store
from relay.tmc import Credential
from relay.wakeups import Notified, Polling, Wakeup
from relay.worker import Nobody, Options, Until, Worker


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


def producer_for(job: Job) -> Producer:
    if job.platform_url is None:
        return Null()
    credential = Credential(APP_KEY, APP_SECRET, SESSION)
    return TmcProducer(
        ProducerConfig(
            url=job.platform_url,
            sign_method="hmac-sha256",
            response_format="json",
            simplify=False,
            timeout_seconds=15.0,
            batch_size=50,
            credentials=lambda _account: credential,
        )
    )


def worker_for(
    job: Job, engine: Engine, producer: Producer, *, wakeup: bool = True, observers: Sequence[Observer] = ()
) -> Worker:
    waking: Wakeup = Notified(conninfo(job.database_url)) if wakeup else Polling()
    return Worker(
        Store(engine, worker="relay", lease_seconds=60),
        producer,
        name="relay",
        policy=Policy(),
        options=Options(concurrency=job.in_flight, batch_size=job.batch_size),
        observers=Events(observers),
        directory=Nobody(),
        wakeup=waking,
    )


def statements_of(engine: Engine) -> Callable[[], int]:
    """How many statements this engine has executed since, by SQLAlchemy or by the store; begin and commit are none."""
    executed = 0

    class Counting(psycopg.Cursor[Any]):
        def execute(self, *args: Any, **kwargs: Any) -> Any:
            nonlocal executed
            executed += 1
            return super().execute(*args, **kwargs)

    event.listen(engine, "checkout", lambda driver, *_: setattr(driver, "cursor_factory", Counting))
    return lambda: executed


def prepare(job: Job) -> Drain:
    engine = create_engine(job.database_url)
    executed = statements_of(engine)
    with engine.connect():
        pass  # the first connection is made before the start

    def drain() -> Tally:
        producer = producer_for(job)
        noting = Noting(producer) if job.noting else None
        asyncio.run(worker_for(job, engine, noting or producer).run(Until.DRAINED))
        return Tally(executed(), noting.accepted if noting else ())

    return drain
