"""The claim: lock ready rows, leave out what must wait, name calls. One transaction, over a Connection."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection

from relay.message import Batch, Message
from relay.sql import numbers
from relay.store.apart import Aside, write_apart
from relay.store.claim import statements as sql
from relay.store.claim.batches import cut_batches
from relay.store.claim.floors import Floors, Told, Trace, Visit
from relay.store.claim.roster import Roster
from relay.store.claim.rows import lock_ready
from relay.store.claim.search import find_first_open_call, look_for_new, look_for_retries, not_paused
from relay.store.claim.turns import FRUITLESS, After, Found, next_turn, visits
from relay.store.claim.writers import Writers
from relay.store.running import fetch
from relay.store.swallowed import Swallowed
from relay.store.values import FEW_ACCOUNTS, Claim, ClaimLimits, Turn


@dataclass(frozen=True, slots=True)
class _Where:
    """Which accounts a claim looks at: the next ones of all from ``turn`` on, those ``told``, or ``among`` these.

    ``unmet``: accounts that have to be met first.
    """

    turn: Turn
    unmet: set[str]
    told: Told | None = None
    among: Sequence[str] | None = None


def claim(
    connection: Connection,
    schema: str,
    turn: Turn,
    limits: ClaimLimits,
    floors: Floors,
    roster: Roster,
    writers: Writers,
    aside: Aside,
    *,
    worker: str,
    lease_seconds: float,
) -> tuple[Claim, Trace]:
    """Claim ready messages, account by account in turn. Needs READ COMMITTED (see ``statements.py``).

    The trace is for ``floors.note``, once this transaction is committed.
    """
    if floors.resting or floors.remembering:
        look_for_retries(connection, schema, floors)
    where = _where(connection, schema, turn, limits, floors, roster)
    started = time.monotonic()
    locked = lock_ready(connection, schema, where.turn, limits, floors, where.told, where.among, aside.ids())
    seconds = time.monotonic() - started
    if limits.acquainted is not None:
        where.unmet.update(locked.leave_out_all_but(limits.acquainted))
    left_alone = len(where.unmet) + sum(report.due_us is None for report in locked.reports)
    if where.unmet and where.told is None and where.among is None:  # all together, so that none has a start
        where.unmet.update(roster.look_ahead(connection, schema, limits, locked.reports[-1].account))
    expired = _fail_expired(connection, schema, locked.expired, aside)
    alive = writers.without_written(connection, schema, locked.ready)
    chosen, left_out = cut_batches(
        alive,
        slots=limits.slots,
        batch_size=limits.batch_size,
        max_bytes=limits.max_bytes,
        may_wait=locked.may_wait,
    )
    known = {(account, key): id_ for account, key, id_ in where.told.heads} if where.told else {}
    naming = _Naming(connection, schema, worker, lease_seconds, known, floors.open_from)
    batches = naming.apart(chosen, aside) if aside.careful else naming.calls(chosen)
    found = Found(
        ready=len(alive),
        fresh=locked.fresh,
        proposed=sum(map(len, chosen)),
        room=limits.batch_size * len(chosen),
        named=sum(map(len, batches)),
        expired=expired,
    )
    after = next_turn(where.turn, locked.reports, found, more=locked.more, left_out=left_out, now=started)
    seen: list[Visit] = []
    if where.told or floors.remembering:
        taken = {message.id for batch in chosen for message in batch} | set(locked.expired)
        first = {message.id for batch in batches for message in batch.messages}
        passed_over = where.turn.crowded_until > 0
        seen = list(visits(locked.reports, locked.due, taken=taken, first=first, known=known, passed_over=passed_over))
    trace = Trace(where.told, seen, len(locked), seconds, after.round_over, after.turn)
    return _claimed(turn, where, after, batches, expired, roster, left_alone), trace


def _where(
    connection: Connection, schema: str, turn: Turn, limits: ClaimLimits, floors: Floors, roster: Roster
) -> _Where:
    """At which accounts to look now; nothing of this locks a row."""
    resting = floors.resting
    crowded = roster.crowded and not resting
    if crowded:
        turn = roster.turn
    if turn.accounts <= FEW_ACCOUNTS:  # of each that is looked at rows are locked: no more than can be served
        turn = replace(turn, accounts=min(turn.accounts, limits.slots))
    if resting:
        told, unmet = _told(connection, schema, floors, turn, limits)
        turn = replace(floors.turn, accounts=turn.accounts, fruitless=turn.fruitless, crowded_until=0.0, in_vain=False)
        return _Where(turn, unmet, told=told)
    if crowded:
        unmet = roster.look_around(connection, schema, limits)
        return _Where(turn, unmet, among=roster.tell(turn.accounts + 1))
    return _Where(turn, set())


def _claimed(
    turn: Turn, where: _Where, after: After, batches: tuple[Batch, ...], expired: int, roster: Roster, left_alone: int
) -> Claim:
    """What the worker is told, and what the roster learns of it."""
    exhausted, everywhere = after.exhausted and not where.unmet, after.everywhere
    for batch in batches:
        roster.came_by(batch.account)
    if where.among is not None:
        exhausted = exhausted and not (roster.in_a_hurry and after.turn.fruitless < FRUITLESS)
        roster.turn, everywhere = after.turn, False
    elif where.told is not None:
        turn, everywhere = after.turn, False
    else:
        turn = after.turn
        roster.went_round(left_alone, round_over=after.round_over)
    return Claim(batches, turn, expired, exhausted, everywhere, frozenset(where.unmet))


def batches_of(rows: Sequence[Any], by_id: Mapping[int, Message]) -> tuple[Batch, ...]:
    """RETURNING promises no order of rows; message_ids alone says which message is at which index."""
    return tuple(Batch(row.id, row.account, tuple(by_id[id_] for id_ in row.message_ids), row.nonce) for row in rows)


def nonces(count: int) -> list[int]:
    """What no other call has: drawn by the worker, so that no database can give it out again."""
    return [1 + secrets.randbelow(2**63 - 1) for _ in range(count)]


def _told(
    connection: Connection, schema: str, floors: Floors, turn: Turn, limits: ClaimLimits
) -> tuple[Told, set[str]]:
    """Where to look, and the accounts of new messages that have to be met first."""
    if floors.open_from_is_old:
        find_first_open_call(connection, schema, floors)
    new, acquainted = look_for_new(connection, schema, floors), limits.acquainted
    unmet = set() if acquainted is None else not_paused(connection, schema, new.difference(acquainted))
    return floors.tell(turn.accounts + 1, limits.slots * limits.batch_size, acquainted), unmet


def _fail_expired(connection: Connection, schema: str, ids: list[int], aside: Aside) -> int:
    def fail(some: Sequence[int]) -> int:
        return len(fetch(connection, sql.FAIL_EXPIRED, schema, {"ids": list(some)}))

    if not ids:
        return 0
    if aside.careful:
        counts: list[int] = []
        aside.put(write_apart(connection, ids, lambda some: counts.append(fail(some))))
        return sum(counts)
    failed = fail(ids)
    if not failed:
        Swallowed(connection, schema).if_somebody_else_has_a_say("outbox", "messages that expired")
    return failed


@dataclass(frozen=True, slots=True)
class _Naming:
    """The second statement of a claim. ``known``: (account, ordering key) → its first pending message."""

    connection: Connection
    schema: str
    worker: str
    lease_seconds: float
    known: Mapping[tuple[str, str], int]
    open_from: int

    def calls(self, chosen: Sequence[Sequence[Message]]) -> tuple[Batch, ...]:
        if not chosen:
            return ()
        by_id = {message.id: message for batch in chosen for message in batch}
        keyed = [message for message in by_id.values() if message.ordering_key is not None]
        parameters = {
            "worker": self.worker,
            "lease_seconds": self.lease_seconds,
            "accounts": [batch[0].account for batch in chosen],
            "nonces": nonces(len(chosen)),
            "ids": numbers(by_id),
            "batches": numbers(number for number, batch in enumerate(chosen, start=1) for _ in batch),
            "keyed_ids": numbers(message.id for message in keyed),
            "key_accounts": [message.account for message in keyed],
            "keys": [message.ordering_key for message in keyed],
            "keys_from": numbers(self.known.get((m.account, m.ordering_key or ""), 0) for m in keyed),
            "open_from": self.open_from,
        }
        rows = fetch(self.connection, sql.NAME_CALLS, self.schema, parameters)
        if not rows:
            Swallowed(self.connection, self.schema).if_somebody_else_has_a_say("call", "a claim")
        return batches_of(rows, by_id)

    def apart(self, chosen: Sequence[Sequence[Message]], aside: Aside) -> tuple[Batch, ...]:
        """Batch by batch, and a batch by halves: what is refused is put aside."""
        named: list[Batch] = []
        for batch in chosen:
            by_id = {message.id: message for message in batch}

            def name(some: Sequence[int], by_id: dict[int, Message] = by_id) -> None:
                named.extend(self.calls([[by_id[id_] for id_ in some]]))

            aside.put(write_apart(self.connection, list(by_id), name))
        return tuple(named)
