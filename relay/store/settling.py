"""Settling: outcomes of any number of calls, in one transaction, over a Connection.

The call rows come first and are the guard: the session that closes a call owns its outcome. Then the messages, once
each. What was written is compared with what was named (see ``swallowed.py``).
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection

from relay import statements as sql
from relay.message import Batch, CallKey
from relay.outcomes import PauseOrder, Settlement
from relay.sql import numbers
from relay.store.apart import write_apart
from relay.store.claim.naming import batches_of, nonces
from relay.store.evidence import code, delay, number, storable
from relay.store.running import fetch, run
from relay.store.swallowed import Swallowed
from relay.store.values import Settled

# When a call was sent and how long it took: call → (monotonic seconds, seconds).
Sent = Mapping[CallKey, tuple[float, float]]


def settle(
    connection: Connection,
    settlements: Sequence[Settlement],
    sent: Sent,
    *,
    worker: str,
    lease_seconds: float,
    tried: Collection[CallKey] = (),
) -> Settled:
    """Write everything about these calls that nobody has settled before.

    ``tried``: those that this worker tried to settle before, and never heard whether that was committed.
    """
    swallowed = Swallowed(connection)
    owned = _keys(fetch(connection, sql.CLOSE_CALLS, _closing(settlements, sent)))
    ours = [settlement for settlement in settlements if settlement.key in owned]
    if len(ours) < len(settlements):
        swallowed.closing(settlements)
    done = sum(len(s.done) for s in ours)
    if done and run(connection, sql.MARK_DONE, _done(ours)) != done:
        swallowed.done(ours)
    verdicts = sum(len(s.verdicts) for s in ours)
    if verdicts and run(connection, sql.MARK_NOT_DONE, _not_done(ours)) != verdicts:
        swallowed.verdicts(ours)
    for order in (s.pause for s in ours if s.pause):
        if not run(connection, sql.PAUSE, _pausing(order, worker)):
            swallowed.anything("pause", order.scope)
    children = _split(connection, ours, worker, lease_seconds)
    if unsure := [s for s in settlements if s.key in tried and s.key not in owned]:
        before = _settled_before(connection, unsure)
        owned |= {settlement.key for settlement in before}
        children += _take_halves(connection, before, worker, lease_seconds)
    return Settled(frozenset(s.key for s in settlements) - owned, children)


class NobodyToBlameError(Exception):
    """No message is in the way of the call's settling."""


def settle_apart(connection: Connection, settlement: Settlement) -> tuple[set[int], set[int], dict[int, str]]:
    """End the messages of this call that end by it and can; the call stays open, and what is left with it.

    Those that are done now, those that failed now, and those that are refused with the reasons. A message that is to
    be tried again is left: until its call is settled nobody may have it.
    """
    swallowed = Swallowed(connection)

    def mark_done(ids: Sequence[int]) -> None:
        some = replace(settlement, done=tuple(pair for pair in settlement.done if pair[0] in ids), verdicts=())
        if run(connection, sql.MARK_DONE, _done([some])) != len(ids):
            swallowed.done([some])

    def mark_failed(ids: Sequence[int]) -> None:
        chosen = tuple(v for v in settlement.verdicts if v.message_id in ids)
        some = replace(settlement, done=(), verdicts=chosen)
        if run(connection, sql.MARK_NOT_DONE, _not_done([some])) != len(ids):
            swallowed.verdicts([some])

    if not fetch(connection, sql.LOCK_OPEN, {"id": settlement.call_id, "nonce": settlement.nonce}):
        return set(), set(), {}
    done = [id_ for id_, _ in settlement.done]
    final = [verdict.message_id for verdict in settlement.verdicts if verdict.final]
    refused = write_apart(connection, done, mark_done) | write_apart(connection, final, mark_failed)
    return set(done) - refused.keys(), set(final) - refused.keys(), refused


