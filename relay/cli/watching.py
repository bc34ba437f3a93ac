"""The same question again and again, for whoever sits before it: ``relay status --watch``.

A terminal is drawn anew, anything else gets a block a round. What fails later than the first time is told and asked
again: a server that restarts ends no watch. Ctrl-C does, and is no failure.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

import click

from relay.cli.printing import say, say_exactly
from relay.errors import RelayError

EVERY_SECONDS = 2.0
_HOME_AND_CLEAR = "\x1b[H\x1b[J"
T = TypeVar("T")

watch_option = click.option(
    "--watch",
    is_flag=False,
    flag_value=EVERY_SECONDS,
    type=click.FloatRange(0.1, 86_400),
    metavar="[SECONDS]",
    help=f"Ask again after this long, {EVERY_SECONDS:g} seconds unless told, until Ctrl-C.",
)


def watched(seconds: float, ask: Callable[[], T], draw: Callable[[T], object], *, headed: bool) -> None:
    """Returns when interrupted. ``headed``: a line with the time stands before each block.

    Raises what the first ``ask()`` raises, for then something else is wrong than the way to the server.
    """
    on_terminal = bool(sys.stdout) and sys.stdout.isatty()
    rounds = 0
    try:
        while True:
            try:
                found = ask()
            except RelayError as error:
                if not rounds:
                    raise
                say(f"{error}; asking again in {seconds:g} s", err=True)
            else:
                if on_terminal:
                    say_exactly(_HOME_AND_CLEAR)
                elif rounds and headed:
                    say()
                if headed:
                    say(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC, every {seconds:g} s")
                draw(found)
                rounds += 1
            time.sleep(seconds)
    except KeyboardInterrupt:
        return
