"""Who migrates: whether this login may, said before anything is changed, and that what is made has one owner.

Where the schema belongs to a role that this login may become (``relay roles`` makes one), the revisions run as that
role, so that nothing of theirs belongs to whoever happened to migrate. Otherwise they run as the login itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, text

from relay.errors import RelayError
from relay.sql import quoted

_SCHEMA = """
select n.oid, pg_get_userbyid(n.nspowner) as owner, current_user as me, current_database() as database,
    has_database_privilege(current_database(), 'create') as may_create,
    n.oid is null or has_schema_privilege(n.oid, 'create') as may_fill,
    n.nspowner is not null and pg_has_role(n.nspowner, {becoming}) as may_become
from (select) as always left join pg_namespace n on n.nspname = :schema
"""
# What somebody else owns: only its owner, or a member of that role, may alter, replace or drop it.
_FOREIGN = """
select count(*) over () as number, what, pg_get_userbyid(owner) as owner
from (
    select 'table ' || relname as what, relowner as owner from pg_class
    where relnamespace = cast(:oid as oid) and relkind in ('r', 'p', 'v')
    union all
    select 'function ' || proname, proowner from pg_proc where pronamespace = cast(:oid as oid)
    union all
    select 'domain ' || typname, typowner from pg_type where typnamespace = cast(:oid as oid) and typtype = 'd'
) as thing
where not pg_has_role(:who, owner, 'usage')
order by what limit 1
"""


@contextmanager
def as_owner(connection: Connection, schema: str, *, required: bool = True) -> Iterator[None]:
    """Within it the transaction is the owner's, and then again whose it was.

    Who may not migrate stays who they are; where it is ``required``, RelayError says what is in the way.

    The role is set for the transaction only: it ends with it, also behind a pooler.
    """
    before = connection.scalar(text("select current_setting('role')"))
    try:
        _become(connection, _owner(connection, schema))
    except RelayError:
        if required:
            raise
    yield
    _become(connection, before)  # after an error the transaction can only be rolled back, and takes this with it


def _owner(connection: Connection, schema: str) -> str:
    version = connection.scalar(text("select cast(current_setting('server_version_num') as integer)"))
    becoming = "'set'" if version >= 160000 else "'member'"
    name = quoted(schema)
    found = connection.execute(text(_SCHEMA.format(becoming=becoming)), {"schema": schema}).one()
    me = str(found.me)
    if found.oid is None:
        if not found.may_create:
            raise RelayError(
                f"{me} may not create the schema {name} in the database {found.database}",
                f"The database's owner or a superuser runs: create schema {name} authorization {me}",
            )
        return me
    if found.may_become and _foreign(connection, found.oid, found.owner) is None:
        return str(found.owner)
    if (foreign := _foreign(connection, found.oid, me)) is not None:
        raise RelayError(
            f"{me} may not change the relay's tables: {foreign.what} belongs to {foreign.owner}"
            + (f", and so do {foreign.number - 1} more" if foreign.number > 1 else ""),
            f"Migrate as {foreign.owner}; or let a superuser run what relay roles --sql --owner-only prints, which "
            f"hands everything to one owner, and then: grant relay_owner to {me}",
        )
    if not found.may_fill:
        raise RelayError(
            f"{me} may create nothing in the schema {name}, which belongs to {found.owner}",
            f"{found.owner} or a superuser runs: alter schema {name} owner to {me}",
        )
    return me


def _foreign(connection: Connection, schema_oid: int, who: str) -> Any:
    return connection.execute(text(_FOREIGN), {"oid": schema_oid, "who": who}).one_or_none()


def _become(connection: Connection, role: str | None) -> None:
    connection.execute(text("select set_config('role', :role, true)"), {"role": role})
