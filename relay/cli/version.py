"""``relay version``."""

from __future__ import annotations

import click

import relay
from relay.cli.printing import say


@click.command()
def version() -> None:
    """Show the version."""
    say(f"relay {relay.__version__}")
