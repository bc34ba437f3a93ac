"""The schema step by step, frozen, for our own command and for a host application's Alembic alike.

Each revision is a module with ``UPGRADE`` and ``DOWNGRADE``: plain DDL that never changes once released and knows
nothing of the living ``schema.py``. The revision reached is kept in ``alembic_version`` inside our own schema, so that
``relay migrate``, plain ``alembic upgrade head`` and a host's migration calling :func:`upgrade` agree::

    from relay.revisions import upgrade as relay_upgrade

    def upgrade():
        relay_upgrade(op, to="0001")

``include_name`` keeps a host's own comparison of tables and models away from ours.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from types import ModuleType
from typing import Any

from sqlalchemy import Connection, text

from relay.errors import ConfigurationError, SchemaError, needs
from relay.revisions import r0001, r0002, r0003, r0004, r0005, r0006, r0007, r0008
from relay.revisions.locks import AFTER, BEFORE
from relay.sql import VERSION_TABLE, quoted

with needs("worker", "relay.revisions"):
    from relay.sessions import script_begins, script_ends, undisturbed

REVISIONS: tuple[ModuleType, ...] = (r0001, r0002, r0003, r0004, r0005, r0006, r0007, r0008)
HEAD: str = REVISIONS[-1].REVISION
# What quotes stand around in our DDL: bodies of functions, names, remarks, literals with escapes, plain literals.
_QUOTED = re.compile(
    r"""(?P<tag>\$\w*\$).*?(?P=tag)|"[^"]*"|--[^\n]*|/\*.*?\*/|\b[eE]'(?:[^'\\]|\\.|'')*'|(?P<plain>'(?:[^']|'')*')""",
    re.DOTALL,
)


def upgrade(op: Any, *, to: str, schema: str = "relay", start: str | None = None) -> list[str]:
    """Bring the schema to revision ``to`` through Alembic's ``op``; the revisions applied, in order.

    Records the revision in our own version table. ``start`` is for offline SQL only, where nobody can ask the database:
    the revision that is already there (None: nothing yet).
    """
    context = op.get_context()
    if not context.as_sql:
        start = current_revision(op.get_bind(), schema)
    revisions = _between(start, to)
    if revisions:
        with _undisturbed(op, schema):
            for revision in revisions:
                if revision.DOWN_REVISION is None:
                    _prepare(op, schema)
                _run(op, revision.UPGRADE, schema)
                _record(op, revision, schema)
    return [str(revision.REVISION) for revision in revisions]


def downgrade(op: Any, *, to: str, schema: str = "relay", start: str | None = None) -> list[str]:
    """Take the schema back to revision ``to`` through Alembic's ``op``; the revisions taken back, newest first.

    ``to="base"`` removes all tables with everything in them; the schema itself stays. ``start`` is for offline SQL
    only: the revision that is there now. Raises SchemaError where a newer relay has made the tables. Without Alembic,
    ``op`` is what :func:`relay.migrate` takes, and locks are waited for as there.
    """
    if not hasattr(op, "get_context"):
        from relay.revisions.migrating import take_back  # it loads Alembic

        return take_back(op, to=to, schema=schema)
    context = op.get_context()
    if not context.as_sql:
        start = current_revision(op.get_bind(), schema)
    if start is None:
        return []
    kept = () if to == "base" else _between(None, to)
    revisions = tuple(reversed(_between(None, _known(start))[len(kept) :]))
    if revisions:
        with _undisturbed(op, schema):
            for revision in revisions:
                _run(op, revision.DOWNGRADE, schema)
                _record_before(op, revision, schema)
    return [str(revision.REVISION) for revision in revisions]


def include_name(
    name: str | None, type_: str, parent_names: Mapping[str, str | None], *, schema: str = "relay"
) -> bool:
    """For a host's Alembic that compares with ``include_schemas=True``: everything but the schema of the relay.

    ``context.configure(..., include_schemas=True, include_name=relay.include_name)``. Without it Alembic would offer to
    drop the relay's tables, for no model of the host describes them. For a schema of another name:
    ``functools.partial(relay.include_name, schema="outbox")``.
    """
    return (name if type_ == "schema" else parent_names.get("schema_name")) != schema


def apply(op: Any, statements: tuple[str, ...], schema: str) -> None:
    """Run frozen statements for the schema of this name, in a session that decides by itself what they mean."""
    with _undisturbed(op, schema):
        _run(op, statements, schema)


def _run(op: Any, statements: tuple[str, ...], schema: str) -> None:
    context = op.get_context()
    for statement in statements:
        text_of_it = textwrap.dedent(statement).strip().replace("{schema}", quoted(schema))
        if context.as_sql:  # as it is: on its way through SQLAlchemy each % would be doubled
            context.impl.static_output(_as_meant(text_of_it) + context.impl.command_terminator)
        else:
            op.execute(text_of_it)


def _as_meant(statement: str) -> str:
    """Its literals mean the same whatever ``standard_conforming_strings`` is.

    A script sets that for itself. But who sends it in one piece has all of it read before any of it is run.
    """

    def escaped(found: re.Match[str]) -> str:
        plain = found["plain"]
        return "E" + plain.replace("\\", "\\\\") if plain and "\\" in plain else found[0]

    return _QUOTED.sub(escaped, statement)


