"""Who is in the way: the one question for who has locks on the relay's tables, how that is said, and how to end it.

Everybody sees who has which lock, and whose session it is; since when and in what state, only who may. What is known is
told. Locks of rows are in no list; but the holder of one also has a lock of the table and an id of a transaction, which
are. So where rows were waited for, the first one named is the likeliest: what locks the whole table goes before what
may lock rows, one that waits for another comes after it, and one that came later than we did comes last.

A person who waits for a lock is told here, a worker that does by ``store/connections.py``, and of whom nobody is told,
because claims step over what is locked, ``lingering.py`` asks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from relay.database_errors import LOCKED, Kind, state_of
from relay.errors import RelayError
from relay.sessions import undisturbed
from relay.showing import escaped
from relay.sql import VERSION_TABLE, migrate_lock, statement

NOTHING_CHANGED = "nothing was changed"

# Whose rows a login of the relay's roles can lock, and what they are called: a call that is locked cannot be settled, a
# pace not be reserved, a pause not be ordered.
ROWS_OF = {"outbox": "messages", "call": "calls", "pace": "the pace of app keys", "pause": "pauses"}
# They are there to be locked, and keep nobody from reading or writing anything else.
_LOCKS_ALONE = ("archive_lock", "naming_lock", "ids_lock", "catching_up")

# One row a transaction; parameters are ``tables`` (null: all of the relay's, and the lock of those who migrate), and
# ``lock``, the name of that one. ``tables`` of a row: whose rows it may have locked. A login that may only insert
# messages can lock none. <also> is one condition more for being told, by which that is called 'keys'.
_HOLDERS = """
select held.virtualtransaction as transaction, held.pid,
    coalesce(cast(a.usename as text), cast(p.owner as text), 'unknown') as role,
    coalesce(a.application_name, '') as application, a.state, cast(p.gid as text) as gid,
    cast(extract(epoch from statement_timestamp() - coalesce(a.xact_start, p.prepared)) as double precision) as seconds,
    cast(extract(epoch from statement_timestamp() - a.query_start) as double precision) as query_seconds,
    cast(current_user as text) as me,
    coalesce(bool_or(c.relname = '<versions>' and held.mode = 'ExclusiveLock' or held.locktype = 'advisory'), false)
        as migrates,
    coalesce(bool_or(rows_.whole), false) as whole,
    coalesce(bool_or(rows_.locked), false) as rows,
    exists (select from pg_locks waits where waits.virtualtransaction = held.virtualtransaction and not waits.granted)
        as waits,
    array_remove(array_agg(distinct case
        when rows_.locked and c.relname = any ('{<rows of>}') and (
            held.mode = 'RowShareLock' or c.relname <> 'outbox'
            or coalesce(has_any_column_privilege(a.usesysid, held.relation, 'update'), true))
        then cast(c.relname as text)
        when <also> then 'keys' end), null) as tables,
    coalesce(
        min(cast(c.relname as text)) filter (where rows_.whole),
        min(cast(c.relname as text)) filter (where rows_.locked and c.relname = any ('{<rows of>}'))) as held
from pg_locks held
left join pg_class c on held.locktype = 'relation' and c.oid = held.relation
left join pg_stat_activity a on a.pid = held.pid
left join (pg_locks x join pg_prepared_xacts p on p.transaction = x.transactionid)
    on held.pid is null and x.locktype = 'transactionid' and x.virtualtransaction = held.virtualtransaction
cross join lateral (
    select held.mode in ('RowShareLock', 'RowExclusiveLock') and exists (
        select from pg_locks id
        where id.virtualtransaction = held.virtualtransaction and id.locktype = 'transactionid' and id.granted)
        as locked,
        held.mode in ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
            and c.relkind in ('r', 'p') and c.relname <> all ('{<locks alone>}') as whole) as rows_
where held.granted and held.pid is distinct from pg_backend_pid()
  and held.database = (select oid from pg_database where datname = current_database())
  and (held.locktype = 'relation' and c.relnamespace = to_regnamespace('{schema}')
       and (c.relname = any (cast(:tables as text[])) or cast(:tables as text[]) is null)
    or held.locktype = 'advisory' and held.objsubid = 1 and cast(:tables as text[]) is null
       and (cast(held.classid as bigint) << 32) | cast(held.objid as bigint) = cast(hashtext(:lock) as bigint))
