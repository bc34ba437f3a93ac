"""What our sessions are like, whatever is set on the role, on the database, or in the URL.

One table says which settings the relay depends on, and why. On a connection that leads to the server itself they are
set once, when it is made. Behind a pooler a setting of the session would reach strangers and would not stay with us:
there, each transaction begins with them (one more round trip, and only there). A pooler is known by the process id it
makes up.

Every name in our statements is looked up in ``pg_catalog`` alone, or bears its schema. Times are those of UTC; what is
read is told in the zone the login has, as before. Not overruled: ``default_transaction_read_only``, by which
administrators stop all writing on purpose, ``synchronous_commit``, ``role``, and what only a superuser may set;
``relay check`` names these.

In a transaction of the caller's (``relay.migrate`` on a Connection) all is as it was afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from functools import cache
from typing import Any
from weakref import WeakSet
from zoneinfo import ZoneInfo

import psycopg
from psycopg.types.datetime import TimestamptzLoader
from sqlalchemy import Connection, Dialect, Engine, event

from relay.database_errors import CANCELLED


@dataclass(frozen=True, slots=True)
class Setting:
    """``since``: the versions that brought it, as numbers, one for each major version; none: all that we support."""

    name: str
    value: str
    reason: str
    since: tuple[int, ...] = ()

    def is_known_to(self, version: int) -> bool:
        """To a server of this version, 180004 for 18.4."""
        if not self.since or version >= max(self.since):
            return True
        return any(version >= first and version // 10_000 == first // 10_000 for first in self.since)


_TIME = "how long a statement of ours may take is for us to say"
_STRINGS = "decides what a text in a statement means"
_READ = "the driver reads this form only"
_PLAN = "every statement of ours has its index, and is slow without"
_LOG = "no content gets into the server's log by a fault of ours"
_COST = "plans are chosen as they were when they were tried: to look up a few rows is cheaper than to read all"
_DOOR = "what protects the tables from accidents is opened for one transaction at a time"

# The first one comes first: the others shall not be cut off by it.
SETTINGS = (
    Setting("statement_timeout", "0", _TIME),
    Setting("transaction_timeout", "0", _TIME, since=(170000,)),
    Setting("lock_timeout", "0", _TIME),
    Setting("idle_in_transaction_session_timeout", "0", _TIME),
    Setting("idle_session_timeout", "0", "a worker that has nothing to do keeps its connections"),
    Setting("quote_all_identifiers", "off", "else names are quoted in definitions that are kept or compared"),
    Setting("search_path", "pg_catalog, pg_temp", "no function or operator that somebody else has made is ever called"),
    Setting("client_encoding", "UTF8", "another one has no signs for most contents"),
    Setting("standard_conforming_strings", "on", _STRINGS),
    Setting("backslash_quote", "safe_encoding", _STRINGS),
    Setting("escape_string_warning", "on", _STRINGS),
    Setting("array_nulls", "on", "arrays carry what is null"),
    Setting("transform_null_equals", "off", "a comparison is what is written"),
    Setting("datestyle", "ISO, MDY", _READ),
    Setting("intervalstyle", "postgres", _READ),
    Setting("timezone", "UTC", "a time near the end of all years is the next year's in many zones"),
    Setting("bytea_output", "hex", _READ),
    Setting("extra_float_digits", "1", "a number that is read is the number that was written"),
    Setting("xmloption", "content", _READ),
    Setting("default_transaction_isolation", "read committed", "the claim needs a fresh snapshot for each statement"),
    Setting("default_transaction_deferrable", "off", "nobody waits for a safe snapshot"),
    Setting("row_security", "off", "where a policy would hide rows from us, PostgreSQL says so instead"),
    Setting("restrict_nonsystem_relation_kind", "", "the views are read", since=(140013, 150008, 160004, 170000)),
    Setting("exit_on_error", "off", "a refused statement ends its transaction, not the session"),
    Setting("default_table_access_method", "heap", "rows are locked and updated"),
    Setting("check_function_bodies", "on", "a faulty function is refused when it is made"),
    Setting("client_min_messages", "notice", "what the server thinks while it works is not sent to us"),
    Setting("log_parameter_max_length_on_error", "0", _LOG),
    Setting("debug_print_parse", "off", _LOG),
    Setting("debug_print_rewritten", "off", _LOG),
    Setting("debug_print_plan", "off", _LOG),
    Setting("relay.redacting", "off", _DOOR),
    Setting("relay.pruning", "off", _DOOR),
    Setting("relay.salting", "off", _DOOR),
    Setting("plan_cache_mode", "auto", _PLAN),
    Setting("enable_seqscan", "on", _PLAN),
    Setting("enable_indexscan", "on", _PLAN),
    Setting("enable_indexonlyscan", "on", _PLAN),
    Setting("enable_bitmapscan", "on", _PLAN),
    Setting("enable_nestloop", "on", _PLAN),
    Setting("enable_hashjoin", "on", _PLAN),
    Setting("enable_hashagg", "on", _PLAN),
    Setting("enable_sort", "on", _PLAN),
    Setting("enable_partition_pruning", "on", "only the months that are asked for are read"),
    Setting("constraint_exclusion", "partition", "only the months that are asked for are read"),
    Setting("seq_page_cost", "1", _COST),
    Setting("random_page_cost", "4", _COST),
    Setting("cpu_tuple_cost", "0.01", _COST),
    Setting("cpu_index_tuple_cost", "0.005", _COST),
    Setting("cpu_operator_cost", "0.0025", _COST),
    Setting("from_collapse_limit", "8", _PLAN),
    Setting("join_collapse_limit", "8", _PLAN),
    Setting("geqo_threshold", "12", _PLAN),
    Setting("debug_parallel_query", "off", "no process is started for a short statement", since=(160000,)),
    Setting("jit", "off", "to compile one of our short statements takes longer than to run it"),
)

# Of a worker, whose transactions wait for nobody: a peer that is dead (its host is gone, or stands still, or a proxy in
# between) holds no locks for longer than this, and a statement whose client has gone ends with it. On a connection that
# leads to the server itself: what these are told about is otherwise the pooler. Some systems have no way to tell
# whether a client has gone, and refuse the last one; then that is all there is.
WORKER = """
set tcp_keepalives_idle = 10; set tcp_keepalives_interval = 5; set tcp_keepalives_count = 3;
set tcp_user_timeout = 20000; set idle_in_transaction_session_timeout = 20000;
do $body$ begin
    set client_connection_check_interval = 2000;
