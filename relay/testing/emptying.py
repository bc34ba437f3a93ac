"""``empty`` and ``empty_async``: a test database without messages, calls and ledger, as its owner may make it.

The tables refuse to lose rows, to their owner too, and that stays so. Their owner can switch a trigger off for a
transaction; this does, under locks that keep everybody else from writing meanwhile, once three things hold:

    the login owns the tables        an application's or a worker's login in production does not
    the database is one for tests    by its name, or by a comment that only the owner of the database can make
    no worker has a call in flight   its answer would be written nowhere

Rows are deleted, not truncated: a handful of rows takes two milliseconds so, and the files of all tables and indexes
are made anew otherwise. Sequences go on, so no id is ever used twice. Masks stay: they are settings.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import Engine

from relay.addresses import conninfo, normalized_url
from relay.database_errors import LOCKED, Kind, cause_of, origin_of, sqlstate
from relay.errors import RelayError, SchemaError
from relay.outbox.drivers import Driver
from relay.sessions import independent_transaction
from relay.sql import SCHEMA, filled
from relay.testing.connections import on_async_connection, on_connection

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from relay.outbox.adding import Asynchronous, Synchronous

MARK = "relay: test database"  # in the comment of a database whose name does not say it
PATIENCE_SECONDS = 5
_TRY_SECONDS = 0.2  # shorter than deadlock_timeout: see _EMPTY
_A_WORD = re.compile(r"(?<![a-z])test(s|ing)?(?![a-z])", re.IGNORECASE)

_LOOK = """
select pg_catalog.current_database(),
    coalesce(pg_catalog.shobj_description(d.oid, 'pg_database'), ''),
    pg_catalog.pg_has_role(current_user, c.relowner, 'usage'),
    case when exists (
        select from pg_catalog.pg_stat_get_activity(null) a
        where a.datid operator(pg_catalog.=) d.oid
          and a.application_name operator(pg_catalog.=) 'outbox-relay'
          and a.pid operator(pg_catalog.<>) pg_catalog.pg_backend_pid()
    ) then (
        select open.worker from {schema}.call open
        where open.settled_at is null and open.lease_until operator(pg_catalog.>) pg_catalog.clock_timestamp()
        order by open.id limit 1
    ) end
from pg_catalog.pg_database d, pg_catalog.pg_class c
where d.datname operator(pg_catalog.=) pg_catalog.current_database()
  and c.oid operator(pg_catalog.=) cast('{schema}.outbox' as pg_catalog.regclass)
"""

# One statement, without a sign that a driver takes for a parameter: its own transaction where none is open. What is set
# is as it was afterwards, for that may be the caller's transaction. The order matters: a message that goes leaves its
# dedupe key, a pause leaves its past. A worker that waits for messages is no call in flight, and may hold one table and
# want another: so each try to have them all is short, lets go of what it had, and is never what makes a deadlock.
_EMPTY = """
do $body$
declare
    path constant pg_catalog.text := pg_catalog.current_setting('search_path');
    patience constant pg_catalog.text := pg_catalog.current_setting('lock_timeout');
    pruning constant pg_catalog.text := coalesce(pg_catalog.current_setting('relay.pruning', true), 'off');
    until pg_catalog.timestamptz;
    part pg_catalog.regclass;
    filled boolean;
begin
    perform pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    until = clock_timestamp() + interval '{patience}';
    perform set_config('lock_timeout', '{try}', true);
    loop
        begin
            lock table {schema}.outbox, {schema}.call, {schema}.attempt, {schema}.pause, {schema}.action
                in exclusive mode;
            exit;
        exception when lock_not_available or deadlock_detected then
            if clock_timestamp() > until then
                raise;
            end if;
        end;
    end loop;
    perform set_config('lock_timeout', '{patience}', true), set_config('relay.pruning', 'on', true);
    delete from {schema}.outbox;
    delete from {schema}.call;
    delete from {schema}.attempt;
    delete from {schema}.dedupe;
    delete from {schema}.pace;
    delete from {schema}.pause;
    perform set_config('relay.pruning', pruning, true);
    if exists (select from {schema}.pause_past) then
        alter table {schema}.pause_past disable trigger pause_past_is_not_removed;
        delete from {schema}.pause_past;
        alter table {schema}.pause_past enable trigger pause_past_is_not_removed;
    end if;
    if exists (select from {schema}.action) then
        alter table {schema}.action disable trigger action_is_not_removed;
        delete from {schema}.action;
        alter table {schema}.action enable trigger action_is_not_removed;
    end if;
    for part in
        select i.inhrelid from pg_inherits i where i.inhparent in (
            cast('{schema}.outbox_archive' as regclass), cast('{schema}.call_archive' as regclass),
            cast('{schema}.attempt_archive' as regclass))
    loop
        execute 'select exists (select from ' || cast(part as text) || ')' into filled;
        if filled then
            execute 'drop table ' || cast(part as text);
        end if;
    end loop;
    perform set_config('lock_timeout', patience, true), set_config('search_path', path, true);
