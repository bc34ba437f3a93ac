"""``relay run``: a worker until somebody stops it, on signals, and how it ended."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import Callable

import click

from relay import background
from relay.assembly.worker import OpenWorker, assembled
from relay.cli.printing import say, shown
from relay.errors import ConfigurationError, RelayError
from relay.events import Observer
from relay.observers.logs import LogLines, silence_libraries
from relay.outcomes import NO_CREDENTIAL
from relay.settings import Settings, no_color
from relay.settings import load as load_settings
from relay.showing import masked
from relay.store import Pause
from relay.worker import Report, Until

_NAMED_PAUSES = 3


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
    silence_libraries()
    report = background.run(_run(settings, until))
    if until is Until.DRAINED and report.left:
        raise _left(report, settings.producer)


async def _run(settings: Settings, until: Until) -> Report:
    async with assembled(settings, observer=_log(settings), warn=_warn, show_causes=True) as worker:
        _stop_on_signals(worker)
        # What is here by now stays: if each collection looked at it again, the loop would stand still for 60 ms.
        gc.collect()
        gc.freeze()
        return await worker.run(until)


def _log(settings: Settings) -> Callable[[str], Observer]:
    level, style = settings.log_level, settings.log_format
    return lambda name: LogLines(worker=name, level=level, style=style, colors=not no_color())


def _warn(sentence: str) -> None:
    say(f"warning: {sentence}", err=True)


def _stop_on_signals(worker: OpenWorker) -> None:
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


def _left(report: Report, producer: str) -> RelayError:
    """Why a drain ended although messages are pending."""
    count = f"{report.left} message{'s are' if report.left > 1 else ' is'} left"
    endless = [pause for pause in report.pauses if pause.seconds_left is None]
    if not endless:
        return RelayError(f"{count}, held for a person to decide.", "See: relay list --status pending")
    reasons = "; ".join(map(_told, endless[:_NAMED_PAUSES]))
    if (more := len(endless) - _NAMED_PAUSES) > 0:
        reasons += f"; {more} more pause{'s' if more > 1 else ''}"
    if refused := [pause for pause in endless if pause.fingerprint is not None]:
        return ConfigurationError(f"{count}. {reasons}.", _way_out(refused, producer))
    return RelayError(f"{count}. {reasons}.", "See: relay status")


def _way_out(refused: list[Pause], producer: str) -> str:
    """A right that is granted leaves the credential as it was, so nothing but a person ends that pause."""
    from relay.assembly.producers import explainer
    from relay.explanations import lacks_permission

    hints, explainers = [], [found] if (found := explainer(producer)) else []
    wrong = [pause for pause in refused if not lacks_permission(pause.error_code, *explainers)]
    if wrong and all(pause.fingerprint == NO_CREDENTIAL for pause in wrong):
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
