"""Plans made once: on a connection that leads to the server itself, each statement is planned the first time only.

Planning takes longer than the claim of a few messages. But a plan that is kept may have been made while the tables were
empty, when reading them through looked cheap; so sessions that keep plans may not choose that. Every hot statement has
its index (a plan guard sees to it), and takes it whatever the statistics say. Before PostgreSQL 18 what is forbidden
counts as very expensive, and an expensive plan may be compiled to machine code whenever it runs: not here.

Behind a pooler the next transaction may run on another server connection, where nothing is prepared and settings would
reach strangers: there, every statement is planned anew. A pooler is known by the process id it makes up.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.exc import DBAPIError

KEPT_PLANS = (
    "set plan_cache_mode = force_generic_plan; set enable_seqscan = off; set enable_bitmapscan = off; set jit = off"
)
# A pooler that was not found out: a statement prepared elsewhere is missing here, or is here already.
_POOLED = ("26000", "42P05")
_TABLE_CHANGED = "0A000"  # a migration has changed the type of a result


def keep_plans(engine: Engine) -> None:
    """Prepare statements on the connections that this engine makes from now on."""
    if not event.contains(engine, "connect", look_at):
        event.listen(engine, "connect", look_at)


def give_up_if_outdated(engine: Engine, error: DBAPIError) -> bool:
    """Whether it was a prepared statement that failed; then everything is planned anew, on new connections."""
    state = getattr(error.orig, "sqlstate", None)
    if state in _POOLED and event.contains(engine, "connect", look_at):
        event.remove(engine, "connect", look_at)
        event.listen(engine, "connect", plan_anew)
    elif state != _TABLE_CHANGED:
        return False
    engine.dispose()
    return True


def look_at(raw: Any, _record: object = None) -> None:
    """A new connection of the driver: are plans kept on it?"""
    plan_anew(raw)
    try:
        (pid,) = raw.execute("select pg_backend_pid()").fetchone()
        if pid == raw.info.backend_pid:
            raw.execute(KEPT_PLANS)
            raw.prepare_threshold = 0
        raw.commit()
    except raw.Error:
        raw.close()  # it was lost as soon as it was made: to whoever wanted it, it could not be made
        raise


def plan_anew(raw: Any, _record: object = None) -> None:
    """A new connection of the driver: none are."""
    raw.prepare_threshold = None
