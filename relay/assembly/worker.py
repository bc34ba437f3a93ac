"""A worker with everything wired, from the settings: engines, store, accounts, producer, wake-up, observers, probes.

Whatever blocks while it is opened (PostgreSQL, files with secrets, a query for credentials) does so in a thread, so
that the application around it goes on. What is opened is closed with the block, whether the worker ran or not.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from relay.accounts import Accounts
from relay.addresses import conninfo, normalized_url
from relay.assembly.accounts import exposed, open_accounts
from relay.assembly.database import plain_engine
from relay.assembly.introduction import introduced
from relay.assembly.probes import probed_by
from relay.assembly.producers import call_messages, producer_for
from relay.assembly.start import record_start
from relay.background import in_thread
from relay.checks.server import encoding_trouble
from relay.database import Database, explained, server_encoding
from relay.errors import ConfigurationError, RelayError
from relay.events import Events, Observer, WorkerStarted
from relay.observers.metrics import Metrics
from relay.observers.traces import call_spans
from relay.outcomes import Policy
from relay.producers import Producer
from relay.revisions import require_head
from relay.settings import Settings, service_links
from relay.store import Store
from relay.store.claim.floors import Floors
from relay.store.preparing import keep_plans
from relay.wakeups import Notified, Polling, Wakeup
from relay.worker import Clock, Directory, Gauging, Nobody, Options, Report, Routing, Spans, Until, Worker

Warn = Callable[[str], object]


@contextmanager
def own_engine(settings: Settings) -> Iterator[Engine]:
    """For one worker: its connections are closed with it."""
    engine = plain_engine(settings)
    try:
        yield engine
    finally:
        engine.dispose()


@dataclass(frozen=True, slots=True)
class Means:
    """What a worker is opened with, as far as a program may have something else in the place of what settings name."""

    accounts: Callable[[Settings, Callable[[], float]], AbstractContextManager[Accounts]] = open_accounts
    engine: Callable[[Settings], AbstractContextManager[Engine]] = own_engine
    record: Callable[[Store, Settings, Warn], object] = record_start  # tells the ledger of the start


class OpenWorker:
    """A worker whose parts are open: ``run`` once, ``stop`` at any time. What leaves it are errors of ``relay.errors``.

    ``show_causes``: whether an error brings along what PostgreSQL said, which may quote a row.
    """

    def __init__(self, worker: Worker, engine: Engine, *, show_causes: bool) -> None:
        self._worker = worker
        self._engine = engine
        self._show_causes = show_causes
        self._begun = False

    async def run(self, until: Until = Until.STOPPED) -> Report:
        """Work until stopped, or until ``until`` holds; raises what only a person can mend, once all is settled."""
        if self._begun:
            raise RelayError("This worker has run already.", "Open another one: relay.open_worker().")
        self._begun = True
        try:
            return await self._worker.run(until)
        except (DBAPIError, RelayError) as error:
            meant = error if isinstance(error, RelayError) else explained(error.orig or error, self._engine.url)
            if not self._show_causes:
                raise meant from None
            if meant is error:
                raise
            raise meant from error

    def stop(self) -> None:
        """Claim nothing more and let calls in flight land; called again, cut them off. On the event loop's thread."""
        self._worker.stop()

    async def trouble(self) -> str:
        """Why nothing is sent at the moment, in a sentence for a probe; empty while all is well. Within two seconds."""
        return await self._worker.readiness.trouble()


@dataclass(frozen=True, slots=True)
class _Parts:
    worker: Worker
    engine: Engine
    producer: Producer
    wakeup: Wakeup
    metrics: Metrics
    gauging: Gauging
    opened: ExitStack


@asynccontextmanager
async def assembled(
    settings: Settings,
    *,
    observer: Callable[[str], Observer],
    warn: Warn,
    show_causes: bool = False,
    means: Means | None = None,
) -> AsyncIterator[OpenWorker]:
    """A worker of these settings, not running yet. ``observer`` makes who is told its events, from its name.

    ``warn`` hears what keeps nobody from sending messages; it is also called in another thread.
    """
    name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(2)}"
    events = observer(name)
    opening = partial(_opened, settings, name, events, warn, means or Means())
    parts = await in_thread(opening, lambda unwanted: unwanted.opened.close())
    with parts.opened:
        try:
            await parts.producer.open()  # what is wrong with its settings is told before anything runs
            if settings.wakeup == "notify":
                await _require_wakeup(parts.wakeup)
            async with probed_by(settings, parts.worker, parts.metrics, parts.gauging.look, warn):
                yield OpenWorker(parts.worker, parts.engine, show_causes=show_causes)
        finally:  # twice, if it ran
            await parts.wakeup.close()
            await parts.producer.close()


