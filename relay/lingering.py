"""Sessions that leave a transaction open in which they may have locked messages, calls, paces or pauses.

A claim steps over a row that another session has locked, so such messages are never sent, and nothing fails; of the
others a worker waits for the lock, in vain. Locks of rows are in no list; but the holder of one also has a lock of the
table, of a kind that a mere reader has not, and an id of a transaction. A login that may only insert cannot lock a row,
however long its transaction is, but it has the ordering keys that it writes. What a session does meanwhile does not
matter: who means harm sleeps in a statement. It is worth telling only while messages wait that could have been sent.

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
from relay.sql import run

SECONDS = 60.0  # at least: how long messages have waited, and the transaction has been open
LOOK_AGAIN_SECONDS = 1.0

# Whose rows a login of the relay's roles can lock, and what they are called: a call that is locked cannot be settled, a
# pace not be reserved, a pause not be ordered.
_TABLES = {"outbox": "messages", "call": "calls", "pace": "the pace of app keys", "pause": "pauses"}
_WORDS = _TABLES | {"keys": "ordering keys"}

# Who may have locked one: a writer of messages that may not change any has none.
_MAY_HAVE = """(held.mode = 'RowShareLock' or held.mode = 'RowExclusiveLock' and (
        c.relname <> 'outbox' or coalesce(has_any_column_privilege(a.usesysid, held.relation, 'update'), true)))
    and exists (
        select from pg_locks id
        where id.virtualtransaction = held.virtualtransaction and id.locktype = 'transactionid' and id.granted)
"""
# A session that writes a message with an ordering key has one of 256 locks until its transaction ends. Meanwhile all
# keys of that lock wait, of all accounts. It counts where messages of such a key have been due for long, of those next
# in turn.
_HAS_KEYS = """c.relname = 'outbox' and held.mode = 'RowExclusiveLock' and exists (
        select from pg_locks taken
        where taken.locktype = 'advisory' and taken.objsubid = 2 and taken.granted and taken.classid = held.relation
          and taken.virtualtransaction = held.virtualtransaction and cast(taken.objid as integer) in (
              select (hashtext(message.account) # hashtext(message.ordering_key)) & 255
              from (select account, ordering_key, available_at, created_at from {schema}.read_outbox
                    where status = 'pending' and ordering_key is not null and not held
                    order by account, ordering_key, id limit 1000) as message
              where greatest(message.available_at, message.created_at)
                  < statement_timestamp() - make_interval(secs => cast(:seconds as double precision))))
"""
_OURS = """held.locktype = 'relation' and held.granted and c.relnamespace = to_regnamespace('{schema}')
    and held.database = (select oid from pg_database where datname = current_database())
    and held.pid is distinct from pg_backend_pid()
"""

LINGERING = """
select held.virtualtransaction as transaction, held.pid, coalesce(a.usename, p.owner, 'unknown') as role,
    coalesce(a.application_name, '') as application,
    cast(extract(epoch from statement_timestamp() - coalesce(a.xact_start, p.prepared)) as double precision) as seconds,
    p.gid, array_agg(distinct case when may_have then cast(c.relname as text) else 'keys' end) as tables
from pg_locks held join pg_class c on c.oid = held.relation and c.relname = any ('{tables}')
left join pg_stat_activity a on a.pid = held.pid
cross join lateral (select <may_have> as may_have) as rows_
left join (pg_locks x join pg_prepared_xacts p on p.transaction = x.transactionid)
    on held.pid is null and x.locktype = 'transactionid' and x.virtualtransaction = held.virtualtransaction
where <ours> and (may_have or <has_keys>)
    and coalesce(statement_timestamp() - coalesce(a.xact_start, p.prepared)
        > make_interval(secs => cast(:seconds as double precision)), true)
group by 1, 2, 3, 4, 5, 6 order by seconds desc nulls last, held.pid
"""

# Who keeps a statement of ours waiting, once that is given up: a lock on a table that lets nobody write, or the oldest
# transaction that may have locked a row. Who waits for a lock, as our own sessions do, keeps nobody waiting by itself.
# What others run may be hidden from us, their locks are not.
IN_THE_WAY = """
select held.pid, coalesce(a.usename, 'unknown') as role, c.relname as held,
    case when a.state like 'idle in transaction%' then extract(epoch from now() - a.state_change) end as seconds
from pg_locks held join pg_class c on c.oid = held.relation and c.relkind in ('r', 'p')
join pg_stat_activity a on a.pid = held.pid
cross join lateral (select held.mode in (
    'AccessExclusiveLock', 'ExclusiveLock', 'ShareRowExclusiveLock', 'ShareLock') as whole) as table_
where <ours>
    and (whole or c.relname = any ('{tables}') and <may_have>
        and coalesce(a.xact_start < now() - interval '0.2 s', true)
        and not exists (
            select from pg_locks waits where waits.virtualtransaction = held.virtualtransaction and not waits.granted))
order by whole desc, a.xact_start nulls last, c.relname limit 1
"""
LINGERING, IN_THE_WAY = (
    text.replace("<ours>", _OURS.strip())
    .replace("<may_have>", _MAY_HAVE.strip())
    .replace("<has_keys>", _HAS_KEYS.strip())
    .replace("{tables}", f"{{{','.join(_TABLES)}}}")
    for text in (LINGERING, IN_THE_WAY)
)

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
          select from {schema}.call
          where settled_at is null and lease_until > now() and message.id = any (message_ids)))
"""


@dataclass(frozen=True, slots=True)
class Lingering:
    """``seconds`` None: hidden from us. ``pid`` None: a prepared transaction, which is ``gid``. ``tables``: of ours."""

    transaction: str
    pid: int | None
    role: str
    application: str
    seconds: float | None
    gid: str | None
    tables: Sequence[str] = ("outbox",)

    def __str__(self) -> str:
        since = "" if self.seconds is None else f" for {self.seconds:.0f} s"
        locked = " and ".join(word for table, word in _WORDS.items() if table in self.tables)
        does = f"may have locked {locked}, which keeps messages from being sent"
        if self.pid is None:
            return escaped(f"the prepared transaction {self.gid} (role {self.role}) is open{since} and {does}")
        who = f"process {self.pid} (role {self.role}, application {self.application or 'unnamed'})"
        return escaped(f"{who} leaves a transaction open{since} and {does}")

    @property
    def remedy(self) -> str:
        """The SQL that ends it."""
        if self.pid is None:
            return f"rollback prepared '{self.gid}'"
        return f"select pg_terminate_backend({self.pid})"


def lingering(connection: Connection, oldest_due_seconds: float | None) -> tuple[Lingering, ...]:
    """Those there are now, if messages have been due for this long."""
    if (oldest_due_seconds or 0.0) < SECONDS:
        return ()

    def look() -> tuple[Lingering, ...]:
        rows: Sequence[Any] = run(connection, LINGERING, seconds=SECONDS).all()
        return tuple(Lingering(*row) for row in rows)

    found = look()
    if all(one.seconds is not None for one in found):
        return found
    time.sleep(LOOK_AGAIN_SECONDS)
    later = {one.transaction for one in look()}
    return tuple(one for one in found if one.transaction in later)
