"""``relay run``: wires the worker together, listens to signals, and says how it ended."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import os
import secrets
import signal
import socket
import time
from collections.abc import AsyncIterator
from datetime import timedelta

import click
from sqlalchemy.exc import DBAPIError

from relay import background
from relay.accounts import Accounts
from relay.addresses import conninfo, normalized_url
from relay.assembly.accounts import exposed, open_accounts
from relay.assembly.database import explained, plain_engine, reading, warn_of_encoding
from relay.assembly.producers import producer_config
from relay.assembly.start import record_start
from relay.cli.printing import say, shown
from relay.errors import ConfigurationError, RelayError
from relay.events import Events
from relay.observers.logs import LogLines, silence_libraries
from relay.observers.metrics import Metrics
from relay.observers.probes import probes, serving
from relay.outcomes import NO_CREDENTIAL, Policy, lacks_permission
from relay.producers import load
from relay.revisions import require_head
from relay.settings import Settings, no_color, service_links
from relay.settings import load as load_settings
from relay.showing import masked
from relay.store import Pause, Store
from relay.wakeups import Notified, Polling, Wakeup
from relay.worker import Clock, Options, Report, Until, Worker

_NAMED_PAUSES = 3
_STALE_LEASES = 3  # the cycle has not gone round for so many leases: it hangs


@click.command()
@click.option("--drain", is_flag=True, help="End when nothing is pending or in flight.")
@click.option("--once", is_flag=True, help="End after one batch.")
@click.option("--concurrency", type=int, help="Calls in flight in this process.")
@click.option("--batch-size", type=int, help="Messages in a call, at most 50.")
@click.option("--producer", help="tmc, stdout, or the name of an entry point.")
def run(drain: bool, once: bool, concurrency: int | None, batch_size: int | None, producer: str | None) -> None:
    """Produce pending messages until stopped.

    The first SIGTERM or SIGINT stops claiming and lets calls in flight end; the second one cuts them off.
    """
    if drain and once:
        raise click.UsageError("--drain and --once exclude each other")
    settings = load_settings(concurrency=concurrency, batch_size=batch_size, producer=producer)
    until = Until.DRAINED if drain else Until.ONE_BATCH if once else Until.STOPPED
    for name in service_links():
        say(
            f"warning: {name} comes from a Kubernetes service of that name and is ignored; set enableServiceLinks: "
            "false for the pod, or give the service another name",
            err=True,
        )
    for problem in exposed(settings):
        say(f"warning: {problem}", err=True)
    silence_libraries()
    with open_accounts(settings) as accounts:
        report = background.run(_run(settings, until, accounts))
    if until is Until.DRAINED and report.left:
        raise _left(report)


async def _run(settings: Settings, until: Until, accounts: Accounts) -> Report:
    with reading(settings) as connection:  # the database answers, and its tables are those this version knows
        require_head(connection, settings.schema_name)  # whoever may not know that is no worker
        warn_of_encoding(connection)
        engine = plain_engine(settings)
    name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(2)}"
    metrics, clock = Metrics(), Clock()
    log = LogLines(worker=name, level=settings.log_level, style=settings.log_format, colors=not no_color())
    store = Store(engine, worker=name, lease_seconds=settings.lease_seconds, schema=settings.schema_name)
    record_start(store, settings)
    worker = Worker(
        store,
        load(settings.producer)(producer_config(settings, accounts, clock.now)),
        name=name,
        policy=_policy(settings),
        options=_options(settings),
        observers=Events([log, metrics]),
        directory=accounts,
        clock=clock,
        wakeup=await _wakeup(settings),
    )
    _stop_on_signals(worker)
    # What is here by now stays: if each collection looked at it again, the loop would stand still for 60 ms.
    gc.collect()
    gc.freeze()
    try:
        async with _probing(settings, worker, metrics):
            return await worker.run(until)
    except DBAPIError as error:
        raise explained(error.orig or error, engine.url) from error
    finally:
        engine.dispose()


async def _wakeup(settings: Settings) -> Wakeup:
    if settings.wakeup == "poll":
        return Polling()
    asked_for = settings.wakeup == "notify"
    wakeup = Notified(
        conninfo(normalized_url(settings.database_url)), schema=settings.schema_name, despite_prepared=asked_for
    )
    if asked_for:
        await wakeup.open()
        if wakeup.trouble is not None:
            raise ConfigurationError(
                f"Inserts cannot wake this worker: {wakeup.trouble}.",
                "Name the server itself in RELAY_DATABASE_URL, not a pooler, or set RELAY_WAKEUP=auto.",
            )
    return wakeup


def _policy(settings: Settings) -> Policy:
    return Policy(
        max_attempts=settings.max_attempts,
        retry_base_seconds=settings.retry_base_seconds,
        retry_max_seconds=settings.retry_max_seconds,
        outage_seconds=settings.outage_hours * 3600,
        hold_unknown=settings.on_unknown == "hold",
    )


def _options(settings: Settings) -> Options:
    return Options(
        concurrency=settings.concurrency,
        batch_size=settings.batch_size,
        poll_interval_seconds=settings.poll_interval_ms / 1000,
        lease_seconds=settings.lease_seconds,
        grace_seconds=settings.shutdown_grace_seconds,
        linger_seconds=settings.linger_ms / 1000,
        calls_per_second=settings.rate_limit,
        failed_holds=settings.on_failed_head == "hold",
        archive_after=timedelta(days=settings.archive_after_days) if settings.archive_after_days else None,
    )


def _stop_on_signals(worker: Worker) -> None:
    """Two signals stop in two stages; a third one ends the process as if nobody listened.

    A terminal that goes away asks to stop too, unless whoever started us (nohup) has taken care of that.
    """
    numbers = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    loop = asyncio.get_running_loop()
    received = 0

    def stop() -> None:
        nonlocal received
        received += 1
        worker.stop()
        if received == 2:
            for number in numbers:
                loop.remove_signal_handler(number)

    for number in numbers:
        loop.add_signal_handler(number, stop)


@contextlib.asynccontextmanager
async def _probing(settings: Settings, worker: Worker, metrics: Metrics) -> AsyncIterator[None]:
    """Metrics and probes beside the worker. A port that is taken costs the probes, not the messages."""
    if not settings.metrics_port:
        yield
        return

    async def alive() -> str:
        idle = time.monotonic() - worker.heartbeat_monotonic
        return "" if idle < _STALE_LEASES * settings.lease_seconds else f"the cycle stands still for {idle:.0f} s"

    app = probes(metrics.registry, alive=alive, ready=worker.readiness.trouble)
    async with contextlib.AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(serving(app, host=settings.metrics_host, port=settings.metrics_port))
        except OSError as error:
            say(f"warning: {_unserved(settings, error)}", err=True)
        yield


def _unserved(settings: Settings, error: OSError) -> str:
    port, host = settings.metrics_port, settings.metrics_host
    if error.errno == errno.EADDRINUSE:
        reason, way_out = f"port {port} is taken", "set RELAY_METRICS_PORT to another one, or to 0"
    else:
        reason, way_out = f"cannot listen on {host} port {port} ({error.strerror})", "correct RELAY_METRICS_HOST"
    return f"{reason}, so this worker has no metrics and no probes; {way_out}"


def _left(report: Report) -> RelayError:
    """Why a drain ended although messages are pending."""
    count = f"{report.left} message{'s are' if report.left > 1 else ' is'} left"
    endless = [pause for pause in report.pauses if pause.seconds_left is None]
    if not endless:
        return RelayError(f"{count}, held for a person to decide.", "See: relay list --status pending")
    reasons = "; ".join(map(_told, endless[:_NAMED_PAUSES]))
    if (more := len(endless) - _NAMED_PAUSES) > 0:
        reasons += f"; {more} more pause{'s' if more > 1 else ''}"
    if refused := [pause for pause in endless if pause.credential is not None]:
        return ConfigurationError(f"{count}. {reasons}.", _way_out(refused))
    return RelayError(f"{count}. {reasons}.", "See: relay status")


def _way_out(refused: list[Pause]) -> str:
    """A right that is granted leaves the credential as it was, so nothing but a person ends that pause."""
    hints = []
    wrong = [pause for pause in refused if not lacks_permission(pause.error_code)]
    if wrong and all(pause.credential == NO_CREDENTIAL for pause in wrong):
        hints.append("Configure the credentials of these accounts: that ends the pause by itself.")
    elif wrong:
        hints.append("Correct the app key, secret or session of these accounts: that ends the pause by itself.")
    if len(wrong) < len(refused):
        hints.append("Grant the permission at the platform, then: relay resume --app KEY --reason ...")
    return " ".join(hints)


def _told(pause: Pause) -> str:
    code = f" ({pause.error_code})" if pause.error_code else ""  # a person gives no code
    return shown(f"{_ended(pause.scope)} is paused: {masked(pause.reason)}{code}")


def _ended(scope: str) -> str:
    """An app key is shown by its end only."""
    kind, _, name = scope.partition(":")
    return f"{kind} …{name[-4:]}" if kind == "app" else scope