def _opened(settings: Settings, name: str, observer: Observer, warn: Warn, means: Means) -> _Parts:
    for link in service_links():
        warn(
            f"{link} comes from a Kubernetes service of that name and is ignored; set enableServiceLinks: "
            "false for the pod, or give the service another name"
        )
    for problem in exposed(settings):
        warn(problem)
    with ExitStack() as stack:
        clock, wakeup = Clock(), _wakeup(settings)
        metrics = _metrics(settings, wakeup)
        accounts = stack.enter_context(means.accounts(settings, clock.now))
        engine = stack.enter_context(means.engine(settings))
        keep_plans(engine)  # from its first connection on, which the store goes on with
        database = Database(engine, settings.schema_name)
        with database.acting() as acting, acting.connect() as connection:  # it answers, and its tables are ours
            require_head(connection, settings.schema_name)  # a login that may not read it is no worker's
            if trouble := encoding_trouble(server_encoding(connection)):
                warn(trouble)
            started = introduced(settings, name, connection)
        producer = producer_for(settings, accounts.credential, clock.now)
        store, worker = wired(
            engine,
            producer,
            name=name,
            policy=policy(settings),
            options=options(settings),
            observers=[observer, metrics],
            directory=accounts,
            routing=accounts,
            clock=clock,
            wakeup=wakeup,
            started=started,
            spans=call_spans(name),
        )
        stack.callback(store.close)
        means.record(store, settings, warn)
        gauging = Gauging(store, options(settings))
        stack.callback(gauging.close)
        metrics.show_fleet(gauging.shown, accounts=settings.metrics_accounts)
        return _Parts(worker, engine, producer, wakeup, metrics, gauging, stack.pop_all())


def wired(
    engine: Engine,
    producer: Producer,
    *,
    name: str,
    policy: Policy,
    options: Options,
    observers: Sequence[Observer] = (),
    directory: Directory | None = None,
    routing: Routing | None = None,
    clock: Clock | None = None,
    wakeup: Wakeup | None = None,
    spans: Spans | None = None,
    floors: Floors | None = None,
    started: WorkerStarted | None = None,
) -> tuple[Store, Worker]:
    """A worker and its store, from parts that are there: also for a program that measures or tries one.

    The engine, which knows the schema, becomes the store's own. Without a directory no account needs credentials,
    without a routing all go one way, without a wake-up it polls. ``started`` is how it introduces itself.
    """
    store = Store(engine, worker=name, lease_seconds=options.lease_seconds, floors=floors)
    worker = Worker(
        store,
        producer,
        name=name,
        policy=policy,
        options=options,
        events=Events(observers),
        directory=directory or Nobody(),
        routing=routing,
        clock=clock,
        wakeup=wakeup,
        started=started,
        spans=spans,
    )
    return store, worker


def policy(settings: Settings) -> Policy:
    """What the settings say about outcomes."""
    return Policy(
        max_attempts=settings.max_attempts,
        retry_base_seconds=settings.retry_base_seconds,
        retry_max_seconds=settings.retry_max_seconds,
        outage_seconds=settings.outage_hours * 3600,
        hold_unknown=settings.on_unknown == "hold",
    )


def options(settings: Settings) -> Options:
    """What the settings say about the cycle."""
    return Options(
        concurrency=settings.concurrency,
        batch_size=call_messages(settings),
        poll_interval_seconds=settings.poll_interval_ms / 1000,
        lease_seconds=settings.lease_seconds,
        grace_seconds=settings.shutdown_grace_seconds,
        linger_seconds=settings.linger_ms / 1000,
        calls_per_second=settings.rate_limit,
        failed_holds=settings.on_failed_head == "hold",
        producer=settings.producer,
        archive_after=timedelta(days=settings.archive_after_days) if settings.archive_after_days else None,
    )


def _metrics(settings: Settings, wakeup: Wakeup) -> Metrics:
    listening = (lambda: wakeup.listening) if isinstance(wakeup, Notified) else None
    return Metrics(producers=[settings.producer], archiving=bool(settings.archive_after_days), listening=listening)


def _wakeup(settings: Settings) -> Wakeup:
    if settings.wakeup == "poll":
        return Polling()
    return Notified(
        conninfo(normalized_url(settings.database_url)),
        schema=settings.schema_name,
        despite_prepared=settings.wakeup == "notify",
    )


async def _require_wakeup(wakeup: Wakeup) -> None:
    await wakeup.open()
    if wakeup.trouble is not None:
        raise ConfigurationError(
            f"Inserts cannot wake this worker: {wakeup.trouble}.",
            "Name the server itself in RELAY_DATABASE_URL, not a pooler, or set RELAY_WAKEUP=auto.",
        )
