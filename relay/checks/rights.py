"""What the role of the relay may do: all that the worker needs, and not everything."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection, text

from relay.checks import Finding, fail, ok, warn
from relay.checks.parts import part_of
from relay.settings import Settings
from relay.sql import VERSION_TABLE, quoted

# The columns of the outbox that settling writes; of the other tables a right counts as soon as any column has it.
STATE_COLUMNS = (
    "status", "attempts", "call_id", "result_index", "error_code", "error_message", "available_at", "finished_at",
)  # fmt: skip
CALL_COLUMNS = ("account", "worker", "message_ids", "parent_id", "lease_until", "nonce")  # that a claim writes
NEEDED = {
    "outbox": ("select",),
    "call": ("select", "insert", "update"),
    "attempt": ("select", "insert"),
    "pause": ("select", "insert", "update"),
    "pace": ("select", "insert", "update"),
    VERSION_TABLE: ("select",),
}

FUNCTIONS = ("leave_out_expired", "lift_pauses", "name_calls", "nobody_names_calls")  # that a worker cannot do without

_CALLED = """
select cast(oid as regprocedure) as signature from pg_proc
where pronamespace = to_regnamespace(:schema) and proname = any (:names)
  and not has_function_privilege(oid, 'execute')
order by proname
"""
_ARCHIVE = """
select proname, cast(oid as regprocedure) as signature from pg_proc
where pronamespace = to_regnamespace(:schema) and proname in ('archive_messages', 'archive_calls')
  and not has_function_privilege(oid, 'execute')
order by proname
"""

_MAY = {
    "column": "select has_column_privilege(:table, :column, 'update')",
    "any": "select has_any_column_privilege(:table, :right)",
}


# A column that is not there is the business of another check.
_MAY_NOT_INSERT = """
select attname from pg_attribute
where attrelid = to_regclass(:table) and attname = any (:columns)
  and not has_column_privilege(attrelid, attnum, 'insert')
order by attnum
"""


def rights(connection: Connection, settings: Settings) -> Iterator[Finding]:
    """Whether the role of the connection has every right that a worker needs; the hint grants what is missing.

    Whoever has another part is told so and given no grant: an auditor is not to read contents.
    """
    schema = quoted(settings.schema_name)
    user = connection.scalar(text("select current_user"))
    asked = text("select has_schema_privilege(to_regnamespace(:schema), 'usage')")
    if not connection.scalar(asked, {"schema": schema}):
        yield fail(f"the role {user} may not use the schema {schema}", f"grant usage on schema {schema} to {user}")
        return
    missing = list(_missing(connection, schema))
    if missing and (part := part_of(connection, schema)):
        yield ok(f"the role {user} has the rights of {part}; those of a worker were not looked for")
    elif missing:
        grants = "; ".join(f"grant {right} on {thing} to {user}" for thing, right in missing)
        said = ", ".join(f"{right} on {thing.removeprefix(f'{schema}.')}" for thing, right in missing)
        yield fail(f"the role {user} lacks {said}", grants)
    else:
        yield ok(f"the role {user} may do what the worker does")


def archiving(connection: Connection, settings: Settings) -> Iterator[Finding]:
    """Where workers shall archive, by functions of the database."""
    if not settings.archive_after_days:
        yield ok("workers do not archive")
        return
    schema = quoted(settings.schema_name)
    user = connection.scalar(text("select current_user"))
    refused = connection.execute(text(_ARCHIVE), {"schema": schema}).all()
    if refused and (part := part_of(connection, schema)):
        yield ok(f"the role {user} has the rights of {part}, and workers archive")
    elif refused:
        names = ", ".join(name for name, _ in refused)
        grants = "; ".join(f"grant execute on function {signature} to {user}" for _, signature in refused)
        yield fail(f"RELAY_ARCHIVE_AFTER_DAYS is set, and the role {user} may not execute {names}", grants)
    else:
        yield ok(f"the role {user} may do what archiving does")


def superuser(connection: Connection, settings: Settings) -> Iterator[Finding]:
    """A superuser works, but every right is a right to do harm: a warning."""
    user, is_superuser = connection.execute(
        text("select rolname, rolsuper from pg_roles where rolname = current_user")
    ).one()
    if is_superuser:
        yield warn(f"the role {user} is a superuser", "Give the relay a role of its own: relay roles --sql")
    else:
        yield ok(f"the role {user} is no superuser")


def _missing(connection: Connection, schema: str) -> Iterator[tuple[str, str]]:
    """(table or function, right)"""
    for table, needed in NEEDED.items():
        for right in needed:
            if not connection.scalar(text(_MAY["any"]), {"table": f"{schema}.{table}", "right": right}):
                yield f"{schema}.{table}", right
    columns = [
        column
        for column in STATE_COLUMNS
        if not connection.scalar(text(_MAY["column"]), {"table": f"{schema}.outbox", "column": column})
    ]
    if columns:
        yield f"{schema}.outbox", f"update ({', '.join(columns)})"
    named = {"table": f"{schema}.call", "columns": list(CALL_COLUMNS)}
    if columns := list(connection.scalars(text(_MAY_NOT_INSERT), named)):
        yield f"{schema}.call", f"insert ({', '.join(columns)})"
    for signature in connection.scalars(text(_CALLED), {"schema": schema, "names": list(FUNCTIONS)}):
        yield f"function {signature}", "execute"
