"""The relay's short transactions: claim, settle, extend, recover. One method, one transaction, never HTTP in between.

All methods are plain blocking functions over one engine; the worker runs them in threads, and so may a script. What
stays true:

- a message is in at most one open call (see ``claim/statements.py`` for why);
- a call is settled once: the session that closes its row owns the outcome, every other changes nothing;
- what PostgreSQL refuses of one call, or cannot hand out of one row, concerns no other (RefusedError);
- a database that cannot be reached, or has become read-only after a fail-over, is an UnreachableError, and what was
  being written may be written again.
"""

from __future__ import annotations

import json
import random
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import islice
from typing import Any

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from relay import statements as sql
from relay.errors import RefusedError, SwallowedError, UnreachableError
from relay.holders import Holder
from relay.lingering import LINGERING, WAITING_FOR_LONG, Lingering, asked, of
from relay.message import NO_CREDENTIALS, CallKey
from relay.operators.archive import Moved, archive
from relay.outcomes import History, PauseOrder, Policy, Settlement, exhausted_ids, lapsed, spared, unsound
from relay.reasons import ARCHIVED
from relay.store import claim as claiming
from relay.store import settling
from relay.store.backlog import Counting
from relay.store.claim.floors import Floors
from relay.store.claim.memory import Memory
from relay.store.connections import Connections, told
from relay.store.evidence import plainer, storable
from relay.store.origins import origins_in
from relay.store.running import fetch, run
from relay.store.settling import Sent
from relay.store.sieve import Unreadable, unreadable
from relay.store.swallowed import Swallowed
from relay.store.values import CallLimits, Claim, ClaimLimits, Pause, Settled

__all__ = ["CallLimits", "Claim", "ClaimLimits", "Moved", "Pause", "Sent", "Settled", "Store", "Unreadable", "told"]

_LAPSED_AT_ONCE = 100
_PLAIN = 2  # of the forms of a settlement: in ASCII
_A_DAY_SECONDS = 90_000.0  # and an hour: a pace is never further away
_NONE: Mapping[str, Any] = {}


