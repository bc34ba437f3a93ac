"""Whether dead rows can go. The outbox changes each row once or twice; what is not cleaned up makes claims slower.

Nothing that died after the oldest snapshot of the database can be cleaned up. What may hold it: a transaction left
open, a prepared one, a replication slot. The statistics of other roles hide when their transactions began; then, as
for slots, the number of transactions since tells.
"""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection, text

from relay.checks import Finding, ok, warn
from relay.settings import Settings
from relay.sql import quoted

OLD_SECONDS = 300
OLD_TRANSACTIONS = 1_000_000
TABLES = ("outbox", "call", "attempt")

# Lazy vacuums hold a snapshot too, but PostgreSQL leaves it out of account; autovacuum has no user. What kind of
# process it is, and since when its transaction runs, is hidden from a role that may not see others' statistics.
_HOLDERS = """
select format('process %s, role %s, application %s, %s', pid, usename,
              coalesce(nullif(application_name, ''), 'unnamed'), coalesce(state, backend_type, 'hidden')) as holder,
       extract(epoch from clock_timestamp() - xact_start) as seconds,
       greatest(age(backend_xmin), age(backend_xid)) as transactions,
       'select pg_terminate_backend(' || pid || ')' as remedy
from pg_stat_activity
where (backend_xmin is not null or backend_xid is not null) and pid <> pg_backend_pid()
  and (datname = current_database() or datname is null) and usename is not null
union all
select format('prepared transaction %s, role %s', gid, owner), extract(epoch from clock_timestamp() - prepared),
       age(transaction), 'rollback prepared ' || quote_literal(gid)
from pg_prepared_xacts where database = current_database()
union all
select format('replication slot %s', slot_name), null, greatest(age(xmin), age(catalog_xmin)),
       'select pg_drop_replication_slot(' || quote_literal(slot_name) || ')'
from pg_replication_slots where xmin is not null or catalog_xmin is not null
order by transactions desc, seconds desc nulls last limit 1
"""

_HIDDEN = "for a time that this role may not see (grant pg_read_all_stats)"

_SWITCHED_OFF = """
select c.relname from pg_class c, pg_options_to_table(c.reloptions) o
where c.relnamespace = to_regnamespace(:schema) and c.relname = any (:tables)
  and o.option_name = 'autovacuum_enabled' and not o.option_value::boolean
order by c.relname
"""


def horizon(connection: Connection, settings: Settings) -> Iterator[Finding]:
    """Who holds the oldest snapshot, so that finished rows cannot be removed; a warning when it is old."""
    held = connection.execute(text(_HOLDERS)).one_or_none()
    if held is None:
        yield ok("nobody holds it")
        return
    since = _HIDDEN if held.seconds is None else f"for {held.seconds:.0f} s"
    said = f"{held.holder}: holds it {since}, {held.transactions} transactions"
    too_old = held.transactions > OLD_TRANSACTIONS if held.seconds is None else held.seconds > OLD_SECONDS
    yield warn(said, f"End it, if nobody needs it: {held.remedy}") if too_old else ok(said)


def autovacuum(connection: Connection, settings: Settings) -> Iterator[Finding]:
    """Whether autovacuum is on, for the server and for each of our tables."""
    for name in ("autovacuum", "track_counts"):
        if connection.scalar(text("select current_setting(:name)"), {"name": name}) != "on":
            yield warn(f"{name} is off on this server, so dead rows stay", f"alter system set {name} = on")
            return
    schema = quoted(settings.schema_name)
    off = connection.scalars(text(_SWITCHED_OFF), {"schema": schema, "tables": list(TABLES)}).all()
    if off:
        hint = "; ".join(f"alter table {schema}.{name} reset (autovacuum_enabled)" for name in off)
        yield warn(f"autovacuum is switched off for {', '.join(off)}", hint)
    else:
        yield ok("autovacuum is on")
