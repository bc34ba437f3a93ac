"""The relay's short transactions: claim, settle, extend, recover. One method, one transaction, never HTTP in between.

All methods are plain blocking functions over one engine; the worker runs them in threads (cheaper than an async driver:
a claim costs half the CPU) and so may a script. What stays true:

- a message is in at most one open call (see ``statements.py`` for why);
- a call is settled once: whoever closes its row owns the outcome, everyone else changes nothing;
- a database that cannot be reached, or has become read-only after a fail-over, is an UnreachableError, and what was
  being written may be written again.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Engine, Row
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from relay import statements as sql
from relay.batches import cut_batches
from relay.errors import UnreachableError
from relay.message import Batch, Message
from relay.outcomes import PauseOrder, Policy, Settlement, lapsed

_READ_ONLY = "25006"  # read_only_sql_transaction: we are talking to a standby
_LAPSED_AT_ONCE = 100
_MAX_TEXT = 1000
_FEW_ACCOUNTS = 8
_MANY_ACCOUNTS = 256


@dataclass(frozen=True, slots=True)
class Turn:
    """Where the last claim stopped: after which account, and after which ordering key of accounts with many keys."""

    after_account: str = ""
    keys: Mapping[str, str] = field(default_factory=dict)
    accounts: int = _FEW_ACCOUNTS  # how many accounts the next claim looks at


@dataclass(frozen=True, slots=True)
class Claim:
    """What was claimed. ``exhausted``: every account was looked at and nothing more is ready now."""

    batches: tuple[Batch, ...]
    turn: Turn
    expired: int
    exhausted: bool


@dataclass(frozen=True, slots=True)
class Pause:
    """A pause in force. ``seconds_left`` None: until somebody resumes it, or another credential."""

    scope: str
    seconds_left: float | None
    reason: str
    error_code: str | None
    credential: str | None


@dataclass(frozen=True, slots=True)
class Settled:
    """``lost``: calls somebody else had settled. ``children``: halves of split calls, claimed for this worker."""

    lost: frozenset[int]
    children: tuple[Batch, ...]


class Store:
    """The database side of one worker."""

    def __init__(self, engine: Engine, *, worker: str, lease_seconds: float, schema: str = "relay") -> None:
        self._engine = engine
        self._worker = worker
        self._lease_seconds = lease_seconds
        self._schema = schema

    def claim(
        self, turn: Turn, *, slots: int, batch_size: int, max_bytes: int, skip_accounts: Sequence[str] = ()
    ) -> Claim:
        """Claim up to ``slots`` batches of ready messages, account by account in turn."""
        with self._transaction() as connection:
            rows = self._lock_ready(connection, turn, slots, batch_size, skip_accounts)
            expired = self._fail_expired(connection, [row.id for row in rows if row.id and row.expired])
            ready = [(row.nth, _message(row)) for row in rows if row.id and not row.expired]
            chosen, unused_account = cut_batches(ready, slots=slots, batch_size=batch_size, max_bytes=max_bytes)
            batches = self._name_calls(connection, chosen)
        return _claimed(turn, [row for row in rows if row.id is None], batches, expired, unused_account)

    def settle(self, settlements: Sequence[Settlement], sent: Mapping[int, tuple[float, float]]) -> Settled:
        """Write the outcomes of these calls. ``sent``: call id → (monotonic seconds when sent, duration in seconds)."""
        with self._transaction() as connection:
            return self._settle(connection, settlements, sent)

    def extend(self, call_ids: Sequence[int]) -> frozenset[int]:
        """Let the leases of these calls run anew; those that were still ours."""
        parameters = {"ids": list(call_ids), "lease_seconds": self._lease_seconds}
        with self._transaction() as connection:
            return frozenset(self._run(connection, sql.EXTEND, parameters).scalars())

    def recover(self, policy: Policy, rng: random.Random) -> tuple[Settlement, ...]:
        """Settle as unknown the calls whose lease ran out, whoever made them; at most a hundred at once."""
        with self._transaction() as connection:
            rows = self._run(connection, sql.LOCK_LAPSED, {"calls": _LAPSED_AT_ONCE}).all()
            settlements = tuple(
                lapsed(row.id, row.account, list(zip(row.message_ids, row.attempts, strict=True)), policy, rng)
                for row in rows
            )
            if settlements:
                self._settle(connection, settlements, {})
        return settlements

    def pauses(self) -> tuple[Pause, ...]:
        """The pauses in force."""
        with self._transaction() as connection:
            rows = self._run(connection, sql.PAUSES, {}).all()
        return tuple(
            Pause(
                row.scope,
                None if row.until_resumed else float(row.seconds_left),
                row.reason,
                row.error_code,
                row.credential,
            )
            for row in rows
        )

    def lift_pause(self, scope: str, credential: str) -> bool:
        """End a pause that was ordered because of this credential; False when it is gone already."""
        with self._transaction() as connection:
            parameters = {"scope": scope, "credential": credential}
            return self._run(connection, sql.LIFT_PAUSE, parameters).first() is not None

    def still_moving(self, skip_accounts: Sequence[str] = ()) -> bool:
        """Whether anything is in flight, or pending and not waiting for a person."""
        with self._transaction() as connection:
            return bool(self._run(connection, sql.STILL_MOVING, {"skip_accounts": list(skip_accounts)}).scalar_one())

    def pending(self) -> int:
        """How many messages are pending, whatever they wait for."""
        with self._transaction() as connection:
            return int(self._run(connection, sql.COUNT_PENDING, {}).scalar_one())

    def _lock_ready(
        self, connection: Connection, turn: Turn, slots: int, batch_size: int, skip_accounts: Sequence[str]
    ) -> Sequence[Row[Any]]:
        parameters = {
            "after_account": turn.after_account,
            "accounts": turn.accounts,
            "key_accounts": list(turn.keys),
            "keys": list(turn.keys.values()),
            "skip_accounts": list(skip_accounts),
            "batch": batch_size,
            "slots": slots,
        }
        rows: Sequence[Row[Any]] = self._run(connection, sql.LOCK_READY, parameters).all()
        return rows

    def _fail_expired(self, connection: Connection, ids: list[int]) -> int:
        return len(self._run(connection, sql.FAIL_EXPIRED, {"ids": ids}).all()) if ids else 0

    def _name_calls(self, connection: Connection, chosen: Sequence[Sequence[Message]]) -> tuple[Batch, ...]:
        if not chosen:
            return ()
        flat = [(number, message) for number, batch in enumerate(chosen) for message in batch]
        parameters = {
            "worker": self._worker,
            "lease_seconds": self._lease_seconds,
            "batches": [number for number, _ in flat],
            "accounts": [message.account for _, message in flat],
            "ids": [message.id for _, message in flat],
        }
        rows = self._run(connection, sql.NAME_CALLS, parameters).all()
        return _batches(rows, {message.id: message for _, message in flat})

    def _settle(
        self, connection: Connection, settlements: Sequence[Settlement], sent: Mapping[int, tuple[float, float]]
    ) -> Settled:
        owned = set(self._run(connection, sql.CLOSE_CALLS, _closing(settlements, sent)).scalars())
        ours = [settlement for settlement in settlements if settlement.call_id in owned]
        done = [(id_, s.call_id, index) for s in ours for id_, index in s.done]
        if done:
            self._run(connection, sql.MARK_DONE, _columns(done, "ids", "call_ids", "result_indexes"))
        if any(s.verdicts for s in ours):
            self._run(connection, sql.MARK_NOT_DONE, _not_done(ours))
        children = self._split(connection, [s for s in ours if s.halves])
        for order in (s.pause for s in ours if s.pause):
            self._run(connection, sql.PAUSE, self._pause(order))
        return Settled(frozenset(s.call_id for s in settlements) - owned, children)

    def _split(self, connection: Connection, settlements: Sequence[Settlement]) -> tuple[Batch, ...]:
        halves = [(s, half) for s in settlements for half in s.halves]
        if not halves:
            return ()
        flat = [(number, s, message) for number, (s, half) in enumerate(halves) for message in half]
        parameters = {
            "worker": self._worker,
            "lease_seconds": self._lease_seconds,
            "batches": [number for number, _, _ in flat],
            "accounts": [s.account for _, s, _ in flat],
            "parent_ids": [s.call_id for _, s, _ in flat],
            "ids": [message.id for _, _, message in flat],
        }
        rows = self._run(connection, sql.SPLIT, parameters).all()
        return _batches(rows, {message.id: message for _, _, message in flat})

    def _pause(self, order: PauseOrder) -> dict[str, Any]:
        return {
            "scope": order.scope,
            "seconds": order.seconds,
            "reason": order.reason,
            "error_code": order.error_code,
            "credential": order.credential,
            "by": self._worker,
        }

    def _run(self, connection: Connection, text: str, parameters: Mapping[str, Any]) -> Any:
        return connection.execute(sql.statement(text, self._schema), parameters)

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        try:
            with self._engine.begin() as connection:
                yield connection
        except PoolTimeout as error:
            raise UnreachableError("No connection to PostgreSQL became free in time.") from error
        except DBAPIError as error:
            if is_lost(error):
                raise UnreachableError(f"PostgreSQL was lost: {type(error.orig).__name__}.") from error
            raise


def is_lost(error: DBAPIError) -> bool:
    """Whether the server or the way to it is gone, or it has become a read-only standby: trying again helps.

    Class 08 is a connection exception, 57P01 to 57P03 a server that stops or starts, 40001 and 40P01 a transaction
    that has only to be run once more.
    """
    state = getattr(error.orig, "sqlstate", None)
    if error.connection_invalidated or state is None:
        return error.connection_invalidated or type(error.orig).__name__ in ("OperationalError", "InterfaceError")
    return state.startswith("08") or state in (_READ_ONLY, "57P01", "57P02", "57P03", "40001", "40P01", "53300")


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


def _batches(rows: Sequence[Row[Any]], by_id: Mapping[int, Message]) -> tuple[Batch, ...]:
    """RETURNING promises no order of rows; message_ids alone says which message is at which index."""
    return tuple(Batch(row.id, row.account, tuple(by_id[id_] for id_ in row.message_ids)) for row in rows)


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
    keys = {account: key for account, key in turn.keys.items() if account not in seen}
    keys |= {r.account: r.ordering_key for r in visited if r.ordering_key is not None and r.account in seen}
    after = "" if ended else (seen[-1] if seen else turn.after_account)
    whole_round = turn.after_account == "" and ended and not turn.keys and not keys
    # Looking far costs little when nothing is found, and much when each account looked at has messages to lock.
    accounts = _FEW_ACCOUNTS if batches else min(turn.accounts * 4, _MANY_ACCOUNTS)
    return Claim(batches, Turn(after, keys, accounts), expired, exhausted=whole_round and not batches and not expired)


def _closing(settlements: Sequence[Settlement], sent: Mapping[int, tuple[float, float]]) -> dict[str, Any]:
    """The parameters of CLOSE_CALLS. When a call was sent is told as seconds ago: host clocks take no part."""
    now = time.monotonic()
    timing = [sent.get(s.call_id) for s in settlements]
    return {
        "ids": [s.call_id for s in settlements],
        "outcomes": [s.outcome for s in settlements],
        "http_statuses": [s.http_status for s in settlements],
        "request_ids": [storable(s.request_id) for s in settlements],
        "error_codes": [storable(s.error_code) for s in settlements],
        "sub_codes": [storable(s.sub_code) for s in settlements],
        "error_messages": [storable(s.error_message) for s in settlements],
        "request_bytes": [s.request_bytes for s in settlements],
        "durations_ms": [None if t is None else round(t[1] * 1000) for t in timing],
        "sent_seconds_ago": [None if t is None else now - t[0] for t in timing],
    }


def _not_done(settlements: Sequence[Settlement]) -> dict[str, Any]:
    rows = [
        (
            v.message_id,
            s.call_id,
            v.result_index,
            v.outcome.value,
            v.burned,
            v.final,
            storable(v.code),
            storable(v.message),
            storable(v.row_code),
            storable(v.row_message),
            v.delay_seconds,
        )
        for s in settlements
        for v in s.verdicts
    ]
    return _columns(
        rows,
        *("ids", "call_ids", "result_indexes", "outcomes", "burned", "final"),
        *("error_codes", "error_messages", "row_codes", "row_messages", "delays_seconds"),
    )


def storable(text: str | None) -> str | None:
    """What a platform said, as PostgreSQL can keep it: no NUL, no half of a surrogate pair, not without end.

    Without this one mad answer could never be settled.
    """
    if text is None:
        return None
    return text[:_MAX_TEXT].encode("utf-8", "replace").decode().replace("\0", " ")


def _columns(rows: Sequence[tuple[Any, ...]], *names: str) -> dict[str, Any]:
    """Rows turned into one array a column, as ``unnest`` takes them."""
    return {name: list(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}
