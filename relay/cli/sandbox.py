"""``relay sandbox``: the platform on this machine, until SIGINT or SIGTERM."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from relay.cli.printing import say

if TYPE_CHECKING:
    from relay.settings import Settings


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(0, 65535), default=8585, show_default=True, help="0 takes any free one.")
@click.option("--fault", "faults", multiple=True, metavar="FAULT", help="NAME[=ARG][@WHEN]; may be repeated.")
def sandbox(host: str, port: int, faults: tuple[str, ...]) -> None:
    """Play the platform on this machine, with faults on demand.

    It accepts the credentials of the settings, where there are any, and known ones otherwise, also where the file of
    a secret is not there. What it accepted is at /messages, everything stays in memory.

    \b
    relay sandbox --fault refuse=broken       refuses each message whose content has "broken"
    relay sandbox --fault cut-after@3%        accepts three calls in a hundred without an answer
    relay sandbox --fault throttle=5@#2       bans the app for five seconds at the second call
    """
    from relay.sandbox.app import create_app
    from relay.sandbox.credentials import platform_for
    from relay.sandbox.server import serve
    from relay.settings import FOR_SANDBOX, load_for, not_there

    missing = not_there(FOR_SANDBOX)
    settings = load_for([name for name in FOR_SANDBOX if name not in missing])
    serve(create_app(platform_for(settings, faults)), host, port, lambda url: _announce(url, settings))


def _announce(url: str, settings: Settings) -> None:
    """The lines for the shell of the relay, at once."""
    from relay.sandbox.credentials import exports

    for line in exports(f"{url}/router/rest", settings):
        say(line)
    say(f"\nWhat arrives is shown at {url}/ and listed at {url}/messages. Ctrl-C ends it.", err=True)
