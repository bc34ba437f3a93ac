"""Sessions that leave a transaction open in which they may have locked messages.

A claim steps over a row that somebody has locked, so such messages are never sent, and nothing fails. Locks of rows are
in no list; but whoever has one also has a lock of the table, of a kind that a mere reader has not, and an id of a
transaction. Whoever may insert and no more cannot lock a row, however long its transaction is. What a session does
meanwhile does not matter: who means harm sleeps in a statement. It is worth telling only while messages wait that could
have been sent.

Of another role's session it may be hidden from us since when it is so. Then it counts if it is still there a moment
later: a worker's transactions are shorter than that.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from relay.showing import escaped
from relay.sql import statement

SECONDS = 60.0  # for so long messages wait, and the transaction is open
LOOK_AGAIN_SECONDS = 1.0

LINGERING = """
select held.virtualtransaction as transaction, held.pid, coalesce(a.usename, p.owner, 'unknown') as role,
    coalesce(a.application_name, '') as application,
    cast(extract(epoch from statement_timestamp() - coalesce(a.xact_start, p.prepared)) as double precision) as seconds,
    p.gid
from pg_locks held
left join pg_stat_activity a on a.pid = held.pid
left join (pg_locks x join pg_prepared_xacts p on p.transaction = x.transactionid)
    on held.pid is null and x.locktype = 'transactionid' and x.virtualtransaction = held.virtualtransaction
where held.locktype = 'relation' and held.relation = cast('{schema}.outbox' as regclass) and held.granted
  and held.database = (select oid from pg_database where datname = current_database())
  and held.pid is distinct from pg_backend_pid()
  and (held.mode = 'RowShareLock' or held.mode = 'RowExclusiveLock'
       and coalesce(has_any_column_privilege(a.usesysid, held.relation, 'update'), true))
  and exists (
      select from pg_locks id
      where id.virtualtransaction = held.virtualtransaction and id.locktype = 'transactionid' and id.granted)
  and coalesce(statement_timestamp() - coalesce(a.xact_start, p.prepared)
      > make_interval(secs => cast(:seconds as double precision)), true)
group by 1, 2, 3, 4, 5, 6 order by seconds desc nulls last, held.pid
"""

# For a worker: of the first of each kind, whether one could have been sent long ago. Of all that wait none is counted.
WAITING_FOR_LONG = """
select exists (
    select from (
        (select id, account, available_at, created_at from {schema}.outbox
         where status = 'pending' and ordering_key is null order by account, available_at, id limit 1000)
        union all
        (select id, account, available_at, created_at from {schema}.outbox
         where status = 'pending' and ordering_key is not null order by account, ordering_key, id limit 1000)
    ) as message
    where greatest(available_at, created_at) < now() - make_interval(secs => cast(:seconds as double precision))
      and not exists (
          select from {schema}.pause
          where scope = 'account:' || message.account and (until is null or until > now()))
      and not exists (
          select from {schema}.call where settled_at is null and message.id = any (message_ids)))
"""


@dataclass(frozen=True, slots=True)
class Lingering:
    """``seconds`` None: hidden from us. ``pid`` None: a prepared transaction, which is ``gid``."""

    transaction: str
    pid: int | None
    role: str
    application: str
    seconds: float | None
    gid: str | None

    def __str__(self) -> str:
        since = "" if self.seconds is None else f" for {self.seconds:.0f} s"
        does = "may have locked messages, which are not sent then"
        if self.pid is None:
            return escaped(f"the prepared transaction {self.gid} (role {self.role}) is open{since} and {does}")
        who = f"process {self.pid} (role {self.role}, application {self.application or 'unnamed'})"
        return escaped(f"{who} leaves a transaction open{since} and {does}")

    @property
    def remedy(self) -> str:
        if self.pid is None:
            return f"rollback prepared '{self.gid}'"
        return f"select pg_terminate_backend({self.pid})"


def lingering(connection: Connection, schema: str, oldest_due_seconds: float | None) -> tuple[Lingering, ...]:
    """Those there are now, if messages have been due for so long."""
    if (oldest_due_seconds or 0.0) < SECONDS:
        return ()

    def look() -> tuple[Lingering, ...]:
        rows: Sequence[Any] = connection.execute(statement(LINGERING, schema), {"seconds": SECONDS}).all()
        return tuple(Lingering(*row) for row in rows)

    found = look()
    if all(one.seconds is not None for one in found):
        return found
    time.sleep(LOOK_AGAIN_SECONDS)
    later = {one.transaction for one in look()}
    return tuple(one for one in found if one.transaction in later)
