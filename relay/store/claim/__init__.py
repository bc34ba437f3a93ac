"""The claim: lock ready rows, leave out what must wait, name calls. One transaction, over a Connection.

Drawn and told from the beginning in ``docs/claim.md``. Who does what: ``memory`` decides where to look (``moods``,
``turns``, ``floors``, ``roster``), ``search`` reads what it has to know for that, ``rows`` locks, ``writers`` and
``batches`` choose, ``naming`` writes. The SQL of all of it is in ``statements``.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from sqlalchemy import Connection

from relay.message import Batch, Message
from relay.store.claim.batches import cut_batches
from relay.store.claim.floors import Visit
from relay.store.claim.memory import Looked, Memory
from relay.store.claim.moods import Look
from relay.store.claim.naming import Naming
from relay.store.claim.rows import Locked, lock_ready
from relay.store.claim.search import search, unmet_among
from relay.store.claim.turns import ClaimCounts, next_turn, plentiful, visits
from relay.store.values import ClaimLimits


def claim(
    connection: Connection, memory: Memory, limits: ClaimLimits, *, worker: str, lease_seconds: float
) -> tuple[Look, Looked]:
    """Claim ready messages, account by account in turn. Needs READ COMMITTED (see ``statements.py``).

    The memory learns of it afterwards, once this transaction is committed.
    """
    floors, aside = memory.floors, memory.aside
    unmet = search(connection, memory, limits)
    look = memory.next_look(limits)
    started = time.monotonic()
    locked = lock_ready(connection, look, limits, floors, aside.ids())
    seconds = time.monotonic() - started
    unmet |= unmet_among(connection, memory, limits, look, locked)
    naming = Naming(connection, worker, lease_seconds, look.first_pending, floors.open_from, aside)
    expired = naming.fail_expired(locked.expired)
    alive = memory.writers.without_written(connection, locked.ready)
    chosen, left_out = cut_batches(
        alive,
        slots=limits.slots,
        limits_of=limits.of,
        may_wait=locked.may_wait,
    )
    batches = naming.name(chosen)
    found = ClaimCounts(
        ready=len(alive),
        fresh=locked.fresh,
        proposed=sum(map(len, chosen)),
        room=sum(limits.of(batch[0].account).batch_size for batch in chosen),
        named=sum(map(len, batches)),
        expired=expired,
    )
    after = next_turn(look.turn, locked.accounts_seen, found, more=locked.more, left_out=left_out, now=started)
    seen = _visits(look, locked, chosen, batches) if locked.remembered else ()
    plenty = plentiful(locked, limits)
    return look, Looked(
        batches, expired, after, seen, len(locked), seconds, locked.left_alone, frozenset(unmet), plenty
    )


def _visits(
    look: Look, locked: Locked, chosen: Sequence[Sequence[Message]], batches: Iterable[Batch]
) -> Sequence[Visit]:
    taken = {message.id for batch in chosen for message in batch} | set(locked.expired)
    first = {message.id for batch in batches for message in batch.messages}
    return list(
        visits(
            locked.accounts_seen,
            locked.due,
            taken=taken,
            first=first,
            known=look.first_pending,
            passed_over=look.passes_over,
        )
    )
