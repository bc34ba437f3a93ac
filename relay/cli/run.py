"""``relay run``: a worker until somebody stops it, on signals."""

from __future__ import annotations

import asyncio
import gc
import signal
import warnings
from collections import deque
from contextlib import suppress
from pathlib import Path

import click

from relay import background
from relay.assembly.worker import OpenWorker, assembled
from relay.cli.options import worker_flags
from relay.events import Event, Observer, Warned, WorkerStarted
from relay.observers.logs import LogLines, silence_libraries
from relay.settings import Settings, no_color
from relay.settings import load as load_settings
from relay.worker import Report, Until


@click.command()
@click.option("--drain", is_flag=True, help="End when nothing is pending or in flight.")
@click.option("--once", is_flag=True, help="End after one batch.")
@worker_flags
def run(drain: bool, once: bool, concurrency: int | None, batch_size: int | None, producer: str | None) -> None:
    """Produce pending messages until stopped.

    The first SIGTERM or SIGINT stops claiming and lets calls in flight end; the second one cuts them off.
    """
    if drain and once:
        raise click.UsageError("--drain and --once exclude each other")
    settings = load_settings(concurrency=concurrency, batch_size=batch_size, producer=producer)
    until = Until.DRAINED if drain else Until.ONE_BATCH if once else Until.STOPPED
    silence_libraries()
    before = warnings.showwarning
    try:
        report = background.run(_run(settings, until))
    finally:
        warnings.showwarning = before
    if until is Until.DRAINED and report.left:
        from relay.assembly.remainder import why_left

        raise why_left(report, settings.producer)


async def _run(settings: Settings, until: Until) -> Report:
    log = _Log(settings)
    warnings.showwarning = log.of_python
    try:
        async with assembled(settings, observer=log.of_worker, warn=log.warn, show_causes=True) as worker:
            _stop_on_signals(worker)
            # What is here by now stays: if each collection looked at it again, the loop would stand still for 60 ms.
            gc.collect()
            gc.freeze()
            return await worker.run(until)
    finally:
        log.tell_warnings()


class _Log:
    """Of this process and its one worker. What Python and its libraries warn of goes the same way.

    The first line is that of the start: what is warned of while the worker is opened comes below it. Without a start it
    comes before the error. ``warn`` may be called in any thread.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._early: deque[str] = deque()
        self._introduced = False
        self.of_worker("")

    def of_worker(self, name: str) -> Observer:
        level, style = self._settings.log_level, self._settings.log_format
        self._lines = LogLines(worker=name, level=level, style=style, colors=not no_color())
        return self._hear

    def warn(self, sentence: str) -> None:
        self._early.append(sentence)
        if self._introduced:
            self.tell_warnings()

    def tell_warnings(self) -> None:
        self._introduced = True  # first, so that no thread leaves behind what nobody tells
        while self._early:
            with suppress(IndexError):  # another thread was quicker
                self._lines(Warned(self._early.popleft()))

    def _hear(self, event: Event) -> None:
        self._lines(event)
        if isinstance(event, WorkerStarted):
            self.tell_warnings()

    def of_python(
        self, message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: object, **__: object
    ) -> None:
        """In the place of ``warnings.showwarning``, which writes lines of its own."""
        self.warn(f"{category.__name__}: {message} ({Path(filename).name}, line {lineno})")


def _stop_on_signals(worker: OpenWorker) -> None:
    """Two signals stop in two stages; a third one ends the process as if nobody listened.

    A terminal that goes away asks to stop too, unless the parent (nohup) has taken care of that.
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
