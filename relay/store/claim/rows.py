"""What the first statement of a claim found: ready messages, locked until the transaction ends, and where it looked."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import Connection

from relay.message import Message
from relay.sql import numbers
from relay.store.claim import statements as sql
from relay.store.claim.floors import Floors, Told
from relay.store.running import fetch_many
from relay.store.values import ClaimLimits, Turn


class Report(NamedTuple):
    """An account in its turn. ``cursor``: the last key looked at, if it has more. ``due_us``: now; None: left alone.

    ``heads``: ordering key → (id of its first pending message, whether that is in an open call).
    """

    nth: int
    account: str
    cursor: str | None
    due_us: int | None
    heads: Mapping[str, tuple[int, bool]]


@dataclass(slots=True)
class Locked:
    """``ready``: (place in the turn, message). ``due``: (account, available_at in µs, id), where it is remembered.

    ``fresh``: how many nobody had locked before; ``more``: there are accounts after those that were looked at.
    """

    ready: list[tuple[int, Message]] = field(default_factory=list)
    expired: list[int] = field(default_factory=list)
    may_wait: set[int] = field(default_factory=set)
    due: list[tuple[str, int, int]] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)
    fresh: int = 0
    more: bool = False

    def __len__(self) -> int:
        return len(self.ready) + len(self.expired)

    def leave_out_all_but(self, acquainted: Collection[str]) -> tuple[str, ...]:
        """Take out what nobody here may produce yet: the accounts that were not left alone, and have to be met."""
        unmet = {r.account for r in self.reports if r.due_us is not None and r.account not in acquainted}
        if unmet:
            self.ready = [(nth, message) for nth, message in self.ready if message.account not in unmet]
        return tuple(sorted(unmet))


def lock_ready(
    connection: Connection,
    schema: str,
    turn: Turn,
    limits: ClaimLimits,
    floors: Floors,
    told: Told | None,
    among: Sequence[str] | None = None,
    aside: Sequence[int] = (),
) -> Locked:
    """Lock messages that are ready: of the next accounts, of those ``told``, or ``among`` these; not what is aside."""
    parameters = {
        "open_from": floors.open_from,
        "aside": numbers(aside),
        "accounts": turn.accounts,
        "skip_accounts": list(limits.skip_accounts),
        "batch": limits.batch_size,
        "slots": limits.slots,
        "failed_holds": limits.failed_holds,
        "linger_seconds": limits.linger_seconds,
        "pass_over": turn.crowded_until > 0,
    }
    if told is not None:
        text, where = sql.LOCK_KNOWN, _as_told(told)
    elif among is not None:
        text, where = sql.LOCK_AMONG, _everywhere(turn, floors) | {"known_accounts": list(among)}
    else:
        text, where = sql.LOCK_READY, _everywhere(turn, floors)
    locked = _sorted_out(fetch_many(connection, text, schema, parameters | where))
    locked.more = len(locked.reports) > turn.accounts
    del locked.reports[turn.accounts :]
    if told is not None:
        locked.reports = [report._replace(cursor=told.cursors.get(report.account)) for report in locked.reports]
    return locked


def _everywhere(turn: Turn, floors: Floors) -> dict[str, Any]:
    return {
        "after_account": turn.after_account,
        "key_accounts": list(turn.keys),
        "keys": list(turn.keys.values()),
        "floor_accounts": [],
        "floors_us": [],
        "floor_ids": [],
        "remember": floors.remembering,
    }


def _as_told(told: Told) -> dict[str, Any]:
    floors = {account: place.floor for account, place in told.places.items() if place.floor is not None}
    return {
        "known_accounts": list(told.places),
        "key_accounts": [],
        "keys": [],
        "head_accounts": [account for account, _, _ in told.heads],
        "head_keys": [key for _, key, _ in told.heads],
        "head_ids": numbers(id_ for _, _, id_ in told.heads),
        "floor_accounts": list(floors),
        "floors_us": numbers(due_us for due_us, _ in floors.values()),
        "floor_ids": numbers(id_ for _, id_ in floors.values()),
        "remember": True,
    }


def _sorted_out(rows: Sequence[Any]) -> Locked:
    """One look at each row, by position: a claim has up to thousands."""
    locked = Locked()
    for row in rows:
        (
            nth,
            id_,
            account,
            topic,
            content,
            group,
            app_key,
            extra,
            key,
            attempts,
            deliver_before,
            expired,
            may_wait,
            fresh,
            due_us,
            *head,
        ) = row
        if id_ is None:
            keys, ids, in_flight = (values or () for values in head)
            heads = dict(zip(keys, zip(ids, in_flight, strict=True), strict=True))
            locked.reports.append(Report(nth, account, key, due_us, heads))
            continue
        if expired:
            locked.expired.append(id_)
        else:
            locked.ready.append(
                (nth, Message(id_, topic, content, account, group, app_key, extra, key, attempts, deliver_before))
            )
        if may_wait:
            locked.may_wait.add(id_)
        if fresh:
            locked.fresh += 1
        if due_us is not None:
            locked.due.append((account, due_us, id_))
    locked.reports.sort()
    return locked