def _split(
    connection: Connection, settlements: Sequence[Settlement], worker: str, lease_seconds: float
) -> tuple[Batch, ...]:
    halves = [(s, half) for s in settlements for half in s.halves]
    if not halves:
        return ()
    nonce_of = nonces(len(halves))
    flat = [(number, s, message) for number, (s, half) in enumerate(halves) for message in half]
    parameters = {
        "worker": worker,
        "lease_seconds": lease_seconds,
        "batches": [number for number, _, _ in flat],
        "accounts": [s.account for _, s, _ in flat],
        "parent_ids": [s.call_id for _, s, _ in flat],
        "ids": [message.id for _, _, message in flat],
        "nonces": [nonce_of[number] for number, _, _ in flat],
    }
    rows = fetch(connection, sql.SPLIT, parameters)
    if len(rows) != len(halves):
        Swallowed(connection).anything("call", "the halves of a call that is split")
    return batches_of(rows, {message.id: message for _, _, message in flat})


def _settled_before(connection: Connection, settlements: Sequence[Settlement]) -> list[Settlement]:
    """Those that we have written ourselves already, in a commit whose acknowledgement never came."""
    parameters = {
        "ids": [s.call_id for s in settlements],
        "nonces": [s.nonce for s in settlements],
        "outcomes": [s.outcome for s in settlements],
    }
    keys = _keys(fetch(connection, sql.SETTLED_BEFORE, parameters))
    return [settlement for settlement in settlements if settlement.key in keys]


def _take_halves(
    connection: Connection, settlements: Sequence[Settlement], worker: str, lease_seconds: float
) -> tuple[Batch, ...]:
    """The calls that such a commit has split into."""
    messages = {message.id: message for s in settlements for half in s.halves for message in half}
    if not messages:
        return ()
    parents = [s.call_id for s in settlements if s.halves]
    parameters = {"parent_ids": parents, "worker": worker, "lease_seconds": lease_seconds}
    return batches_of(fetch(connection, sql.TAKE_HALVES, parameters), messages)


def _keys(rows: Sequence[Any]) -> set[CallKey]:
    return {CallKey(row.id, row.nonce) for row in rows}


def _closing(settlements: Sequence[Settlement], sent: Sent) -> dict[str, Any]:
    """The parameters of CLOSE_CALLS. When a call was sent is told as seconds ago: host clocks take no part."""
    now = time.monotonic()
    timing = [sent.get(s.key) for s in settlements]
    return {
        "ids": [s.call_id for s in settlements],
        "nonces": [s.nonce for s in settlements],
        "outcomes": [s.outcome for s in settlements],
        "http_statuses": [number(s.http_status, 2) for s in settlements],
        "request_ids": [code(s.request_id) for s in settlements],
        "error_codes": [code(s.error_code) for s in settlements],
        "sub_codes": [code(s.sub_code) for s in settlements],
        "error_messages": [storable(s.error_message) for s in settlements],
        "request_bytes": [number(s.request_bytes, 4) for s in settlements],
        "durations_ms": [None if t is None else number(round(t[1] * 1000), 4) for t in timing],
        "sent_seconds_ago": [None if t is None else now - t[0] for t in timing],
    }


def _not_done(settlements: Sequence[Settlement]) -> dict[str, Any]:
    """The parameters of MARK_NOT_DONE."""
    rows = [
        (
            v.message_id,
            s.call_id,
            v.result_index,
            v.outcome.value,
            v.pays,
            v.final,
            code(v.code),
            storable(v.message),
            code(v.row_code),
            storable(v.row_message),
            delay(v.delay_seconds),
        )
        for s in settlements
        for v in s.verdicts
    ]
    return _columns(
        rows,
        *("ids", "call_ids", "result_indexes", "outcomes", "pays", "final"),
        *("error_codes", "error_messages", "row_codes", "row_messages", "delays_seconds"),
    )


def _done(settlements: Sequence[Settlement]) -> dict[str, str]:
    """The parameters of MARK_DONE, the one statement that has something to say about every message."""
    return {
        "ids": numbers(id_ for s in settlements for id_, _ in s.done),
        "call_ids": numbers(s.call_id for s in settlements for _ in s.done),
        "result_indexes": numbers(index for s in settlements for _, index in s.done),
    }


def _pausing(order: PauseOrder, worker: str) -> dict[str, Any]:
    return {
        "scope": order.scope,
        "seconds": delay(order.seconds),
        "reason": storable(order.reason),
        "error_code": code(order.error_code),
        "credential": order.fingerprint,
        "by": worker,
    }


def _columns(rows: Sequence[tuple[Any, ...]], *names: str) -> dict[str, Any]:
    """Rows turned into one array a column, as ``unnest`` takes them."""
    return {name: list(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}
