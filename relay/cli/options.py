"""What several verbs take: durations, moments, ``--json``. As click types they are functions of the text given."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import datetime, timedelta

import click

LONGEST = timedelta(days=36_500)  # counted back from now or on, it stays within the years that datetime knows
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def duration(text: str) -> timedelta:
    """A whole number and a unit: 90s, 5m, 2h, 1d."""
    match = re.fullmatch(r"(\d{1,6})([smhd])", text)
    if match is None:
        raise click.BadParameter(f"{text!r} is no duration; write 90s, 5m, 2h or 1d.")
    length = timedelta(**{_UNITS[match[2]]: int(match[1])})
    if length > LONGEST:
        raise click.BadParameter(f"{text!r} is more than a hundred years; write at most {LONGEST.days}d.")
    return length


def time(text: str) -> datetime:
    """A time with its offset, as RFC 3339 writes it."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise click.BadParameter(f"{text!r} is no time with an offset; write 2026-11-11T00:00:00+08:00.")
    return moment


def rate(text: str) -> float:
    """A number a second. ``click.FloatRange`` lets NaN through, which is neither below nor above anything."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0.001 <= number <= 1_000_000:
        raise click.BadParameter(f"{text!r} is no rate; write a number from 0.001 to 1000000.")
    return number


_FLAGS = (
    click.option("--concurrency", type=int, help="Calls in flight in this process."),
    click.option("--batch-size", type=int, help="Messages in a call, at most 50."),
    click.option("--producer", help="One of the relay's, or the name of an entry point."),
)


def worker_flags(command: Callable[..., None]) -> Callable[..., None]:
    """The options of the settings that are flags, too."""
    for option in reversed(_FLAGS):
        command = option(command)
    return command


json_option = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")


def verb_in_use() -> str:
    """What did nothing, for the sentence that says so: relay status."""
    context = click.get_current_context(silent=True)
    return f"relay {context.info_name}" if context else "relay"
