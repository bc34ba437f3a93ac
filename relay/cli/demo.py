"""``relay demo``: the first ten minutes."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option("--folder", type=click.Path(file_okay=False, path_type=Path), default=".relay-demo", show_default=True)
@click.option("--psql", is_flag=True, help="Open psql on what the last demo left.")
def demo(folder: Path, psql: bool) -> None:
    """Show everything at work, on a database and a platform of its own.

    Ends with a reconciliation, and with 0 only if it adds up. Needs nothing but what pip has installed.
    """
    from relay.demo import run_demo

    run_demo(folder, psql=psql)
