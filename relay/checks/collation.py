"""Whether indexes on texts are still in the order in which the system compares: a new libc or ICU may sort otherwise.

Then a key is not found that is there, and a unique index lets a second one in: a dedupe key twice, a message claimed
before the earlier one of its ordering key.
"""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection, text

from relay.checks import Finding, ok, warn
from relay.settings import Settings
from relay.sql import quoted

_KNOWS_VERSIONS = 150_000  # before, the collation of a database has none

_DATABASE = """
select datname, datcollversion as recorded, pg_database_collation_actual_version(oid) as actual
from pg_database where datname = current_database()
"""
# The order of bytes is the same everywhere. Oid 100 is the collation of the database.
_INDEXES = """
select count(*) from pg_index join pg_class c on c.oid = indexrelid
where c.relnamespace = to_regnamespace(:schema) and exists (
    select from unnest(indcollation) as used join pg_collation on pg_collation.oid = used
    where used = 100 or collname not in ('C', 'POSIX'))
"""


def collation(connection: Connection, settings: Settings) -> Iterator[Finding]:
    """Whether texts are still compared as they were when the indexes were made. Needs PostgreSQL 15."""
    schema = quoted(settings.schema_name)
    if connection.scalar(text("select current_setting('server_version_num')::integer")) < _KNOWS_VERSIONS:
        yield ok("not recorded by PostgreSQL 14")
        return
    found = connection.execute(text(_DATABASE)).one()
    if found.recorded is None or found.recorded == found.actual:
        yield ok(f"version {found.actual}, as when the database was made" if found.actual else "has no versions")
    elif not connection.scalar(text(_INDEXES), {"schema": schema}):
        yield ok(f"version {found.actual} instead of {found.recorded}, and no index of the relay depends on it")
    else:
        yield warn(
            f"texts are compared by version {found.actual or 'unknown'}, and were by {found.recorded} when the indexes "
            "were made: they may miss keys",
            f"reindex schema concurrently {schema}; reindex other indexes on texts too; then "
            f"alter database {_named(found.datname)} refresh collation version",
        )


def _named(database: str) -> str:
    return '"' + database.replace('"', '""') + '"'
