"""``relay roles``: least-privilege roles, as SQL for the administrator of the database. Connects to nothing."""

from __future__ import annotations

import click

from relay.cli.printing import print_table, say_exactly


@click.command()
@click.option("--sql", is_flag=True, help="Print the SQL that makes the roles and gives them their rights.")
@click.option("--owner-only", is_flag=True, help="With --sql: only the owner, for tables of any version.")
@click.option("--owner", metavar="NAME", default="relay_owner", show_default=True)
@click.option("--app", metavar="NAME", default="relay_app", show_default=True)
@click.option("--worker", metavar="NAME", default="relay_worker", show_default=True)
@click.option("--auditor", metavar="NAME", default="relay_auditor", show_default=True)
@click.option("--operator", metavar="NAME", default="relay_operator", show_default=True)
@click.option("--metrics", metavar="NAME", default="relay_metrics", show_default=True)
@click.option("--dashboard", metavar="NAME", default="relay_dashboard", show_default=True)
def roles(sql: bool, owner_only: bool, **names: str) -> None:
    """Show least-privilege roles, or print the SQL that makes them.

    The roles cannot log in: make your logins members of them. The SQL is run after each relay migrate: by the owner
    of the tables, if it may create roles, or by a superuser.
    """
    from relay.roles import MAY, RoleNames, roles_sql
    from relay.settings import schema_name

    if owner_only and not sql:
        raise click.UsageError("--owner-only belongs to --sql")
    if not sql:
        print_table(("role", "may"), ((names[part], may) for part, may in MAY.items()))
        return
    if len(set(names.values())) < len(names):
        raise click.UsageError("each role needs a name of its own")
    say_exactly(roles_sql(RoleNames(**names), schema=schema_name(), owner_only=owner_only))
