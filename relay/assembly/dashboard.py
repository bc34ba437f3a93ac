"""The database as the dashboard reads it: a login of its own, a few connections, every statement with a time-out.

Where people act on its pages, they do so by the same login and over the same connections, in transactions of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sqlalchemy import Connection, text

from relay.addresses import normalized_url
from relay.assembly.producers import explainers
from relay.database import Database, make_engine, raise_sentences
from relay.database_errors import CANCELLED, NO_RIGHT, state_of
from relay.explained import Explainer
from relay.readable import read_any_text
from relay.settings import Settings

THREADS, ACTING_THREADS = 4, 2  # and connections: who acts may wait for a lock, and nobody waits with them to look
TIME_OUT = "5s"  # of a statement
LOCK_TIME_OUT = "4s"  # and for a lock less, so that a lock and a slow statement can be told apart
NOT_READ = "this page was not read"
ACTING_TIME_OUT = "30s"  # of one that acts: on five thousand messages, behind others who act on them
ACTING_NAME = "relay-dashboard"  # in pg_stat_activity, while somebody acts
# Of the transaction: behind a pooler a setting of the session would reach strangers. What waits may be a tenth of a
# table, and then the planner would rather read all of it, which is slower for each message that is done.
_LIMIT = text(
    "select set_config('statement_timeout', :limit, true), set_config('lock_timeout', :locks, true), "
    "set_config('enable_seqscan', 'off', true)"
)
_ACTING = text("select set_config('statement_timeout', :limit, true), set_config('application_name', :name, true)")


class Reading:
    """Connected to nothing until it is asked. ``explainers``: of the producers in use, for their codes."""

    def __init__(self, database: Database, explainers: Sequence[Explainer]) -> None:
        self._database = database
        self.schema = database.schema
        self.explainers = explainers

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """A read-only transaction; errors that leave it are sentences of ours. InTheWay: a lock was not free."""
        with self._database.snapshot(NOT_READ) as connection:
            connection.execute(_LIMIT, {"limit": TIME_OUT, "locks": LOCK_TIME_OUT})
            yield connection

    @contextmanager
    def acting(self) -> Iterator[Connection]:
        """A transaction in which a person acts; it is committed when the block ends, or nothing of it has happened.

        Raises RelayError. Of an UnreachableError only the ledger tells whether it was committed.
        """
        with self._database.operating() as engine, engine.begin() as connection:
            connection.execute(_ACTING, {"limit": ACTING_TIME_OUT, "name": ACTING_NAME})
            yield connection

    def took_too_long(self, error: Exception) -> bool:
        """Whether it was the time-out that ended a statement."""
        return state_of(error) == CANCELLED

    def lacks_a_right(self, error: Exception) -> bool:
        """Whether PostgreSQL refused it to this login."""
        return state_of(error) == NO_RIGHT

    def close(self) -> None:
        """Connections end; asked again, new ones are made."""
        self._database.engine.dispose()


def open_reading(settings: Settings) -> Reading:
    """By RELAY_DASHBOARD_DATABASE_URL, else by that of the relay."""
    url = normalized_url(settings.dashboard_database_url or settings.database_url)
    engine = make_engine(
        url, settings.schema_name, pool_size=THREADS + ACTING_THREADS, max_overflow=0, pool_pre_ping=True
    )
    raise_sentences(engine)
    read_any_text(engine)
    return Reading(Database(engine, settings.schema_name, who="the dashboard"), explainers(settings))
