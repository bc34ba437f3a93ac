"""What the first statement of a claim found: ready messages, locked until the transaction ends, and where it looked."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import Connection

from relay.message import Message
from relay.sql import numbers
from relay.store.claim import statements as sql
from relay.store.claim.floors import Floors
from relay.store.claim.moods import Known, Listed, Look, Turn
from relay.store.running import fetch_many
from relay.store.values import ClaimLimits


class AccountSeen(NamedTuple):
    """An account in its turn. ``cursor``: the last key looked at, if it has more. ``looked_us``: when, in microseconds
    since 1970; None: it was left alone.

    ``heads``: ordering key → (id of its first pending message, whether that is in an open call).
    """

    nth: int
    account: str
    cursor: str | None
    looked_us: int | None
    heads: Mapping[str, tuple[int, bool]]


@dataclass(slots=True)
class Locked:
    """``ready``: (place in the turn, message). ``due``: (account, available_at in µs, id), where it is ``remembered``.

    ``fresh``: how many nobody had locked before; ``more``: there are accounts after those that were looked at;
    ``left_alone``: how many accounts nobody may produce for now.
    """

    ready: list[tuple[int, Message]] = field(default_factory=list)
    expired: list[int] = field(default_factory=list)
    may_wait: set[int] = field(default_factory=set)
    due: list[tuple[str, int, int]] = field(default_factory=list)
    accounts_seen: list[AccountSeen] = field(default_factory=list)
    fresh: int = 0
    more: bool = False
    remembered: bool = False
    left_alone: int = 0

    def __len__(self) -> int:
        return len(self.ready) + len(self.expired)

    def leave_out_all_but(self, acquainted: Collection[str]) -> set[str]:
        """Take out what nobody here may produce yet: the accounts that were not left alone, and have to be met."""
        unmet = {
            seen.account for seen in self.accounts_seen if seen.looked_us is not None and seen.account not in acquainted
        }
        if unmet:
            self.ready = [(nth, message) for nth, message in self.ready if message.account not in unmet]
            self.left_alone += len(unmet)
        return unmet

    def close(self, accounts: int, cursors: Mapping[str, str] | None) -> None:
        """All rows are in: of these many accounts, and with ``cursors`` of keys that were not all looked at."""
        self.accounts_seen.sort()
        self.more = len(self.accounts_seen) > accounts
        del self.accounts_seen[accounts:]
        if cursors is not None:
            self.accounts_seen = [seen._replace(cursor=cursors.get(seen.account)) for seen in self.accounts_seen]
        self.left_alone = sum(seen.looked_us is None for seen in self.accounts_seen)


def lock_ready(
    connection: Connection, look: Look, limits: ClaimLimits, floors: Floors, aside: Sequence[int] = ()
) -> Locked:
    """Lock messages that are ready, where the look says; not what is put aside."""
    mood, turn = look.mood, look.turn
    parameters: dict[str, Any] = {
        "open_from": floors.open_from,
        "aside": numbers(aside),
        "accounts": turn.accounts,
        "skip_accounts": list(limits.skip_accounts),
        "batch": limits.batch_size,
        "slots": limits.slots,
        "failed_holds": limits.failed_holds,
        "linger_seconds": limits.linger_seconds,
        "pass_over": look.passes_over,
        "mixed": list(look.mixed),
    }
    cursors = None
    match mood:
        case Known():
            text, cursors = sql.LOCK_KNOWN, mood.cursors
            parameters |= _from_places(mood)
        case Listed():
            text = sql.LOCK_AMONG
            parameters |= _from_the_start(turn, floors) | {"known_accounts": list(mood.accounts)}
        case _:
            text = sql.LOCK_READY
            parameters |= _from_the_start(turn, floors)
    locked = _sorted_out(fetch_many(connection, text, parameters))
    locked.remembered = parameters["remember"]
    locked.close(turn.accounts, cursors)
    return locked


def _from_the_start(turn: Turn, floors: Floors) -> dict[str, Any]:
    return {
        "after_account": turn.after_account,
        "key_accounts": list(turn.keys),
        "keys": list(turn.keys.values()),
        "remember": floors.remembering,
    }


def _from_places(known: Known) -> dict[str, Any]:
    floors = {account: place.floor for account, place in known.places.items() if place.floor is not None}
    return {
        "known_accounts": list(known.places),
        "head_accounts": [account for account, _, _ in known.heads],
        "head_keys": [key for _, key, _ in known.heads],
        "head_ids": numbers(id_ for _, _, id_ in known.heads),
        "floor_accounts": list(floors),
        "floors_us": numbers(due_us for due_us, _ in floors.values()),
        "floor_ids": numbers(id_ for _, id_ in floors.values()),
        "remember": True,
    }


def _sorted_out(rows: Sequence[Any]) -> Locked:
    """One look at each row, by position: a claim has up to thousands."""
    locked = Locked()
    for row in rows:
        if row[0] != sql.MESSAGE:
            locked.accounts_seen.append(_account_seen(row[1], row[3], *row[16:]))
            continue
        _, nth, id_, account, topic, content, group, app_key, extra, key, attempts, deliver_before, *told = row[:16]
        expired, may_wait, fresh, due_us = told
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
    return locked


def _account_seen(
    nth: int,
    account: str,
    cursor: str | None,
    looked_us: int | None,
    keys: Sequence[str] | None,
    ids: Sequence[int] | None,
    in_flight: Sequence[bool] | None,
) -> AccountSeen:
    heads = dict(zip(keys or (), zip(ids or (), in_flight or (), strict=True), strict=True))
    return AccountSeen(nth, account, cursor, looked_us, heads)