exception when invalid_parameter_value then null;
end $body$
"""

# What decides about the meaning of a script; how long it may take is for the caller to say.
SCRIPT = (
    "search_path",
    "client_encoding",
    "quote_all_identifiers",
    "standard_conforming_strings",
    "transform_null_equals",
    "array_nulls",
    "datestyle",
    "timezone",
    "row_security",
    "default_table_access_method",
)

# The limit first, for this one too; the names bear their schema, for nothing is set yet. A standby answers nobody whose
# transaction would be serializable.
ASK = (
    "set local statement_timeout = 0; set local transaction_isolation = 'read committed'; "
    "select pg_catalog.pg_backend_pid(), pg_catalog.current_setting('server_version_num')"
)
TRIES = 5  # before it is gone, the tiniest limit may end the statement that takes it away
LOCK_TIMEOUT = "relay_lock_timeout"  # an option of an engine: in each of its transactions, instead of none
_POOLED = "server behind the pooler"  # in the info of a connection: its version


# By what an engine shares with all that are made of it by options, which listeners and pools do not tell.
_independent: WeakSet[Dialect] = WeakSet()


def make_independent(engine: Engine) -> None:
    """From now on the connections that this engine makes depend on no setting of the role or the database.

    Of psycopg only; with another driver a transaction can be :func:`undisturbed`.
    """
    dialect: Any = engine.dialect
    if dialect.driver != "psycopg":
        return
    dialect.use_native_hstore = False  # it would be looked for on the search path, before anything is set
    if not any(event.contains(engine, "connect", listener) for listener in (begin_session, begin_pooled)):
        _independent.add(dialect)
        event.listen(engine, "connect", begin_session, insert=True)  # before SQLAlchemy asks its own questions
        event.listen(engine, "begin", begin_transaction)


def make_transactions_independent(engine: Engine) -> None:
    """The same for each transaction of this engine, whose connections are the caller's: nothing outlasts it.

    Of an engine that is independent already nothing more is asked, nor of one that was made of it by options.
    """
    if engine.dialect not in _independent:
        event.listen(engine, "begin", begin_among_others)


def distrust(engine: Engine) -> bool:
    """There is a pooler after all, which was not found out: from now on nothing is set for longer than a transaction.

    False where that was known before.
    """
    if not event.contains(engine, "connect", begin_session):
        return False
    event.remove(engine, "connect", begin_session)
    event.listen(engine, "connect", begin_pooled, insert=True)
    return True


def is_pooled(record: Any) -> bool:
    """Whether this connection of an independent engine leads to a pooler."""
    return _POOLED in record.info


def begin_session(raw: Any, record: Any) -> None:
    """A new connection of the driver."""
    with or_closed(raw), _without_transaction(raw):
        zone = raw.info.parameter_status("TimeZone")
        pid, version = _asked(raw)
        if pid != raw.info.backend_pid:
            record.info[_POOLED] = version
        else:
            _insisted(raw, for_session(version))
        tell_times_in(raw, zone)


def begin_pooled(raw: Any, record: Any) -> None:
    """A new connection of the driver to a pooler."""
    with or_closed(raw), _without_transaction(raw):
        zone = raw.info.parameter_status("TimeZone")
        record.info[_POOLED] = _asked(raw)[1]
        tell_times_in(raw, zone)


@contextmanager
def independent_transaction(conninfo: str) -> Iterator[Any]:
    """One transaction on a connection of the driver that is made for it, and closed with it."""
    with psycopg.connect(conninfo, autocommit=True, prepare_threshold=None) as raw:
        version = _asked(raw)[1]
        with raw.transaction():
            raw.execute(for_transaction(version))
            yield raw


@contextmanager
def or_closed(raw: Any) -> Iterator[None]:
    """A connection that is not made ready is lost to its caller: nobody else would close it."""
    try:
        yield
    except BaseException:
        raw.close()
        raise


@contextmanager
def _without_transaction(raw: Any) -> Iterator[None]:
    """Each text of statements is a transaction then: none is open, and could be found idle, between two of them."""
    before = raw.autocommit
    raw.autocommit = True
    yield
    raw.autocommit = before


def begin_transaction(connection: Connection) -> None:
    """A new transaction."""
    version = connection.info.get(_POOLED)
    if version is not None:
        connection.exec_driver_sql(for_transaction(version))
    if limit := _lock_timeout(connection):
        connection.exec_driver_sql(f"set local lock_timeout = '{limit}'")


def begin_among_others(connection: Connection) -> None:
    """A new transaction on the caller's connection: one statement, which any driver takes, also prepared."""
    values = {setting.name: setting.value for setting in _known(_version(connection))}
    _set_all(connection, [*(values | {"lock_timeout": _lock_timeout(connection) or "0"}).items()])