end
$body$
"""


class NotATestDatabase(RelayError):  # noqa: N818 the name says what is the case
    """Nothing was removed: neither the name of the database nor its comment says that it is one for tests."""


@dataclass(frozen=True, slots=True)
class DatabaseSeen:
    """What decides whether a database may be emptied. ``worker`` has a call in flight; None: no worker has."""

    database: str
    comment: str
    owned: bool
    worker: str | None


def empty(connection: Synchronous | Engine, *, schema: str = SCHEMA) -> None:
    """Remove what the relay's tables hold of messages, in the transaction of ``connection``; without one, in its own.

    ``connection`` is what ``relay.add`` takes, or an Engine; its login owns the tables. Raises NotATestDatabase, and
    RelayError where the login does not own them, a worker is at work, or an open transaction is in the way for 5 s.
    """
    with _told():
        on_connection(connection, schema, _emptied)


async def empty_async(connection: Asynchronous | AsyncEngine, *, schema: str = SCHEMA) -> None:
    """The same as :func:`empty` for what ``relay.add_async`` takes, or an AsyncEngine."""
    with _told():
        await on_async_connection(connection, schema, _emptied)


def empty_at(url: str, *, schema: str = SCHEMA) -> None:
    """The same over a connection of its own, by psycopg; no connection stays behind.

    Without an engine, which would ask the server five questions of its own first.
    """
    with _told(), independent_transaction(conninfo(normalized_url(url))) as raw:
        on_connection(raw, schema, _emptied)


def refusal(look: DatabaseSeen) -> RelayError | None:
    """Why a database of this look is not emptied; a function of what was seen."""
    if not (_A_WORD.search(look.database) or MARK in look.comment):
        return NotATestDatabase(
            f"The database {look.database} is not known as one for tests; nothing was removed.",
            "Have test as a word of its own in its name (shop_test), or say it once, as the database's owner: "
            f"COMMENT ON DATABASE ... IS '{MARK}'",
        )
    if not look.owned:
        return _not_the_owner()
    if look.worker is not None:
        return RelayError(
            f"The worker {look.worker} has a call in flight in {look.database}; nothing was removed.",
            "Stop the worker first: its answer would be written nowhere.",
        )
    return None


async def _emptied(driver: Driver, schema: str) -> None:
    (row,) = await driver.run(filled(_LOOK, schema), {})
    if refused := refusal(DatabaseSeen(*row)):
        raise refused
    emptying = _EMPTY.replace("{patience}", f"{PATIENCE_SECONDS}s").replace("{try}", f"{_TRY_SECONDS}s")
    await driver.run(filled(emptying, schema), None)


def _not_the_owner() -> RelayError:
    return RelayError(
        "The tables belong to another login, and only their owner empties them; nothing was removed.",
        "Connect as who ran relay migrate.",
    )


@contextmanager
def _told() -> Iterator[None]:
    """An error of the driver as a sentence, as far as it is about what is done here."""
    try:
        yield
    except RelayError:
        raise
    except Exception as error:
        told = _sentence(origin_of(error) or error)
        if told is None:
            raise
        raise told from error


def _sentence(error: BaseException) -> RelayError | None:
    if sqlstate(error) in LOCKED:
        return RelayError(
            f"A transaction that is open elsewhere was in the way for {PATIENCE_SECONDS} s; nothing was removed.",
            "End what an earlier test has left open: select * from pg_stat_activity where state <> 'idle'",
        )
    kind = cause_of(error).kind if sqlstate(error) else None
    if kind is Kind.MISSING:
        return SchemaError("The relay's tables are not there, or not all of them.", "Make them with: relay migrate")
    return _not_the_owner() if kind is Kind.NO_RIGHT else None
