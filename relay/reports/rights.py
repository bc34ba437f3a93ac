"""What the login of a connection may do beyond reading: which acts it may call, by the catalogue.

To be shown, not to be relied on: a right may be taken away the next moment, and then PostgreSQL refuses.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from relay.sql import run, schema_of

# Each act, with the function behind it; of several of one name that which takes most is called. Who shows a content
# also reads the tables and the ledger's sequence as their owner does.
_RIGHTS = """
with newest as (
    select distinct on (p.proname) p.proname, p.oid
    from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
    where n.nspname = :schema and pg_catalog.has_schema_privilege(n.oid, 'usage')
      and p.proname in ('retry', 'discard', 'pause_scope', 'resume_scope', 'why_not', 'record_action')
    order by p.proname, p.pronargs desc
),
callable as (select proname from newest where pg_catalog.has_function_privilege(oid, 'execute')),
readable as (
    select count(*) as tables
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where n.nspname = :schema and c.relname in ('outbox', 'outbox_archive', 'attempt', 'call', 'action')
      and pg_catalog.has_table_privilege(c.oid, case c.relname when 'action' then 'insert' else 'select' end)
)
select session_user as login,
    array(select case proname when 'pause_scope' then 'pause' when 'resume_scope' then 'resume' else proname end
          from callable
          where proname in ('pause_scope', 'resume_scope')
             or proname in ('retry', 'discard') and exists (select from callable where proname = 'why_not')
             or proname = 'record_action' and (select tables from readable) = 5) as acts
"""


@dataclass(frozen=True, slots=True)
class Rights:
    """``acts``: of ``retry``, ``discard``, ``pause``, ``resume``, ``reveal`` those that the login may."""

    login: str
    acts: frozenset[str]


def rights(connection: Connection) -> Rights:
    """Of the login of this connection, at this moment."""
    row = run(connection, _RIGHTS, schema=schema_of(connection)).one()
    return Rights(row.login, frozenset("reveal" if act == "record_action" else act for act in row.acts))