def _lock_timeout(connection: Connection) -> str | None:
    limit: str | None = connection.get_execution_options().get(LOCK_TIMEOUT)
    return limit


@cache
def for_session(version: int) -> str:
    """Statements for a session on a server of this version; they stay until it ends."""
    return "; ".join(f"set {setting.name} = {_written(setting.value)}" for setting in _known(version))


@cache
def for_transaction(version: int) -> str:
    """The same until the transaction ends."""
    return "; ".join(f"set local {setting.name} = {_written(setting.value)}" for setting in _known(version))


@contextmanager
def undisturbed(connection: Connection) -> Iterator[None]:
    """Inside, the caller's transaction is like ours; afterwards as it was.

    One statement each, which any driver takes. After an error there is nothing to restore: all ends with the rollback.
    """
    known = _known(_version(connection))
    asked = ", ".join(f"pg_catalog.current_setting('{setting.name}', true)" for setting in known)
    before = connection.exec_driver_sql(f"select {asked}").one()
    _set_all(connection, [(setting.name, setting.value) for setting in known])
    yield
    _set_all(connection, [(setting.name, value or "") for setting, value in zip(known, before, strict=True)])


def script_begins() -> tuple[str, str]:
    """Statements with which a part of a script that an administrator runs begins: what decides about its meaning.

    None of them gives a row back, which psql would print.
    """
    kept = ", ".join(
        f"pg_catalog.set_config('relay.kept_{name}', pg_catalog.current_setting('{name}'), true)" for name in SCRIPT
    )
    values = {setting.name: setting.value for setting in SETTINGS}
    return _unseen(kept), "; ".join(f"set local {name} = {_written(values[name])}" for name in SCRIPT)


