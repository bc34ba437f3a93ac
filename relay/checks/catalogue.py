"""The tables as they are against the tables as they should be, object by object.

Alembic sees neither the condition of a partial index nor a check nor a trigger, and the relay depends on all three. So
what the revisions make was read from PostgreSQL's own catalogue once, into ``catalogue.json``, and is compared with
what the catalogue says here; a test writes that file anew and compares. Texts are PostgreSQL's, without the schema's
name. What was added is no fault, unless it has a say in writing: a trigger or a constraint. The months of the
archive come and go, and are not looked at one by one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from importlib.resources import files

from sqlalchemy import Connection, text

from relay.checks import Finding, fail, ok, warn
from relay.errors import SchemaError
from relay.revisions import HEAD, require_head
from relay.settings import Settings
from relay.sql import VERSION_TABLE, quoted

Catalogue = Mapping[str, Mapping[str, str]]  # kind -> name -> definition

# Each question answers with the name of an object and how it is defined. Where a function looks names up was written
# down with quotes if it was restored with ``quote_all_identifiers``. Bodies are compared by their digest. A view is
# its columns, for its text is written differently by each version of PostgreSQL, and so are constraints "not null".
_QUESTIONS = {
    "column": """
        select c.relname || '.' || a.attname, concat_ws(' ', format_type(a.atttypid, a.atttypmod),
            case when a.attnotnull then 'not null' end, case when a.attidentity <> '' then 'identity' end,
            'default ' || pg_get_expr(d.adbin, d.adrelid))
        from pg_attribute a join pg_class c on c.oid = a.attrelid and a.attnum > 0
            and c.relkind in ('r', 'p', 'v') and not c.relispartition
        left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
        where c.relnamespace = to_regnamespace(:schema) and not a.attisdropped""",
    "constraint": """
        select conname, pg_get_constraintdef(oid) from pg_constraint
        where connamespace = to_regnamespace(:schema) and contype <> 'n' and conparentid = 0""",
    "index": """
        select relname, case when indisvalid and indisready then '' else 'INVALID ' end
            || pg_get_indexdef(indexrelid, 0, true)
        from pg_index join pg_class on oid = indexrelid
        where relnamespace = to_regnamespace(:schema) and not relispartition""",
    "trigger": """
        select tgname, case when tgenabled in ('O', 'A') then '' else 'DISABLED ' end || pg_get_triggerdef(t.oid, true)
        from pg_trigger t join pg_class c on c.oid = tgrelid
        where relnamespace = to_regnamespace(:schema) and not relispartition and not tgisinternal""",
    "function": """
        select format('%s(%s)', proname, pg_get_function_identity_arguments(oid)),
            concat_ws(' ', 'returns', prorettype::regtype, case when prosecdef then 'security definer' end,
                replace(
                    replace(array_to_string(proconfig, ' '), '"', ''), replace(:schema, '"', '') || ', ', 'SCHEMA, '
                ),
                'body ' || md5(replace(replace(replace(prosrc, 'from ' || :schema || '.', 'from '),
                    'table ' || :schema || '.', 'table '), '''' || :schema || '.call''', '''call''')))
        from pg_proc where pronamespace = to_regnamespace(:schema)""",
}
_HAS_A_SAY = ("constraint", "trigger")


def revision(connection: Connection, settings: Settings) -> Iterator[Finding]:
    """Whether the tables are at the revision of this program. All checks of tables depend on it."""
    try:
        require_head(connection, settings.schema_name)
    except SchemaError as error:
        yield fail(str(error), error.hint)
    else:
        yield ok(f'the tables in schema "{settings.schema_name}" are at revision {HEAD}')


def catalogue(connection: Connection, settings: Settings) -> Iterator[Finding]:
    """Whether columns, indexes, constraints, triggers and functions are those of ``catalogue.json``: a finding for each
    that is missing, added or different.
    """
    there, clean = read_catalogue(connection, settings.schema_name), True
    for kind, expected in expected_catalogue().items():
        for finding in _differences(kind, expected, there[kind]):
            clean = False
            yield finding
    if clean:
        yield ok("columns, indexes, constraints, triggers and functions are as migrated")


def expected_catalogue() -> Catalogue:
    """What a database has whose tables are at the newest revision."""
    found: Catalogue = json.loads(files("relay.checks").joinpath("catalogue.json").read_text(encoding="utf-8"))
    return found


def read_catalogue(connection: Connection, schema: str) -> Catalogue:
    """What this database has. The schema's name is taken out of texts: it is there unless it is on the search path."""
    name = quoted(schema)
    # In a literal it is a setting or a code, but for what the function of a trigger is given, at the end.
    here = re.escape(name)
    qualified = re.compile(rf"""(?<![\w"']){here}\.|(?<=\('){here}\.(?=\w+'\)$)""")
    return {
        kind: {
            qualified.sub("", found): qualified.sub("", definition)
            for found, definition in sorted(map(tuple, connection.execute(text(question), {"schema": name})))
            if not found.startswith(VERSION_TABLE)
        }
        for kind, question in _QUESTIONS.items()
    }


def _differences(kind: str, expected: Mapping[str, str], there: Mapping[str, str]) -> Iterator[Finding]:
    hint = "Restore it as relay migrate --sql defines it."
    for name, definition in expected.items():
        if name not in there:
            yield fail(f"{kind} {name} is missing: {definition}", hint)
        elif there[name] != definition:
            yield fail(f"{kind} {name} is {there[name]}, and should be {definition}", hint)
    if kind in _HAS_A_SAY:
        for name in there.keys() - expected.keys():
            yield warn(f"{kind} {name} is not of the relay: {there[name]}", "Make sure that it lets the relay work.")
