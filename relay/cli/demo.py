"""``relay demo``: the first ten minutes."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option("--folder", type=click.Path(file_okay=False, path_type=Path), default=".relay-demo", show_default=True)
@click.option("--psql", is_flag=True, help="Open psql on what the last demo left.")
@click.option("--dashboard", is_flag=True, help="Afterwards show it in pages, until Ctrl-C.")
def demo(folder: Path, psql: bool, dashboard: bool) -> None:
    """Show everything at work, on a database and a platform of its own.

    Ends with a reconciliation, and with 0 only if it adds up. Needs nothing but what pip has installed.
    """
    from relay.demo import run_demo

    if psql and dashboard:
        raise click.UsageError("--psql looks at the last demo, and --dashboard runs a new one: give one of them.")
    run_demo(folder, psql=psql, dashboard=dashboard)
