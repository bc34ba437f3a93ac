"""``relay version``."""

from __future__ import annotations

import click

import relay


@click.command()
def version() -> None:
    """Show the version."""
    click.echo(f"relay {relay.__version__}")
