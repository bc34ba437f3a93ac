"""``relay migrate``: the tables as this version needs them."""

from __future__ import annotations

import click


@click.command()
@click.option("--sql", is_flag=True, help="Print the DDL for an empty database; nothing is connected to.")
@click.option("--to", default="head", show_default=True, metavar="REVISION", help="Where to stop.")
def migrate(sql: bool, to: str) -> None:
    """Bring the tables up to date, or print the DDL.

    Safe to run by many at once and again: whoever comes second finds nothing to do.
    """
    from relay.cli.database import open_engine
    from relay.revisions import migrating
    from relay.settings import load

    settings = load()
    if sql:
        click.echo(migrating.migration_sql(schema=settings.schema_name, to=to), nl=False)
        return
    engine = open_engine(settings)
    try:
        applied = migrating.migrate(engine, schema=settings.schema_name, to=to)
    finally:
        engine.dispose()
    for revision in applied:
        click.echo(f"applied revision {revision}", err=True)
    if not applied:
        click.echo("nothing to do", err=True)
