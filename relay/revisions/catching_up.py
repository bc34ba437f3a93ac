"""What a migration left to be done, batch by batch, after its own transaction: each in one that is short.

Whoever stops it loses nothing but time; ``relay migrate`` goes on where it was, and ``relay check`` tells how much is
left. Between two batches it waits for half as long as a batch took, so that others have the database too.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from sqlalchemy import Connection, Engine, text

from relay.revisions.standing import as_owner
from relay.sql import quoted

BATCH = 1000
_STUCK_SECONDS = 0.5  # before the next look at what somebody has locked
_TELL_SECONDS = 5.0
_STEPS = {
    "keys": "dedupe keys of archived messages are remembered",
    "ledger": "hashes of what was redacted get a salt",
    "outbox": "hashes get a salt",
    "archive": "hashes in the archive get a salt",
    "index": "months of the archive get their indexes",
}


def catch_up(
    engine: Engine, *, schema: str, wait_seconds: float, batch: int = BATCH, tell: Callable[[str], None]
) -> None:
    """Until nothing is left, or somebody has kept the next row locked for ``wait_seconds``."""
    told = began_waiting = None
    while True:
        started = time.monotonic()
        with engine.begin() as connection, as_owner(connection, schema, required=False):
            page = _one_batch(connection, schema, batch)
        if page is None:
            return
        step, reached, last, stuck = page
        now = time.monotonic()
        if told is None or now - told >= _TELL_SECONDS or reached >= last:
            told = now
            tell(f"{_STEPS.get(step, step)}: up to {'number' if step == 'index' else 'id'} {reached} of {last}")
        began_waiting = (began_waiting or now) if stuck else None
        if began_waiting is not None and now - began_waiting >= wait_seconds:
            what = "is archiving, or reads the archive" if step == "index" else f"has the row after id {reached} locked"
            tell(f"somebody {what}; run this again when that has ended")
            return
        time.sleep(_STUCK_SECONDS if stuck else (now - started) / 2)


def _one_batch(connection: Connection, schema: str, batch: int) -> tuple[str, int, int, bool] | None:
    """The step, how far it is, and whether it is stuck. None: nothing is left, or this login may not do it."""
    function = f"{quoted(schema)}.catch_up(integer)"
    may = connection.scalar(
        text("select has_function_privilege(to_regprocedure(:function), 'execute')"), {"function": function}
    )
    if not may:  # also null, for tables that know of no such thing
        return None
    asked = f"select step, reached, last, stuck from {quoted(schema)}.catch_up(:batch)"  # noqa: S608 quoted
    found = connection.execute(text(asked), {"batch": batch}).one()
    return None if found.step is None else (found.step, found.reached, found.last, found.stuck)
