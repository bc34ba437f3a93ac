"""The claim: lock ready rows, leave out what must wait, name calls. One transaction, over a Connection."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Row

from relay import statements as sql
from relay.batches import cut_batches
from relay.message import Batch, Message
from relay.store.floors import Floors, Told, Trace, Visit
from relay.store.looking import find_first_open_call, look_for_new
from relay.store.values import FEW_ACCOUNTS, Claim, ClaimLimits, Turn

_MANY_ACCOUNTS = 256
_FRUITLESS = 8  # claims in a row that found nothing: thousands of accounts or keys may be waiting, so take a rest


def claim(
    connection: Connection,
    schema: str,
    turn: Turn,
    limits: ClaimLimits,
    floors: Floors,
    *,
    worker: str,
    lease_seconds: float,
) -> tuple[Claim, Trace]:
    """Claim ready messages, account by account in turn. Needs READ COMMITTED (see ``statements.py``).

    The trace is for ``floors.note``, once this transaction is committed.
    """
    told = None
    if floors.resting:
        if floors.open_from_is_old:
            find_first_open_call(connection, schema, floors)
        look_for_new(connection, schema, floors)
        told = floors.tell(turn.accounts, limits.slots * limits.batch_size)
        turn = replace(floors.turn, accounts=turn.accounts, fruitless=turn.fruitless)
    started = time.monotonic()
    rows = _lock_ready(connection, schema, turn, limits, floors, told)
    seconds = time.monotonic() - started
    locked = [row for row in rows if row.id is not None]
    reports = sorted((row for row in rows if row.id is None), key=lambda report: report.nth)
    expired = _fail_expired(connection, schema, [row.id for row in locked if row.expired])
    alive = _without_keys_being_written(connection, schema, [row for row in locked if not row.expired])
    chosen, left_out = cut_batches(
        [(row.nth, _message(row)) for row in alive],
        slots=limits.slots,
        batch_size=limits.batch_size,
        max_bytes=limits.max_bytes,
        may_wait=frozenset(row.id for row in alive if row.may_wait),
    )
    batches = _name_calls(connection, schema, chosen, worker, lease_seconds, told, floors.open_from)
    cursors = told.cursors if told else {r.account: r.ordering_key for r in reports if r.ordering_key is not None}
    claimed, ended = _claimed(turn, [report.account for report in reports], cursors, batches, expired, left_out)
    visits: Sequence[Visit] = ()
    if told or floors.remembering:
        taken = {message.id for batch in chosen for message in batch} | {row.id for row in locked if row.expired}
        visits = list(_visits(reports, locked, taken))
    return claimed, Trace(told, visits, len(locked), seconds, ended, claimed.turn)


def batches_of(rows: Sequence[Row[Any]], by_id: Mapping[int, Message]) -> tuple[Batch, ...]:
    """RETURNING promises no order of rows; message_ids alone says which message is at which index."""
    return tuple(Batch(row.id, row.account, tuple(by_id[id_] for id_ in row.message_ids)) for row in rows)


def _lock_ready(
    connection: Connection, schema: str, turn: Turn, limits: ClaimLimits, floors: Floors, told: Told | None
) -> Sequence[Row[Any]]:
    parameters = {
        "open_from": floors.open_from,
        "skip_accounts": list(limits.skip_accounts),
        "batch": limits.batch_size,
        "slots": limits.slots,
        "failed_holds": limits.failed_holds,
        "linger_seconds": limits.linger_seconds,
    }
    if told is None:
        text = sql.LOCK_READY
        parameters |= {
            "after_account": turn.after_account,
            "accounts": turn.accounts,
            "key_accounts": list(turn.keys),
            "keys": list(turn.keys.values()),
            "floor_accounts": [],
            "floors_us": [],
            "floor_ids": [],
            "remember": floors.remembering,
        }
    else:
        text = sql.LOCK_KNOWN
        below = {account: place.floor for account, place in told.places.items() if place.floor is not None}
        parameters |= {
            "known_accounts": list(told.places),
            "head_accounts": [account for account, _, _ in told.heads],
            "head_keys": [key for _, key, _ in told.heads],
            "head_ids": [id_ for _, _, id_ in told.heads],
            "key_accounts": [],
            "keys": [],
            "floor_accounts": list(below),
            "floors_us": [due_us for due_us, _ in below.values()],
            "floor_ids": [id_ for _, id_ in below.values()],
            "remember": True,
        }
    return connection.execute(sql.statement(text, schema), parameters).all()


def _fail_expired(connection: Connection, schema: str, ids: list[int]) -> int:
    if not ids:
        return 0
    return len(connection.execute(sql.statement(sql.FAIL_EXPIRED, schema), {"ids": ids}).all())


def _without_keys_being_written(connection: Connection, schema: str, rows: list[Row[Any]]) -> list[Row[Any]]:
    keyed = [row for row in rows if row.ordering_key is not None]
    if not keyed:
        return rows
    parameters = {"accounts": [row.account for row in keyed], "keys": [row.ordering_key for row in keyed]}
    positions = connection.execute(sql.statement(sql.KEYS_BEING_WRITTEN, schema), parameters).scalars()
    waiting = {keyed[position - 1].id for position in positions}
    return [row for row in rows if row.id not in waiting]


def _name_calls(
    connection: Connection,
    schema: str,
    chosen: Sequence[Sequence[Message]],
    worker: str,
    lease_seconds: float,
    told: Told | None,
    open_from: int,
) -> tuple[Batch, ...]:
    if not chosen:
        return ()
    flat = [(number, message) for number, batch in enumerate(chosen) for message in batch]
    keys_from = {(account, key): id_ for account, key, id_ in told.heads} if told else {}
    parameters = {
        "worker": worker,
        "lease_seconds": lease_seconds,
        "batches": [number for number, _ in flat],
        "accounts": [message.account for _, message in flat],
        "keys": [message.ordering_key for _, message in flat],
        "keys_from": [keys_from.get((message.account, message.ordering_key or ""), 0) for _, message in flat],
        "ids": [message.id for _, message in flat],
        "open_from": open_from,
    }
    rows = connection.execute(sql.statement(sql.NAME_CALLS, schema), parameters).all()
    return batches_of(rows, {message.id: message for _, message in flat})


def _message(row: Row[Any]) -> Message:
    return Message(
        id=row.id,
        topic=row.topic,
        content=row.content,
        account=row.account,
        target_group=row.target_group,
        target_app_key=row.target_app_key,
        json_ex_content=row.json_ex_content,
        ordering_key=row.ordering_key,
        attempts=row.attempts,
    )


def _claimed(
    turn: Turn,
    seen: list[str],
    cursors: Mapping[str, str],
    batches: tuple[Batch, ...],
    expired: int,
    left_out: str | None,
) -> tuple[Claim, bool]:
    """The claim, where the next one starts, and whether all accounts had their turn.

    ``seen``: the accounts looked at, in turn; ``cursors``: the last key looked at of those with more of them.
    """
    ended = len(seen) < turn.accounts
    if left_out is not None:
        seen = seen[: seen.index(left_out)]
        ended = False
    from_the_start = turn.after_account == "" and ended
    # Accounts that a whole round did not meet have nothing pending; their keys are forgotten.
    keys = {} if from_the_start else {account: key for account, key in turn.keys.items() if account not in seen}
    keys |= {account: cursors[account] for account in seen if account in cursors}
    after = "" if ended else (seen[-1] if seen else turn.after_account)
    fruitless = 0 if batches or expired else turn.fruitless + 1
    exhausted = fruitless > 0 and ((from_the_start and not turn.keys and not keys) or fruitless >= _FRUITLESS)
    # Looking far costs little when nothing is found, and much when each account looked at has messages to lock.
    accounts = FEW_ACCOUNTS if batches else min(turn.accounts * 4, _MANY_ACCOUNTS)
    return Claim(batches, Turn(after, keys, accounts, fruitless), expired, exhausted), ended


def _visits(reports: Sequence[Row[Any]], locked: Sequence[Row[Any]], taken: Collection[int]) -> Iterator[Visit]:
    """Where the next look at each account may begin: behind all that was taken of it, and before what was left."""
    for report in reports:
        due = sorted(
            (row.due_us, row.id) for row in locked if row.account == report.account and row.ordering_key is None
        )
        left = [place for place in due if place[1] not in taken]
        passed = [place for place in due if not left or place < left[0]]
        opened = report.due_us is not None
        floor = passed[-1] if passed else ((report.due_us, 0) if opened and not due else None)
        heads = dict(zip(report.head_keys or (), report.head_ids or (), strict=True))
        yield Visit(report.account, opened, floor, heads)