@contextmanager
def _undisturbed(op: Any, schema: str) -> Iterator[None]:
    """Nothing that somebody set, and no wait without bound. A script does the same for itself."""
    as_sql = op.get_context().as_sql
    with nullcontext() if as_sql else undisturbed(op.get_bind()):
        _run(op, (*script_begins(), BEFORE) if as_sql else (BEFORE,), schema)
        yield
        _run(op, (AFTER, *script_ends()) if as_sql else (AFTER,), schema)


def is_at(connection: Connection, schema: str, to: str) -> bool:
    """Whether nothing is to be done, as far as this login may know."""
    readable = connection.scalar(
        text(
            "select has_schema_privilege(n.oid, 'usage') and has_table_privilege(c.oid, 'select') "
            "from pg_class c join pg_namespace n on n.oid = relnamespace where nspname = :schema and relname = :table"
        ),
        {"schema": schema, "table": VERSION_TABLE},
    )
    return bool(readable) and not _between(current_revision(connection, schema), to)


def refuse_way_back(connection: Connection, schema: str, to: str) -> None:
    """Raise ConfigurationError where the tables are beyond revision ``to``: migrating goes forward only."""
    found = current_revision(connection, schema)
    if to != "head" and found is not None and found != to:
        raise ConfigurationError(
            f"The relay tables are at revision {found}, and migrating does not go back to {to}: nothing was changed.",
            f'Go back by relay.downgrade(url, to="{to}") in Python; read docs/upgrading.md first.',
        )


def current_revision(connection: Connection, schema: str) -> str | None:
    """The revision this database is at, or None where there are no tables of ours."""
    table = f"{quoted(schema)}.{VERSION_TABLE}"
    if connection.scalar(text("select pg_catalog.to_regclass(:table)"), {"table": table}) is None:
        return None
    found: str | None = connection.scalar(text(f"select version_num from {table}"))  # noqa: S608 quoted above
    return found


def require_head(connection: Connection, schema: str) -> None:
    """Raise SchemaError unless the database is at the revision this version of the relay works with."""
    found = current_revision(connection, schema)
    if found == HEAD:
        return
    if found is None:
        raise SchemaError(f'The database has no relay tables in schema "{schema}".', "Run: relay migrate")
    if found in _names():
        raise SchemaError(f"The relay tables are at revision {found}, this relay needs {HEAD}.", "Run: relay migrate")
    raise SchemaError(
        f"The relay tables are at revision {found}, which is newer than this relay ({HEAD}).",
        "Upgrade the relay: pip install -U outbox-relay",
    )


def require_head_if_readable(connection: Connection, schema: str) -> bool:
    """The same as far as this login may know; whether it may. Operators and auditors may read no table.

    For them, tables that are too old lack a function or a view.
    """
    table = f"{quoted(schema)}.{VERSION_TABLE}"
    may_read = connection.scalar(text("select has_table_privilege(to_regclass(:table), 'select')"), {"table": table})
    if may_read is False:  # null: there is no such table
        return False
    require_head(connection, schema)
    return True


def _between(start: str | None, to: str) -> tuple[ModuleType, ...]:
    names = _names()
    wanted = HEAD if to == "head" else to
    if wanted not in names:
        raise ConfigurationError(f"There is no revision {wanted!r}.", f"Known revisions: {', '.join(names)}, head")
    first = 0 if start is None else names.index(_known(start)) + 1
    return REVISIONS[first : names.index(wanted) + 1]


def _known(revision: str) -> str:
    if revision not in _names():
        raise SchemaError(
            f"The relay tables are at revision {revision}, which this relay does not know.",
            "Upgrade the relay: pip install -U outbox-relay",
        )
    return revision


def _names() -> list[str]:
    return [revision.REVISION for revision in REVISIONS]


def _prepare(op: Any, schema: str) -> None:
    """Create the schema and the version table, exactly as Alembic itself would create the latter."""
    create_schema(op.execute, None if op.get_context().as_sql else op.get_bind(), schema)
    op.execute(
        f"create table if not exists {quoted(schema)}.{VERSION_TABLE} "
        f"(version_num varchar(32) not null, constraint {VERSION_TABLE}_pkc primary key (version_num))"
    )


def create_schema(execute: Any, connection: Connection | None, schema: str) -> None:
    """Create the schema unless it is there: ``if not exists`` alone would ask for rights it then does not use.

    Without a connection the database is asked when the script runs.
    """
    there = "select 1 from pg_namespace where nspname = {name}"
    create = f"create schema if not exists {quoted(schema)}"
    if connection is None:
        literal = "'" + schema + "'"  # no name of ours has a quote in it
        execute(f"do $body$ begin if not exists ({there.format(name=literal)}) then {create}; end if; end $body$")
    elif not connection.scalar(text(there.format(name=":name")), {"name": schema}):
        execute(create)


def _record_before(op: Any, revision: ModuleType, schema: str) -> None:
    table = f"{quoted(schema)}.{VERSION_TABLE}"
    if revision.DOWN_REVISION is None:
        op.execute(f"drop table {table}")
    else:
        op.execute(f"update {table} set version_num = '{revision.DOWN_REVISION}'")  # noqa: S608 ours, frozen


def _record(op: Any, revision: ModuleType, schema: str) -> None:
    table = f"{quoted(schema)}.{VERSION_TABLE}"
    if revision.DOWN_REVISION is None:
        op.execute(f"insert into {table} (version_num) values ('{revision.REVISION}')")  # noqa: S608 ours, frozen
    else:
        op.execute(f"update {table} set version_num = '{revision.REVISION}'")  # noqa: S608 ours, frozen
