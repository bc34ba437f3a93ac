"""Where everything is measured: a PostgreSQL of our own with durable settings, and fresh databases on it.

fsync and synchronous commit are on, as in production. The relay's table is migrated once into a template; beside it is
``bare.outbox``, the smallest table a hand-written loop needs. A table is filled once with the same messages of some 280
bytes, vacuumed and analysed; every run gets a copy of the files, so no run inherits another one's dead rows.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self
from uuid import uuid4

from sqlalchemy import Connection, Engine, create_engine, make_url, text
from sqlalchemy.pool import NullPool

import relay
from relay.embedded import EmbeddedPostgres

TOPIC = "taobao_jds_TradeTrace"

# An order trace as the platform documents it; n is the number of the message.
CONTENT = """
json_build_object('tid', 1234500000000 + n, 'order_ids', '1234554321,1234554322', 'status', 'X_PACKAGED',
    'action_time', '2026-11-23 12:00:00', 'operator', '王小二', 'remark', 'packed at station ' || n % 40,
    'seller_nick', 'a_seller_of_many_things', 'warehouse', 'hangzhou-' || n % 7, 'sequence', n)
"""

# For one transaction: without triggers, which take 20 µs a row. What they would set has to be named: the hash.
QUICKLY = "set local session_replication_role = replica"

_BARE = """
create schema bare;
create table bare.outbox (
    id bigint generated always as identity primary key,
    topic text not null, content json not null, status text not null default 'pending',
    lease_until timestamptz not null default '-infinity', finished_at timestamptz);
create index outbox_pending on bare.outbox (id) where status = 'pending';
"""


@dataclass(frozen=True, slots=True)
class Counted:
    """What the server counted of one stretch of work."""

    wal_bytes: int
    transactions: int
    dead_rows: int

    def __sub__(self, before: Counted) -> Counted:
        return Counted(
            self.wal_bytes - before.wal_bytes,
            self.transactions - before.transactions,
            self.dead_rows - before.dead_rows,
        )


class Ground:
    """A server while it is entered; ``fresh`` databases come and go on it.

    ``folder``: where it stays afterwards, with all that was made. ``settings``: of the server, beside the usual ones.
    """

    def __init__(self, folder: str | None = None, settings: Mapping[str, str] = MappingProxyType({})) -> None:
        self._stays = folder is not None
        self._folder = Path(folder or Path(tempfile.gettempdir()) / f"relay-bench-{uuid4().hex[:12]}")
        self._settings = settings

    def __enter__(self) -> Self:
        # TCP, for logins that are not the superuser.
        self._server = EmbeddedPostgres(self._folder, port=0 if self._settings else None, settings=self._settings)
        self._server.start()
        with connected(self._server.url()) as connection:
            self._made = set(connection.execute(text("select datname from pg_database")).scalars())
        if "template" in self._made:
            return self
        self._run("create database template")
        relay.migrate(self._server.url("template"))
        with connected(self._server.url("template")) as connection:
            connection.exec_driver_sql(_BARE)
        return self

    def __exit__(self, *_: object) -> None:
        if self._stays:
            self._server.stop()
        else:
            self._server.remove()

    def url(self, database: str) -> str:
        """Of a database that was made, to be read as it is."""
        return self._server.url(database)

    @property
    def postmaster(self) -> int:
        """The process whose children serve the sessions."""
        return self._server.pid

    @property
    def pgbench(self) -> Path:
        return self._server.psql.with_name("pgbench")

    def made(self, name: str, make: Callable[[str], None], *, template: str = "template") -> str:
        """The name of a database for others to be copied from, made by ``make`` when it is first asked for."""
        if name not in self._made:
            self._copy(template, name)
            try:
                make(self._server.url(name))
            except BaseException:  # half of it is not found by the next run
                self._run(f'drop database "{name}" with (force)')
                raise
            self._made.add(name)
        return name

    @contextmanager
    def fresh(self, template: str = "template") -> Iterator[str]:
        """The URL of a new database, with empty tables unless the template has filled ones."""
        name = f"run_{uuid4().hex[:12]}"
        self._copy(template, name)
        try:
            yield self._server.url(name)
        finally:
            self._run(f"drop database {name} with (force)")

    def version(self) -> str:
        with connected(self._server.url()) as connection:
            return str(connection.exec_driver_sql("show server_version").scalar_one())

    def _copy(self, template: str, name: str) -> None:
        """With a checkpoint before and after: the first change of each page writes the whole page, in every run."""
        self._run(f'create database "{name}" template "{template}" strategy file_copy')

    def _run(self, sql: str) -> None:
        with _engine(self._server.url()).connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql(sql)


def _engine(url: str) -> Engine:
    return create_engine(url, poolclass=NullPool)


@contextmanager
def connected(url: str) -> Iterator[Connection]:
    """One transaction on a connection of its own."""
    with _engine(url).begin() as connection:
        yield connection


def conninfo(url: str) -> str:
    """The same place as psycopg and the programs of PostgreSQL want it."""
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


def filled(ground: Ground, table: str, messages: int, *, accounts: int = 1, index: str = "") -> str:
    """A template with pending messages in ``relay.outbox`` or ``bare.outbox``, spread over the accounts.

    ``index``: the statement that makes one more.
    """

    def make(url: str) -> None:
        with connected(url) as connection:
            if index:
                connection.exec_driver_sql(index)
            fill(connection, table, messages, accounts=accounts)
        settle_down(url, table)

    return ground.made(f"{table} {messages} {accounts} {index and 'indexed'}", make)


def fill(connection: Connection, table: str, messages: int, *, accounts: int = 1) -> None:
    columns, values = "topic, content", ":topic, content"
    if table == "relay.outbox":
        columns += ", account, content_sha256"
        values += f", 'a' || n % {accounts}, sha256(convert_to(cast(content as text), 'UTF8'))"
    rows = f"select n, {CONTENT} as content from generate_series(1, :n) n"
    connection.exec_driver_sql(QUICKLY)
    connection.execute(
        text(f"insert into {table} ({columns}) select {values} from ({rows}) made order by n"),
        {"topic": TOPIC, "n": messages},
    )


def settle_down(url: str, table: str) -> None:
    """Statistics and clean pages, so that the run does not pay for how the table was made."""
    with _engine(url).connect() as connection:
        calm = connection.execution_options(isolation_level="AUTOCOMMIT")
        calm.exec_driver_sql(f"vacuum (analyze) {table}")
        calm.exec_driver_sql("checkpoint")


def left(url: str, table: str) -> int:
    with connected(url) as connection:
        return int(connection.execute(text(f"select count(*) from {table} where status <> 'done'")).scalar_one())


def counted(url: str) -> Counted:
    """Since the database was made; differences are what counts."""
    with connected(url) as connection:
        connection.exec_driver_sql("select pg_stat_force_next_flush()")
        row: Any = connection.exec_driver_sql(
            """
            select pg_current_wal_lsn() - '0/0' as wal, d.xact_commit as transactions,
                (select coalesce(sum(n_tup_upd + n_tup_del), 0) from pg_stat_user_tables) as dead
            from pg_stat_database d where d.datname = current_database()
            """
        ).one()
    return Counted(int(row.wal), int(row.transactions), int(row.dead))
