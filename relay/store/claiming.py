"""The claim: lock ready rows, leave out what must wait, name calls. One transaction, over a Connection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row

from relay import statements as sql
from relay.batches import cut_batches
from relay.message import Batch, Message
from relay.store.values import FEW_ACCOUNTS, Claim, ClaimLimits, Turn

_MANY_ACCOUNTS = 256
_FRUITLESS = 8  # claims in a row that found nothing: thousands of accounts or keys may be waiting, so take a rest


def claim(
    connection: Connection, schema: str, turn: Turn, limits: ClaimLimits, *, worker: str, lease_seconds: float
) -> Claim:
    """Claim ready messages, account by account in turn. Needs READ COMMITTED (see ``statements.py``)."""
    rows = _lock_ready(connection, schema, turn, limits)
    locked = [row for row in rows if row.id is not None]
    expired = _fail_expired(connection, schema, [row.id for row in locked if row.expired])
    alive = _without_keys_being_written(connection, schema, [row for row in locked if not row.expired])
    chosen, left_out = cut_batches(
        [(row.nth, _message(row)) for row in alive],
        slots=limits.slots,
        batch_size=limits.batch_size,
        max_bytes=limits.max_bytes,
        may_wait=frozenset(row.id for row in alive if row.due_seconds < limits.linger_seconds),
    )
    batches = _name_calls(connection, schema, chosen, worker, lease_seconds)
    return _claimed(turn, [row for row in rows if row.id is None], batches, expired, left_out)


def batches_of(rows: Sequence[Row[Any]], by_id: Mapping[int, Message]) -> tuple[Batch, ...]:
    """RETURNING promises no order of rows; message_ids alone says which message is at which index."""
    return tuple(Batch(row.id, row.account, tuple(by_id[id_] for id_ in row.message_ids)) for row in rows)


def _lock_ready(connection: Connection, schema: str, turn: Turn, limits: ClaimLimits) -> Sequence[Row[Any]]:
    parameters = {
        "after_account": turn.after_account,
        "accounts": turn.accounts,
        "key_accounts": list(turn.keys),
        "keys": list(turn.keys.values()),
        "skip_accounts": list(limits.skip_accounts),
        "batch": limits.batch_size,
        "slots": limits.slots,
        "failed_holds": limits.failed_holds,
    }
    return connection.execute(sql.statement(sql.LOCK_READY, schema), parameters).all()


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
    connection: Connection, schema: str, chosen: Sequence[Sequence[Message]], worker: str, lease_seconds: float
) -> tuple[Batch, ...]:
    if not chosen:
        return ()
    flat = [(number, message) for number, batch in enumerate(chosen) for message in batch]
    parameters = {
        "worker": worker,
        "lease_seconds": lease_seconds,
        "batches": [number for number, _ in flat],
        "accounts": [message.account for _, message in flat],
        "keys": [message.ordering_key for _, message in flat],
        "ids": [message.id for _, message in flat],
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
    turn: Turn, reports: Sequence[Row[Any]], batches: tuple[Batch, ...], expired: int, left_out: str | None
) -> Claim:
    """The claim, and where the next one starts. ``reports``: one row for each account looked at (see LOCK_READY)."""
    visited = sorted(reports, key=lambda report: report.nth)
    ended = len(visited) < turn.accounts
    seen = [report.account for report in visited]
    if left_out is not None:
        seen = seen[: seen.index(left_out)]
        ended = False
    from_the_start = turn.after_account == "" and ended
    # Accounts that a whole round did not meet have nothing pending; their keys are forgotten.
    keys = {} if from_the_start else {account: key for account, key in turn.keys.items() if account not in seen}
    keys |= {r.account: r.ordering_key for r in visited if r.ordering_key is not None and r.account in seen}
    after = "" if ended else (seen[-1] if seen else turn.after_account)
    fruitless = 0 if batches or expired else turn.fruitless + 1
    exhausted = fruitless > 0 and ((from_the_start and not turn.keys and not keys) or fruitless >= _FRUITLESS)
    # Looking far costs little when nothing is found, and much when each account looked at has messages to lock.
    accounts = FEW_ACCOUNTS if batches else min(turn.accounts * 4, _MANY_ACCOUNTS)
    return Claim(batches, Turn(after, keys, accounts, fruitless), expired, exhausted)
