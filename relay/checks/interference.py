"""What was put in the relay's way: policies of rows and rules on its tables, its locks in strange hands.

Triggers and constraints of others are found with the catalogue. A worker compares what it wrote with what it named, and
says so where something swallows it (see ``store/swallowed.py``).
"""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection, text

from relay import reports
from relay.checks import Finding, fail, ok, warn
from relay.settings import Settings
from relay.sql import quoted

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


# Advisory locks of the relay held by sessions that do nothing that takes one: a session that writes messages or names
# calls has the lock of the table as well, and a worker that sleeps (256) may read the messages.
_STRANGERS = """
with ours as (
    select cast(c.oid as oid) as class, c.relname from pg_class c
    where c.relnamespace = to_regnamespace(:schema) and c.relname in ('outbox', 'call'))
select held.pid, coalesce(a.usename, 'unknown') as role, ours.relname,
    count(*) filter (where ours.relname = 'outbox' and held.objid < 256) as keys,
    bool_or(held.mode = 'ExclusiveLock') as alone,
    cast(extract(epoch from clock_timestamp() - a.state_change) as double precision) as seconds
from pg_locks held join ours on ours.class = held.classid
left join pg_stat_activity a on a.pid = held.pid
where held.locktype = 'advisory' and held.objsubid = 2 and held.granted and held.pid is distinct from pg_backend_pid()
  and held.database = (select oid from pg_database where datname = current_database())
  and not (ours.relname = 'outbox' and held.objid = 256
      and has_any_column_privilege(a.usesysid, ours.class, 'select'))
  and not exists (
      select from pg_locks writer
      where writer.virtualtransaction = held.virtualtransaction and writer.locktype = 'relation'
        and writer.relation = ours.class and writer.mode = 'RowExclusiveLock' and writer.granted)
group by held.pid, a.usename, ours.relname, a.state_change order by keys desc, held.pid
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
    """Rules of PostgreSQL on our tables: one that replaces a statement loses what is written."""
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


def locks(connection: Connection, settings: Settings) -> Iterator[Finding]:
    """A claim has a lock of a key for less than a moment, so a lock that is seen twice is not a claim's."""
    schema = quoted(settings.schema_name)
    asked = text(_STRANGERS)
    before = {row.pid for row in connection.execute(asked, {"schema": schema})}
    found = [row for row in connection.execute(asked, {"schema": schema}) if row.pid in before]
    for row in found:
        since = "" if row.seconds is None else f", for {row.seconds:.0f} s or longer"
        said = (
            f"process {row.pid} (role {row.role}{since}) holds locks of the relay on {row.relname} and writes nothing"
        )
        hint = f"Ask the person who runs it; to end it: select pg_terminate_backend({row.pid})"
        if row.keys and row.alone:
            yield fail(f"{said}: inserts with an ordering key wait and fail", hint)
        else:
            yield warn(said, hint)
    if not found:
        yield ok("nobody else holds locks of the relay")


def row_locks(connection: Connection, settings: Settings) -> Iterator[Finding]:
    """Claims step over locked messages without a word; that is told only while some have been due for long."""
    found = reports.status(connection).lingering
    for one in found:
        hidden = "" if one.seconds is not None else "; since when, a member of pg_monitor sees"
        yield warn(f"{one}{hidden}", f"Ask the person who runs it; to end it: {one.remedy}")
    if not found:
        yield ok("nobody keeps messages locked while they are due")
