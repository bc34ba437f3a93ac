"""What somebody has put on the tables of the relay that has a say in reading or writing: policies of rows, rules.

Triggers and constraints of others are found with the catalogue. A worker compares what it wrote with what it named, and
says so where something swallows it (see ``store/swallowed.py``).
"""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection, text

from relay.checks import Finding, fail, ok, warn
from relay.revisions import quoted
from relay.settings import Settings

_ROW_SECURITY = """
select c.relname, row_security_active(c.oid) as active from pg_class c
where c.relnamespace = to_regnamespace(:schema) and c.relkind in ('r', 'p') and c.relrowsecurity
order by not row_security_active(c.oid), c.relname
"""
_RULES = """
select rulename, c.relname, is_instead and ev_enabled <> 'D' as replaces
from pg_rewrite join pg_class c on c.oid = ev_class
where c.relnamespace = to_regnamespace(:schema) and c.relkind in ('r', 'p') order by c.relname, rulename
"""


def row_security(connection: Connection, settings: Settings) -> Iterator[Finding]:
    """For whom it is active, rows may be hidden; for whom it is not, it may still be for applications."""
    schema = quoted(settings.schema_name)
    found = connection.execute(text(_ROW_SECURITY), {"schema": schema}).all()
    for table, active in found:
        hint = f"alter table {schema}.{quoted(table)} disable row level security"
        if active:
            yield fail(f"policies may hide rows of {table} from this role, or refuse them", hint)
        else:
            yield warn(f"policies of {table} do not concern this role, and may refuse what applications insert", hint)
    if not found:
        yield ok("no policy hides rows")


def rules(connection: Connection, settings: Settings) -> Iterator[Finding]:
    schema = quoted(settings.schema_name)
    found = connection.execute(text(_RULES), {"schema": schema}).all()
    for rule, table, replaces in found:
        hint = f"drop rule {quoted(rule)} on {schema}.{quoted(table)}: a trigger does what is meant"
        if replaces:
            yield fail(
                f"the rule {rule} does something instead of statements on {table}: what is written is lost", hint
            )
        else:
            yield warn(f"the rule {rule} rewrites statements on {table}", hint)
    if not found:
        yield ok("no rule rewrites statements")