group by 1, 2, 3, 4, 5, 6, 7, 8, 9
order by migrates desc, seconds desc nulls last, held.pid
"""


def holders_sql(also: str = "false") -> str:
    """The question; ``also``: what else is of interest, as a condition on ``held`` (a lock) and ``c`` (its table)."""
    return (
        _HOLDERS.replace("<also>", also)
        .replace("<versions>", VERSION_TABLE)
        .replace("<locks alone>", ",".join(_LOCKS_ALONE))
        .replace("<rows of>", ",".join(ROWS_OF))
    )


HOLDERS = holders_sql()


@dataclass(frozen=True, slots=True)
class Holder:
    """A transaction with locks on the relay's tables.

    ``pid`` None: a prepared one, which is ``gid``. ``seconds`` None: hidden from ``me``. ``whole``: it locks a table,
    ``rows``: it may have locked some, ``tables``: of which, as in ROWS_OF. ``held``: one of what it has.
    """

    transaction: str
    pid: int | None
    role: str
    application: str
    state: str | None
    gid: str | None
    seconds: float | None
    query_seconds: float | None
    me: str
    migrates: bool = False
    whole: bool = False
    rows: bool = False
    waits: bool = False
    tables: Sequence[str] = ()
    held: str | None = None

    @property
    def who(self) -> str:
        """Which session, or prepared transaction; strangers choose the names of roles and of transactions."""
        if self.pid is None:
            return escaped(f"the prepared transaction {self.gid} of {self.role}")
        return escaped(f"process {self.pid}, role {self.role}, application {self.application or 'unnamed'}")

    @property
    def since(self) -> str:
        """What is known of its time, as the end of ``who``."""
        if self.seconds is None:
            return f", since when and with what {escaped(self.me)} may not see (a member of pg_monitor may)"
        if self.pid is None:
            return f", prepared {self.seconds:.0f} s ago"
        began = f" (its last statement began {self.query_seconds or 0:.0f} s ago)"
        return f", {self.state or 'in an unknown state'}, in a transaction for {self.seconds:.0f} s{began}"

    @property
    def remedy(self) -> str:
        """The statement that ends it, and who may."""
        if self.pid is None:
            gid = (self.gid or "").replace("'", "''")
            return escaped(f"rollback prepared '{gid}', as {self.role} or a superuser, in the same database")
        return escaped(f"select pg_terminate_backend({self.pid}), as {self.role} or a member of pg_signal_backend")


class InTheWay(RelayError):  # noqa: N818 the name says what is the case
    """Another session has what a migration needs, or a person who acts; ``undone`` says what was not done.

    ``transactions`` tells them apart in the next try. ``does`` is what the first of them is doing. ``first``: who that
    is; None: they have gone.
    """

    cause = Kind.LOCKED

    def __init__(
        self,
        holders: Sequence[Holder],
        known: frozenset[str] = frozenset(),
        *,
        undone: str = NOTHING_CHANGED,
        does: str = "is using the relay's tables",
    ) -> None:
        self.transactions = frozenset(holder.transaction for holder in holders)
        # Who was there before.
        self.first = first = min(holders, key=lambda holder: holder.transaction not in known, default=None)
        if first is None:
            super().__init__(f"another session was using the relay's tables; {undone}", "Run it again.")
            return
        others = len(holders) - 1
        super().__init__(
            f"{first.who}{first.since}, {'is migrating' if first.migrates else does}"
            + (f", and so do {others} more" if others else "")
            + f"; {undone}",
            f"Wait until it has ended, or end it: {first.remedy}; and run this again.",
        )


@contextmanager
def named_if_in_the_way(connection: Connection, schema: str, tables: Sequence[str]) -> Iterator[None]:
    """Raises InTheWay, which names who holds one of these tables, where a lock on them is not free in time.

    What was done inside is undone then, and the caller's transaction lasts.
    """
    try:
        with connection.begin_nested():
            yield
    except (DBAPIError, RelayError) as error:
        if state_of(error) not in LOCKED:
            raise
        raise InTheWay(holders(connection, schema, tables)) from error


def holders(connection: Connection, schema: str, tables: Sequence[str] | None = None) -> list[Holder]:
    """Who has locks on these tables; None: on any of the relay's, or the lock of those who migrate."""
    asked = {"lock": migrate_lock(schema), "tables": tables and list(tables)}
    with undisturbed(connection):
        return [Holder(*row) for row in connection.execute(statement(HOLDERS, schema), asked)]


def keeping_writers(connection: Connection, schema: str, *, waited_seconds: float) -> list[Holder]:
    """Those of them that can keep a session waiting that reads and writes rows, the likeliest first."""
    return likeliest(holders(connection, schema), waited_seconds=waited_seconds)


def likeliest(found: Iterable[Holder], *, waited_seconds: float) -> list[Holder]:
    """The same of these. Who has been there for how long may be hidden from us."""
    return sorted((one for one in found if one.whole or one.rows), key=lambda one: _likelihood(one, waited_seconds))


def _likelihood(holder: Holder, waited_seconds: float) -> tuple[bool | float, ...]:
    """The smaller, the likelier."""
    came_later = holder.seconds is not None and holder.seconds < waited_seconds
    runs = not (holder.gid or (holder.state or "").startswith("idle in transaction"))
    return not holder.whole, bool(holder.waits), came_later, runs, -(holder.seconds or 0)
