"""Plans made once: on a connection that leads to the server itself, each statement is planned the first time only.

Planning takes longer than the claim of a few messages. But a plan that is kept may have been made while the tables were
empty, when reading them through looked cheap; so sessions that keep plans may not choose that. Every hot statement has
its index (a plan guard sees to it), and takes it whatever the statistics say. Before PostgreSQL 18 what is forbidden
counts as very expensive, and an expensive plan would be compiled to machine code whenever it runs: not in our sessions.

Behind a pooler the next transaction may run on another server connection, where nothing is prepared: there, every
statement is planned anew.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.exc import DBAPIError

from relay import sessions
from relay.database_errors import PLANS_CHECKED_IN, PREPARED_ELSEWHERE, TABLE_CHANGED, sqlstate

KEPT_PLANS = "set plan_cache_mode = force_generic_plan; set enable_seqscan = off; set enable_bitmapscan = off"


def keep_plans(engine: Engine) -> None:
    """Prepare statements on the connections that this engine makes from now on, and make it independent."""
    sessions.make_independent(engine)
    if not event.contains(engine, "connect", choose):
        event.listen(engine, "connect", choose)


def give_up_if_outdated(engine: Engine, error: DBAPIError) -> bool:
    """Whether it was a prepared statement that failed; then everything is planned anew, on new connections."""
    state = sqlstate(error)
    if state == TABLE_CHANGED and _source(error) not in (None, PLANS_CHECKED_IN):
        return False
    if not (state == TABLE_CHANGED or (state in PREPARED_ELSEWHERE and sessions.distrust(engine))):
        return False
    engine.dispose()
    return True


def _source(error: DBAPIError) -> str | None:
    return getattr(getattr(error.orig, "diag", None), "source_function", None)


def choose(raw: Any, record: Any) -> None:
    """A new connection of the driver, whose session is as it should be: are plans kept on it?"""
    raw.prepare_threshold = None
    if sessions.is_pooled(record):
        return
    with sessions.or_closed(raw):
        raw.execute(f"{KEPT_PLANS}; {sessions.WORKER}")
        raw.commit()
    raw.prepare_threshold = 0
