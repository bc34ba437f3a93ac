"""What is over for long goes for good: messages that finished, calls of theirs, dedupe keys nobody asks about.

In small batches, each committed with its row in the ledger, so that it may be stopped and run again at any time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, Row

from relay.acting import acting
from relay.errors import RelayError
from relay.operators import statements as sql
from relay.operators.ledger import Order, record
from relay.sql import run


@dataclass(frozen=True, slots=True)
class Pruned:
    """How many rows one batch of ``prune`` deleted, by table."""

    messages: int = 0
    attempts: int = 0
    calls: int = 0

    def __add__(self, other: Pruned) -> Pruned:
        return Pruned(self.messages + other.messages, self.attempts + other.attempts, self.calls + other.calls)


def prunable(connection: Connection, older_than: timedelta) -> tuple[int, float | None]:
    """How many messages finished longer ago than that, and how long ago the first of them. Reads the whole table."""
    row = run(connection, sql.COUNT_PRUNABLE, older_than=older_than).one()
    return row.messages, row.oldest_seconds


def prune(engine: Engine, older_than: timedelta, order: Order, *, batch: int) -> Iterator[Pruned]:
    """Delete messages that finished longer ago than that, their attempts, and calls no message is left of.

    Yields what each batch removed, once it is committed together with its ledger row, which keeps the hash of the
    contents' hashes and what goes out of the books of each day. A dedupe key stays known. What another
    transaction has locked stays until the next time.
    """
    if older_than < timedelta(0):
        raise RelayError(
            "Only what finished in the past is pruned, and this time is still to come.",
            "Say how long ago it finished at least, for example 180 days.",
        )
    with engine.begin() as connection:
        cutoff: datetime = run(connection, sql.CUTOFF, older_than=older_than).scalar_one()
    begun = False
    for table, text in (("outbox", sql.PRUNE_MESSAGES), ("call", sql.PRUNE_CALLS)):
        told = replace(order, selection={**order.selection, "table": table, "before": cutoff.isoformat()})
        after, more = 0, True
        while more:
            with engine.begin() as connection, acting(connection, _unfinished("pruned", begun)):
                run(connection, sql.ALLOW_PRUNING)
                page = run(connection, text, after=after, batch=batch, cutoff=cutoff).one()
                if page.ids:
                    gone = page.ids if table == "outbox" else None
                    whole = replace(told, selection={**told.selection, **_facts(page, table)})
                    record(connection, "prune", whole, gone, len(page.ids))
            after, more = page.after, page.more
            begun = begun or bool(page.ids)
            if table == "outbox":
                yield Pruned(messages=len(page.ids), attempts=page.attempts)
            else:
                yield Pruned(calls=len(page.ids))


def may_forget_keys(connection: Connection) -> bool:
    """Whether this login may: as a rule the owner alone."""
    return bool(run(connection, sql.MAY_FORGET_KEYS).scalar_one())


def forget_keys(engine: Engine, older_than: timedelta, order: Order, *, batch: int) -> Iterator[int]:
    """Forget dedupe keys of messages that left the outbox longer ago than that: each may be used once more.

    Yields how many of them, batch by batch, once that is committed. PostgreSQL refuses less than a day.
    """
    forgotten, begun = batch, False
    while forgotten == batch:
        with engine.begin() as connection, acting(connection, _unfinished("forgotten", begun)):
            cutoff = run(connection, sql.CUTOFF, older_than=older_than).scalar_one()
            told = {"before": cutoff, "batch": batch, "actor": order.actor, "reason": order.reason}
            forgotten = run(connection, sql.FORGET_KEYS, **told).scalar_one()
        begun = begun or forgotten > 0
        yield forgotten


def _unfinished(done: str, begun: bool) -> str:
    """``begun``: batches before this one are committed."""
    if begun:
        return f"no more is {done}, nothing was changed since the last batch, which is in the ledger"
    return f"nothing is {done}, nothing was changed"


def _facts(page: Row[Any], table: str) -> dict[str, Any]:
    """What a ledger row keeps of what a prune removed."""
    if table == "outbox":
        return {name: getattr(page, name) for name in ("attempts", "hashes_sha256", "zone", "days")}
    return {"first_id": page.ids[0], "last_id": page.ids[-1]}
