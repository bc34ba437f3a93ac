"""Which part in the relay's work a login has, told by its rights: the roles may have any names (``relay roles``)."""

from __future__ import annotations

from sqlalchemy import Connection, text

# The first that fits; a login that may write what a worker writes, or read contents, is no mere reader.
_PART = """
with may as (
    select has_any_column_privilege(outbox, 'update') or has_column_privilege(outbox, 'content', 'select') as work,
        has_any_column_privilege(outbox, 'insert') as add, has_function_privilege(retry, 'execute') as operate,
        has_function_privilege(latest, 'execute') as audit, has_table_privilege(message, 'select') as look,
        has_table_privilege(waiting, 'select') as measure
    from (select to_regclass(:schema || '.outbox') as outbox, to_regclass(:schema || '.audit_message') as message,
        to_regclass(:schema || '.audit_backlog') as waiting,
        to_regprocedure(:schema || '.retry(bigint[],text)') as retry,
        to_regprocedure(:schema || '.latest_messages(integer)') as latest) as known
)
select case when work is not false then null when operate then 'an operator' when audit then 'an auditor'
    when look then 'a dashboard' when add then 'an application' when measure then 'a collector of metrics' end
from may
"""


def part_of(connection: Connection, schema: str) -> str | None:
    """``an auditor`` and the like; None: a worker, an owner, or a login that has no part. ``schema`` is quoted."""
    found: str | None = connection.scalar(text(_PART), {"schema": schema})
    return found
