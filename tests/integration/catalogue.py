"""What PostgreSQL knows about one schema, as sets of lines that can be compared; the schema's name does not show."""

from __future__ import annotations

import re

from sqlalchemy import Connection, create_engine, text
from sqlalchemy.pool import NullPool

from relay.sql import quoted

# Each question answers with one line per object.
_QUESTIONS = {
    "columns": """
        select format('%s %s %s %s %s %s %s', c.relname, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod),
                      a.attnotnull, a.attidentity, pg_get_expr(d.adbin, d.adrelid))
        from pg_attribute a join pg_class c on c.oid = a.attrelid and c.relkind in ('r', 'p') and a.attnum > 0
            and not a.attisdropped
        left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
        where c.relnamespace = to_regnamespace(:schema)""",
    "options": """
        select format('%s %s', relname, reloptions) from pg_class
        where relkind in ('r', 'p', 'i', 'I') and relnamespace = to_regnamespace(:schema)""",
    "constraints": """
        select format('%s %s %s', conrelid::regclass, conname, pg_get_constraintdef(oid)) from pg_constraint
        where connamespace = to_regnamespace(:schema)""",
    "indexes": """
        select pg_get_indexdef(indexrelid, 0, true) from pg_index join pg_class on oid = indexrelid
        where relnamespace = to_regnamespace(:schema)""",
    "partitions": """
        select format('%s %s', partrelid::regclass, pg_get_partkeydef(partrelid)) from pg_partitioned_table
        join pg_class on pg_class.oid = partrelid where relnamespace = to_regnamespace(:schema)""",
    "domains": """
        select format('%s %s %s %s', typname, typbasetype::regtype, typnotnull, typdefault) from pg_type
        where typtype = 'd' and typnamespace = to_regnamespace(:schema)""",
    "functions": """
        select format('%s %s %s %s %s', proname, prorettype::regtype, prosecdef,
                      replace(array_to_string(proconfig, ' '), :schema || ', ', 'SCHEMA, '),
                      replace(replace(replace(prosrc, 'from ' || :schema || '.', 'from '),
                          'lock table ' || :schema || '.', 'lock table '), '''' || :schema || '.call''', '''call'''))
        from pg_proc where pronamespace = to_regnamespace(:schema)""",
    "views": """
        select format('%s %s', relname, pg_get_viewdef(oid)) from pg_class
        where relkind = 'v' and relnamespace = to_regnamespace(:schema)""",
    "triggers": """
        select pg_get_triggerdef(t.oid, true) from pg_trigger t join pg_class c on c.oid = tgrelid
        where relnamespace = to_regnamespace(:schema)""",
}


def catalogue(connection: Connection, schema: str = "relay") -> dict[str, set[str]]:
    """Kind of object -> one line for each of them, Alembic's version table left out."""
    name = quoted(schema)
    before = _search(connection, name)  # names of the schema searched are printed without it

    def lines(question: str) -> set[str]:
        found = connection.scalars(text(question), {"schema": name}).all()
        return {line for line in found if "alembic_version" not in line}

    answers = {kind: lines(question) for kind, question in _QUESTIONS.items()}
    in_an_argument = rf"\('{re.escape(name)}\.(\w+)'\)"  # a setting has the name of no schema
    answers["triggers"] = {re.sub(in_an_argument, r"('\1')", line) for line in answers["triggers"]}
    _search(connection, before)
    return answers


def _search(connection: Connection, path: str) -> str:
    """Set where names are looked up, for this transaction; what it was before."""
    before = str(connection.scalar(text("show search_path")))
    connection.execute(text("select set_config('search_path', :path, true)"), {"path": path})
    return before


def catalogue_at(url: str, schema: str = "relay") -> dict[str, set[str]]:
    """The same for the database of this URL."""
    with create_engine(url, poolclass=NullPool).connect() as connection:
        return catalogue(connection, schema)