def script_ends() -> tuple[str]:
    """The statement after it: what follows is the caller's."""
    calls = ", ".join(
        f"pg_catalog.set_config('{name}', pg_catalog.current_setting('relay.kept_{name}'), true)" for name in SCRIPT
    )
    return (_unseen(calls),)


def _unseen(calls: str) -> str:
    return f"do $body$ begin perform {calls}; end $body$"


def tell_times_in(raw: Any, zone: str | None) -> None:
    """From now on this connection of the driver gives times in the zone of this name, as far as Python knows it."""
    try:
        found: tzinfo = ZoneInfo(zone or "UTC")
    except (KeyError, OSError, ValueError):
        found = UTC
    raw.adapters.register_loader("timestamptz", type("InZone", (_InZone,), {"zone": found}))


class _InZone(TimestamptzLoader):
    """What cannot be told in the zone stays in UTC: in year 9999 it is year 10000 elsewhere."""

    zone: tzinfo = UTC

    def load(self, data: Any) -> datetime:
        moment = super().load(data)
        try:
            return moment.astimezone(self.zone)
        except OverflowError:
            return moment


def _version(connection: Connection) -> int:
    major, minor, *_ = *(connection.dialect.server_version_info or (14, 0)), 0
    return 10_000 * int(major) + int(minor)


def _asked(raw: Any) -> tuple[int, int]:
    """The process and the version of the server, from itself: a pooler has answers of its own."""
    cursor = _insisted(raw, ASK)
    while cursor.nextset():  # to the last one, which answers
        pass
    pid, version = cursor.fetchone()
    return int(pid), int(version)


def _insisted(raw: Any, statements: str) -> Any:
    for _ in range(TRIES - 1):
        try:
            return raw.execute(statements)
        except raw.OperationalError as error:
            if error.sqlstate != CANCELLED:
                raise
    return raw.execute(statements)


def _set_all(connection: Connection, values: list[tuple[str, str]]) -> None:
    calls = ", ".join(f"pg_catalog.set_config('{name}', {_literal(value)}, true)" for name, value in values)
    connection.exec_driver_sql(f"select {calls}")


def _known(version: int) -> tuple[Setting, ...]:
    return tuple(setting for setting in SETTINGS if setting.is_known_to(version))


def _written(value: str) -> str:
    """A list has each of its parts for itself."""
    return ", ".join(f"'{part}'" for part in value.split(", "))


def _literal(value: str) -> str:
    """Right whether backslashes stand for themselves or not."""
    doubled = value.replace("'", "''").replace("\\", "\\\\")
    return f"E'{doubled}'" if "\\" in value else f"'{doubled}'"
