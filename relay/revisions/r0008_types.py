"""Revision 0008, types that nobody else may use. Frozen once released: never edit, add one.

Every table and view is a type too, and whoever may use a type may have a table of their own with a column of it. Such a
column depends on the type, so a later migration could not change the table, nor a month of the archive be dropped: any
login that finds the schema could stop both with a temporary table. To insert, to read or to cast needs no such right.

Comes behind all parts that make tables or views; the months that are made later leave nobody the right either.
"""

from __future__ import annotations

from relay.revisions import r0006_functions

(_OPEN,) = (
    text.replace("create function", "create or replace function")
    for text in r0006_functions.UPGRADE
    if "function {schema}.open_archive(month date)" in text
)
_MADE = "            execute 'create trigger '"
_OPEN_AND_CLOSED = _OPEN.replace(
    _MADE, f"            execute 'revoke usage on type ' || part || ' from public';\n{_MADE}"
)
_EACH = r"""
    do $body$
    declare
        kind text;
    begin
        for kind in
            select format_type(t.oid, null) from pg_type t left join pg_class c on c.oid = t.typrelid
            where t.typnamespace = to_regnamespace('{schema}') and t.typelem = 0
              and (t.typtype = 'd' or c.relkind in ('r', 'p', 'v'))
        loop
            execute 'CHANGE on type ' || kind || ' WHOM public';
        end loop;
    end
    $body$
    """

UPGRADE: tuple[str, ...] = (
    _EACH.replace("CHANGE", "revoke usage").replace("WHOM", "from"),
    _OPEN_AND_CLOSED,
)

DOWNGRADE: tuple[str, ...] = (
    _OPEN,
    _EACH.replace("CHANGE", "grant usage").replace("WHOM", "to"),
)