class Store:
    """The database side of one worker."""

    def __init__(self, engine: Engine, *, worker: str, lease_seconds: float, floors: Floors | None = None) -> None:
        self._connections = Connections(engine)
        self._transaction = self._connections.transaction
        self.close = self._connections.close
        self._worker = worker
        self._lease_seconds = lease_seconds
        self.memory = Memory(lease_seconds, floors)
        self.counting = Counting(self._transaction, self.memory)
        self.origins = origins_in(self._transaction)

    def claim(self, limits: ClaimLimits) -> Claim:
        """Claim ready messages, account by account in turn; one claim at a time.

        What an earlier claim took in a commit that nobody heard of is given back first. Where a claim is refused for a
        row that it writes, the others are claimed all the same, and that one is put aside (see ``put_aside``).
        """
        try:
            return self._claim(limits)
        except (UnreachableError, SwallowedError):
            raise
        except (RefusedError, DBAPIError) as error:
            return self._claim_apart(limits, error)

    def _claim_apart(self, limits: ClaimLimits, refusal: Exception) -> Claim:
        self.memory.aside.careful = True
        before = set(self.memory.aside.ids())
        try:
            claim = self._claim(limits)
        finally:
            self.memory.aside.careful = False
        if isinstance(refusal, DBAPIError) and not claim.batches and not claim.expired:
            self.memory.aside.forget(set(self.memory.aside.ids()) - before)
            raise refusal  # a right is missing, not a row in the way
        return claim

    def put_aside(self) -> dict[int, str]:
        """Messages that claims could do nothing with since this was asked the last time, and why."""
        return self.memory.aside.take_fresh()

    @property
    def aside(self) -> list[int]:
        """Messages that are left alone for a while for that."""
        return self.memory.aside.ids()

    def _claim(self, limits: ClaimLimits) -> Claim:
        unheard = self.memory.unheard
        with self._transaction() as connection:
            if nonces := unheard.nonces():
                given = {"worker": self._worker, "nonces": nonces}
                unheard.forget(row.nonce for row in self._fetch(connection, sql.GIVE_BACK, given))
            look, outcome = claiming.claim(
                connection,
                self.memory,
                limits,
                worker=self._worker,
                lease_seconds=self._lease_seconds,
            )
            unheard.committing(outcome.batches)
        unheard.heard(outcome.batches)
        return self.memory.learn(look, outcome)

    def expect(self, accounts: Iterable[str]) -> None:
        """Let claims look at these soon: they may be claimed now, and could not be before. For any thread."""
        self.memory.roster.expect(accounts)

    @property
    def stranger(self) -> str:
        """Who holds locks that are none of theirs, as the last claims saw it; empty where nobody does."""
        return self.memory.writers.stranger

    def settle(self, settlements: Sequence[Settlement], sent: Sent, tried: Collection[CallKey] = ()) -> Settled:
        """Write the outcomes of these calls. Where one of them is refused nothing is written, of none.

        ``tried``: of these it is not known whether that was done already.
        """
        with self._transaction() as connection:
            return self._settle(connection, settlements, sent, tried)

    def settle_plainly(self, settlement: Settlement, sent: Sent, tried: Collection[CallKey] = ()) -> Settled:
        """Write the outcome of one call, its words as plain as they have to be. Raises what is refused even then."""
        last: Exception | None = None
        for plain in plainer(settlement, self._connections.encoding()):
            try:
                return self.settle([plain], sent, tried)
            except (UnreachableError, SwallowedError):
                raise
            except Exception as error:
                last = error
        assert last is not None
        raise last

    def settle_apart(self, settlement: Settlement) -> tuple[Settlement, dict[int, str]]:
        """Of a call that cannot be settled whole, end the messages that can end; the call stays open for the others.

        What is left of the settlement, and why: by message. Where no message is to blame nothing is changed.
        """
        plain = next(islice(plainer(settlement, self._connections.encoding()), _PLAIN, None))
        try:
            with self._transaction() as connection:
                done, failed, refused = settling.settle_apart(connection, plain)
                if not refused:
                    raise settling.NobodyToBlameError
        except settling.NobodyToBlameError:
            return settlement, {}
        left = tuple(pair for pair in settlement.done if pair[0] not in done)
        verdicts = tuple(verdict for verdict in settlement.verdicts if verdict.message_id not in failed)
        return replace(settlement, done=left, verdicts=verdicts), refused

    def histories(self, message_ids: Sequence[int]) -> dict[int, History]:
        """What these messages went through so far; those that paid nothing yet are left out."""
        with self._transaction() as connection:
            return self._histories(connection, message_ids)

    def extend(self, calls: Sequence[CallKey]) -> frozenset[CallKey]:
        """Let the leases of these calls run anew; those that were still ours."""
        named = {"ids": [call.id for call in calls], "nonces": [call.nonce for call in calls]}
        with self._transaction() as connection:
            rows = self._fetch(connection, sql.EXTEND, named | {"lease_seconds": self._lease_seconds})
        return frozenset(CallKey(row.id, row.nonce) for row in rows)

    def leave_out_expired(self, call: CallKey) -> frozenset[int]:
        """Take what has expired out of a call of ours that is about to be made; the messages that are left in it."""
        with self._transaction() as connection:
            return frozenset(self._value(connection, sql.LEAVE_OUT_EXPIRED, {"id": call.id, "nonce": call.nonce}))

    def recover(
        self, policy: Policy, rng: random.Random, *, only: Sequence[int] | None = None, but: Collection[int] = ()
    ) -> tuple[Settlement, ...]:
        """Settle as unknown the calls whose lease ran out, of any worker; at most a hundred at once.

        ``only``: of these, ``but``: none of those. One that is refused spoils it for all: then take them one by one.
        """
        with self._transaction() as connection:
            asked = {"calls": _LAPSED_AT_ONCE, "only": None if only is None else list(only), "but": list(but)}
            rows = self._fetch(connection, sql.LOCK_LAPSED, asked)
            settlements = tuple(
                lapsed(
                    CallKey(row.id, row.nonce),
                    row.account,
                    list(zip(row.message_ids, row.attempts, strict=True)),
                    policy,
                    rng,
                )
                if row.sound
                else unsound(CallKey(row.id, row.nonce), row.account)
                for row in rows
            )
            if settlements:
                ending = exhausted_ids(settlements) if policy.outage_seconds else []
                histories = self._histories(connection, ending)
                settlements = (
                    tuple(spared(each, histories, policy, rng) for each in settlements) if ending else settlements
                )
                self._settle(connection, settlements, {})
        return settlements

    def record_start(self, version: str, settings: Mapping[str, Any]) -> None:
        """Tell the ledger with what this worker goes to work."""
        given = json.dumps(settings, ensure_ascii=False)
        with self._transaction() as connection:
            self._fetch(connection, sql.RECORD_START, {"worker": self._worker, "version": version, "settings": given})

    def pending_ids(self) -> Sequence[int]:
        """Of messages that are pending and in no call, oldest first; as many as fit in memory easily."""
        with self._transaction() as connection:
            return sorted(self._value(connection, sql.PENDING_IDS) or ())

    def fail_unreadable(self, ids: Sequence[int]) -> Unreadable:
        """End those of these messages that cannot be read: nobody could ever send them."""

        def read(some: Sequence[int]) -> None:
            with self._transaction() as connection:
                self._fetch(connection, sql.READ_TEXTS, {"ids": list(some)})

        culprits = list(unreadable(ids, read))
        failed = self._each_allowed(sql.FAIL_UNREADABLE, culprits)
        left = [id_ for id_ in culprits if id_ not in {row.id for row in failed}]
        accounts = {row.account for row in self._each_allowed(sql.ACCOUNTS_OF, left)}
        return Unreadable(tuple(row.id for row in failed), frozenset(accounts))

    def _each_allowed(self, text: str, ids: Sequence[int]) -> list[Any]:
        """The rows of this statement about these messages, but for those for which it is refused, for any reason."""
        if not ids:
            return []
        try:
            with self._transaction() as connection:
                return self._fetch(connection, text, {"ids": list(ids)})
        except UnreachableError:
            raise
        except Exception:
            return [] if len(ids) == 1 else [row for id_ in ids for row in self._each_allowed(text, [id_])]

    def lapsed(self, but: Collection[int] = ()) -> tuple[int, ...]:
        """The calls that ``recover`` would settle now."""
        asked = {"calls": _LAPSED_AT_ONCE, "but": list(but)}
        with self._transaction() as connection:
            return tuple(row.id for row in self._fetch(connection, sql.LAPSED, asked))

    def pauses(self) -> tuple[Pause, ...]:
        """The pauses in force. Where a reason cannot be read, those of which that much can be told."""
        return self._pauses(sql.PAUSES, sql.PAUSES_WITHOUT_WORDS, _NONE)

    def pauses_of(self, accounts: Collection[str]) -> tuple[Pause, ...]:
        """The same, of all app keys and of these accounts alone."""
        scopes = [f"account:{account}" for account in accounts]
        return self._pauses(sql.PAUSES_OF, sql.PAUSES_OF_WITHOUT_WORDS, {"scopes": scopes})

    def refused_accounts(self, after: str, most: int) -> dict[str, str]:
        """Accounts paused for a credential → its fingerprint; at most ``most``, in order, ``after`` this account."""
        first = len("account:")
        with self._transaction() as connection:
            rows = self._fetch(connection, sql.REFUSED_ACCOUNTS, {"after": f"account:{after}", "most": most})
        return {row.scope[first:]: row.credential for row in rows}

    def unknown_accounts(self, after: str, most: int) -> tuple[dict[str, str], dict[str, str], str]:
        """The same of those that are paused for they have no credentials: with nothing pending any more, and others.

        And after which account the next look begins; empty where there are no more.
        """
        given = {"after": f"account:{after}", "most": most, "error_code": NO_CREDENTIALS}
        with self._transaction() as connection:
            rows = self._fetch(connection, sql.UNKNOWN_ACCOUNTS, given)
        idle, waiting = (
            {row.scope.removeprefix("account:"): row.credential for row in rows if row.idle is wanted}
            for wanted in (True, False)
        )
        return idle, waiting, rows[-1].scope.removeprefix("account:") if len(rows) == most else ""

    def pause_all(self, orders: Sequence[PauseOrder]) -> None:
        """Write down pauses without an end, of one kind, for an account each."""
        if not orders:
            return
        parameters = {
            "scopes": [order.scope for order in orders],
            "reasons": [storable(order.reason) for order in orders],
            "error_code": orders[0].error_code,
            "credential": orders[0].fingerprint,
            "by": self._worker,
        }
        with self._transaction() as connection:
            if run(connection, sql.PAUSE_ALL, parameters) < len(orders):
                Swallowed(connection).if_somebody_else_has_a_say("pause", orders[0].scope)

    def lift_pauses(self, refused: Mapping[str, str]) -> tuple[str, ...]:
        """End pauses that a credential caused (scope → its fingerprint); those that were still there."""
        parameters = {"scopes": list(refused), "credentials": list(refused.values())}
        with self._transaction() as connection:
            return tuple(sorted(row.scope for row in self._fetch(connection, sql.LIFT_PAUSES, parameters)))

    def lift_pause(self, scope: str, fingerprint: str) -> bool:
        """The same of one; False when it is gone already."""
        return bool(self.lift_pauses({scope: fingerprint}))

    def _pauses(self, text: str, without_words: str, parameters: Mapping[str, Any]) -> tuple[Pause, ...]:
        try:
            with self._transaction() as connection:
                rows = self._fetch(connection, text, parameters)
        except RefusedError:
            with self._transaction() as connection:
                rows = self._fetch(connection, without_words, parameters)
        return tuple(
            Pause(
                row.scope, None if row.endless else float(row.seconds_left), row.reason, row.error_code, row.credential
            )
            for row in rows
        )

    def reserve(self, app_key: str, step_seconds: float, *, within_seconds: float = _A_DAY_SECONDS) -> float:
        """Reserve the next call of this app key for this worker; how many seconds to wait until it may be made.

        Infinity, and nothing is reserved: all the time from now on until ``within_seconds`` later has been.
        """
        given = {"app_key": app_key, "step_seconds": step_seconds, "within_seconds": within_seconds}
        with self._transaction() as connection:
            rows = self._fetch(connection, sql.RESERVE, given)
            return max(0.0, float(rows[0].wait_seconds)) if rows else float("inf")

    def now(self) -> float:
        """The database's clock, in seconds since the epoch."""
        with self._transaction() as connection:
            return float(self._value(connection, sql.NOW))

    def writable(self) -> bool:
        """Whether the server takes writes now; a standby does not."""
        with self._transaction() as connection:
            return bool(self._value(connection, sql.WRITABLE))

    def still_moving(self, skip_accounts: Sequence[str] = (), *, failed_holds: bool = False) -> bool:
        """Whether anything is in flight, or pending and not waiting for a person."""
        asked = {"skip_accounts": list(skip_accounts), "failed_holds": failed_holds}
        with self._transaction() as connection:
            return bool(self._value(connection, sql.STILL_MOVING, asked))

    def pending(self) -> int:
        """How many messages are pending, whatever they wait for."""
        with self._transaction() as connection:
            return int(self._value(connection, sql.COUNT_PENDING))

    def lingering(self, seconds: float) -> tuple[Lingering, ...]:
        """Who may have had messages locked for this long, if some have been ready for this long."""
        given = {"seconds": seconds}
        with self._transaction() as connection:
            rows = self._fetch(connection, LINGERING, asked(seconds))
            found = of((Holder(*row) for row in rows), seconds)
            return found if found and self._value(connection, WAITING_FOR_LONG, given) else ()

    def archive(self, older_than: timedelta, *, failed_holds: bool = False) -> Iterator[Moved]:
        """Move what finished longer ago than that to the archive, a batch a step; the ledger says who and why."""
        return archive(
            self._transaction,
            older_than,
            actor=self._worker,
            reason=ARCHIVED.written(days=f"{older_than.total_seconds() / 86_400:g}"),
            failed_holds=failed_holds,
        )

    def cut_off(self, threads: Collection[int] | None = None) -> None:
        """End what these threads wait for, or all threads: each gets an UnreachableError."""
        self._connections.cut_off(threads)

    def _histories(self, connection: Connection, message_ids: Sequence[int]) -> dict[int, History]:
        rows = self._fetch(connection, sql.HISTORIES, {"ids": list(message_ids)}) if message_ids else []
        return {row.id: History(row.attempts, row.blamed, row.seconds) for row in rows}

    def _settle(
        self, connection: Connection, settlements: Sequence[Settlement], sent: Sent, tried: Collection[CallKey] = ()
    ) -> Settled:
        return settling.settle(
            connection,
            settlements,
            sent,
            worker=self._worker,
            lease_seconds=self._lease_seconds,
            tried=tried,
        )

    def _fetch(self, connection: Connection, text: str, parameters: Mapping[str, Any] = _NONE) -> list[Any]:
        return fetch(connection, text, parameters)

    def _value(self, connection: Connection, text: str, parameters: Mapping[str, Any] = _NONE) -> Any:
        """The only value of the only row."""
        return self._fetch(connection, text, parameters)[0][0]
