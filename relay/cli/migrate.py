"""``relay migrate``: the tables as this version needs them."""

from __future__ import annotations

from datetime import timedelta

import click

from relay.cli.options import duration, verb_in_use
from relay.cli.printing import say, say_exactly


@click.command()
@click.option("--sql", is_flag=True, help="Print the DDL, for an empty database or --from; it connects to nothing.")
@click.option("--to", default="head", show_default=True, metavar="REVISION", help="Where to stop.")
@click.option("--from", "start", metavar="REVISION", help="With --sql: the revision that is already there.")
@click.option(
    "--no-transaction", is_flag=True, help="With --sql: without BEGIN and COMMIT, for a tool that has its own."
)
@click.option("--check", is_flag=True, help="Change nothing; fail unless the tables are as this version needs them.")
@click.option("--wait", type=duration, default="1m", show_default=True, help="Try this long while tables are in use.")
@click.option(
    "--lock-timeout", type=duration, default="2s", show_default=True, help="Let inserts wait this long in each try."
)
def migrate(
    sql: bool,
    no_transaction: bool,
    check: bool,
    to: str,
    start: str | None,
    wait: timedelta,
    lock_timeout: timedelta,
) -> None:
    """Bring the tables up to date, or print the DDL.

    Safe to run again, and in several places at once. It takes the owner of the database or of the schema, no
    superuser.
    """
    from relay.assembly.database import opened
    from relay.checks.server import encoding_trouble
    from relay.database import server_encoding
    from relay.revisions import HEAD, migrating, refuse_way_back, require_head
    from relay.settings import FOR_TABLES, load_for

    if start and not sql:
        raise click.UsageError("--from belongs to --sql: a database knows which revision it is at")
    if no_transaction and not sql:
        raise click.UsageError("--no-transaction belongs to --sql: what is run here is one transaction")
    if check and (sql or start or to != "head"):
        raise click.UsageError("--check asks whether the tables are at head, and goes with none of the others")
    settings = load_for(() if sql else FOR_TABLES)
    if check:
        with (
            opened(settings, who=verb_in_use()) as database,
            database.acting() as engine,
            engine.connect() as connection,
        ):
            require_head(connection, settings.schema_name)
        say(f"the tables are at revision {HEAD}", err=True)
        return
    if sql:
        script = migrating.migration_sql(
            schema=settings.schema_name, to=to, start=start, transaction=not no_transaction
        )
        say_exactly(script)
        if not script:
            say("nothing to do", err=True)
        return
    with opened(settings) as database:
        with database.engine.connect() as connection:
            if trouble := encoding_trouble(server_encoding(connection)):
                say(f"warning: {trouble}", err=True)
        applied = migrating.migrate(
            database.engine,
            schema=settings.schema_name,
            to=to,
            wait_seconds=wait.total_seconds(),
            lock_timeout_seconds=lock_timeout.total_seconds(),
            tell=lambda sentence: say(sentence, err=True),
        )
        if not applied:
            with database.engine.connect() as connection:
                refuse_way_back(connection, settings.schema_name, to)
    _tell(applied)


def _tell(applied: list[str]) -> None:
    for revision in applied:
        say(f"applied revision {revision}", err=True)
    if not applied:
        say("nothing to do", err=True)
