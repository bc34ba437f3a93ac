"""``relay demo``: the first ten minutes."""

from __future__ import annotations

import click


@click.command()
@click.pass_context
def demo(ctx: click.Context) -> None:
    """Show everything at work, on a database and a platform of its own.

    Ends with a reconciliation, and with 0 only if it adds up.
    """
    from relay.demo import run_demo

    ctx.exit(0 if run_demo() else 1)
