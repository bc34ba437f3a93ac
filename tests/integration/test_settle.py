"""Settling on a real PostgreSQL: what is written about a call and its messages, once, by whoever closes the call."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event

from relay.message import ACCEPTED, Answer, Answered, Batch, Fault, Refused, Result, Scope
from relay.outcomes import EXHAUSTED, PauseOrder, Policy, Settlement, decide, released
from relay.store import ClaimLimits, Settled, Store
from relay.store.claim.floors import Floors
from tests.fixtures.rows import Rows
from tests.fixtures.telling import statements_of

RNG = random.Random(1)
POLICY = Policy(retry_base_seconds=60.0)
ACCEPT: Answer = Answered((), request_id="r1")  # stands for: everything accepted


@pytest.fixture
def rows(engine: Engine) -> Rows:
    return Rows(engine)


@pytest.fixture
def store(engine: Engine) -> Store:
    """Statements are counted here, so a machine that hesitates may not make it ask for more (see floors.py)."""
    return Store(engine, worker="w", lease_seconds=60, floors=Floors(ordinary_seconds=600))


def claimed(store: Store, slots: int = 1, batch_size: int = 50) -> tuple[Batch, ...]:
    return store.claim(ClaimLimits(slots=slots, batch_size=batch_size)).batches


def decided(batch: Batch, answer: Answer, policy: Policy = POLICY) -> Settlement:
    if answer is ACCEPT:
        answer = Answered((ACCEPTED,) * len(batch), request_id="r1", http_status=200, request_bytes=99)
    return decide(batch, answer, policy, RNG)


def settle(store: Store, batches: Sequence[Batch], answer: Answer, policy: Policy = POLICY) -> Settled:
    return store.settle([decided(batch, answer, policy) for batch in batches], {})


def test_accepted_messages_are_done_with_the_call_and_index_that_proves_it(rows: Rows, store: Store) -> None:
    added = rows.add(3)
    (batch,) = claimed(store)
    assert settle(store, [batch], ACCEPT) == Settled(frozenset(), ())
    for index, id_ in enumerate(added):
        row = rows.message(id_)
        assert (row.status, row.call_id, row.result_index, row.attempts) == ("done", batch.call_id, index, 1)
        assert (row.error_code, row.error_message) == (None, None)
        assert row.finished_at is not None
        assert rows.attempts(id_) == []
    call = rows.call(batch.call_id)
    assert (call.outcome, call.request_id, call.http_status, call.request_bytes) == ("ok", "r1", 200, 99)
    assert call.settled_at is not None


def test_each_index_gets_its_own_outcome(rows: Rows, store: Store) -> None:
    refused, again, unclear, fine = rows.add(4)
    (batch,) = claimed(store)
    said = (Result(Fault.MESSAGE, "isv.x", "no"), Result(Fault.PROVIDER, "isp.y"), Result(Fault.UNKNOWN, "z"), ACCEPTED)
    settle(store, [batch], Answered(said))
    states = {id_: (rows.message(id_).status, rows.message(id_).attempts) for id_ in (refused, again, unclear, fine)}
    assert states == {refused: ("failed", 1), again: ("pending", 1), unclear: ("pending", 1), fine: ("done", 1)}
    outcomes = [[(a.call_id, a.result_index, a.outcome) for a in rows.attempts(id_)] for id_ in sorted(states)]
    assert outcomes == [
        [(batch.call_id, 0, "failed")],
        [(batch.call_id, 1, "retry")],
        [(batch.call_id, 2, "unknown")],
        [],
    ]
    failed = rows.message(refused)
    assert (failed.error_code, failed.error_message, failed.call_id, failed.result_index) == (
        "isv.x",
        "no",
        batch.call_id,
        0,
    )
    assert failed.finished_at is not None
    waiting = rows.message(again)
    assert (waiting.finished_at, waiting.call_id, waiting.result_index) == (None, None, None)
    assert waiting.available_at == rows.attempts(again)[0].retry_at
    assert rows.attempts(refused)[0].retry_at is None
    assert timedelta(0) <= waiting.available_at - rows.attempts(again)[0].at <= timedelta(seconds=60)
    assert rows.call(batch.call_id).outcome == "partial"


def test_what_paid_nothing_keeps_its_place_and_its_attempts(rows: Rows, store: Store) -> None:
    (id_,) = rows.add()
    before = rows.message(id_)
    settle(store, claimed(store), Refused(Fault.CREDENTIALS, "27", message="late"))
    after = rows.message(id_)
    assert (after.status, after.attempts, after.available_at) == ("pending", 0, before.available_at)
    assert (after.error_code, rows.attempts(id_)[0].outcome) == ("27", "retry")


def test_a_released_call_leaves_its_messages_as_they_were(rows: Rows, store: Store) -> None:
    (id_,) = rows.add()
    before = rows.message(id_)
    (batch,) = claimed(store)
    store.settle([released(batch)], {})
    assert rows.message(id_) == before
    call = rows.call(batch.call_id)
    assert (call.outcome, call.sent_at, call.duration_ms) == ("released", None, None)


def test_held_waits_for_a_person(rows: Rows, store: Store) -> None:
    (id_,) = rows.add()
    settle(store, claimed(store), Refused(Fault.UNKNOWN, "relay.timeout"), replace(POLICY, hold_unknown=True))
    held = "select available_at = 'infinity' from relay.outbox where id = :id"
    assert rows.one(held, id=id_) is True
    assert rows.one("select retry_at = 'infinity' from relay.attempt") is True
    assert claimed(store) == ()
    assert store.still_moving() is False
    assert store.pending() == 1


def test_the_last_attempt_fails_and_keeps_the_reason(rows: Rows, store: Store) -> None:
    (id_,) = rows.add()
    rows.run("update relay.outbox set attempts = 11")
    settle(store, claimed(store), Refused(Fault.PROVIDER, "15", "isp.down", "broken"))
    row = rows.message(id_)
    assert (row.status, row.attempts, row.error_code) == ("failed", 12, EXHAUSTED)
    assert row.error_message == "12 attempts; the last one: isp.down: broken"
    assert (rows.attempts(id_)[0].error_code, rows.attempts(id_)[0].outcome) == ("isp.down", "failed")


def test_when_it_was_sent_is_told_by_the_databases_clock(rows: Rows, store: Store) -> None:
    rows.add()
    (batch,) = claimed(store)
    store.settle([decided(batch, ACCEPT)], {batch.key: (time.monotonic() - 5.0, 1.234)})
    call = rows.call(batch.call_id)
    assert call.duration_ms == 1234
    assert timedelta(seconds=4.9) < call.settled_at - call.sent_at < timedelta(seconds=6)


def test_a_call_is_settled_once_and_the_second_changes_nothing(rows: Rows, store: Store, engine: Engine) -> None:
    rows.add(2)
    (batch,) = claimed(store)
    settle(store, [batch], Refused(Fault.UNKNOWN, "relay.timeout"))
    everything = "select o.*, o.xmin, o.ctid from relay.outbox o order by id"
    before, call = rows.read(everything), rows.call(batch.call_id)
    late = Store(engine, worker="late", lease_seconds=60)
    pausing = replace(decided(batch, Refused(Fault.CREDENTIALS, "27")), halves=(batch.messages[:1], batch.messages[1:]))
    for settlement in (decided(batch, ACCEPT), decided(batch, Refused(Fault.MESSAGE, "x")), pausing):
        assert late.settle([settlement], {}) == Settled(frozenset({batch.key}), ())
    assert rows.read(everything) == before
    assert rows.calls() == [call]
    assert rows.one("select count(*) from relay.attempt") == 2
    assert rows.one("select count(*) from relay.pause") == 0


def test_the_lost_call_of_several_does_not_stop_the_others(rows: Rows, store: Store) -> None:
    rows.add(4)
    first, second = claimed(store, slots=2, batch_size=2)
    settle(store, [first], Refused(Fault.UNKNOWN))
    assert settle(store, [first, second], ACCEPT).lost == {first.key}
    assert rows.counts() == {"done": 2, "pending": 2}


@pytest.mark.parametrize("answer", [ACCEPT, Refused(Fault.PROVIDER, "10")], ids=["accepted", "refused"])
def test_a_message_that_ended_meanwhile_keeps_its_end(rows: Rows, store: Store, answer: Answer) -> None:
    first, second = rows.add(2)
    (batch,) = claimed(store)
    rows.run(
        "update relay.outbox set status = 'failed', finished_at = now(), error_code = 'relay.discarded' where id = :id",
        id=first,
    )
    settle(store, [batch], answer)
    ended = rows.message(first)
    assert (ended.status, ended.error_code, ended.attempts, ended.call_id) == ("failed", "relay.discarded", 0, None)
    assert rows.attempts(first) == []
    assert rows.message(second).attempts == 1


def test_halves_are_calls_of_this_worker_before_anybody_else_can_claim(rows: Rows, store: Store) -> None:
    added = rows.add(5)
    (batch,) = claimed(store)
    settled = settle(store, [batch], Refused(Fault.CONTENT, "41"))
    assert [[m.id for m in child.messages] for child in settled.children] == [added[:2], added[2:]]
    for child in settled.children:
        call = rows.call(child.call_id)
        assert (call.parent_id, call.worker, call.account, call.outcome) == (batch.call_id, "w", "default", None)
        assert call.message_ids == [message.id for message in child.messages]
        assert (call.lease_until - call.claimed_at).total_seconds() == 60
    assert claimed(store) == ()
    assert (rows.call(batch.call_id).outcome, rows.call(batch.call_id).error_code) == ("rejected", "41")
    assert rows.one("select max(attempts) from relay.outbox") == 0
    settle(store, settled.children, ACCEPT)
    assert rows.counts() == {"done": 5}


def test_many_calls_are_settled_in_one_transaction_of_few_statements(rows: Rows, store: Store, engine: Engine) -> None:
    rows.add(2000)
    statements = statements_of(engine)
    commits: list[int] = []

    def committed(_: Connection) -> None:
        commits.append(1)

    event.listen(engine, "commit", committed)
    while batches := claimed(store, slots=8):
        settle(store, batches, ACCEPT)
    needed = len(statements)  # 5 full rounds and an empty claim
    assert len(commits) == 11
    assert rows.counts() == {"done": 2000}
    assert needed / 2000 <= 0.08
    assert needed <= 5 * 4 + 1


MAD = {
    "NUL": "a\0b",
    "half a pair": "a\ud83db",
    "a megabyte": "退" * 1_000_000,
    "control characters": "".join(map(chr, range(32))) + "\x7f\u2028",
}


@pytest.mark.parametrize("case", MAD)
@pytest.mark.parametrize("fault", Fault)
def test_whatever_a_platform_says_can_be_settled(rows: Rows, store: Store, case: str, fault: Fault) -> None:
    said = MAD[case]
    rows.add(2)
    (batch,) = claimed(store)
    answer = Refused(fault, said, said, said, request_id=said, scope=Scope.ACCOUNT, credential="f")
    settled = settle(store, [batch], answer, replace(POLICY, max_attempts=1))
    assert settled.lost == frozenset()
    for child in settled.children:
        single = Answered((Result(fault, said, said),) * len(child), request_id=said, violation=said)
        settle(store, [child], single)
    assert rows.one("select count(*) from relay.call where settled_at is null") == 0
    longest = "select max(length(error_message)) from relay.call"
    assert 0 < rows.one(longest) <= 1000


@pytest.mark.parametrize("seconds", [0.0, 1e9, 1e15, float("inf")])
def test_a_pause_of_any_length_can_be_settled(rows: Rows, store: Store, seconds: float) -> None:
    rows.add(2)
    first, second = claimed(store, slots=2, batch_size=1)
    settle(store, [first], Refused(Fault.THROTTLED, "7", pause_seconds=seconds))
    settle(store, [second], Answered((Result(Fault.THROTTLED, "7", pause_seconds=seconds),)))
    assert rows.one("select count(*) from relay.call where settled_at is null") == 0


ENDLESS = PauseOrder("account:a", None, "credentials refused", "27", "c0ffee")
SHORT = PauseOrder("account:a", 60.0, "throttled for a minute", "7")
LONG = PauseOrder("account:a", 3600.0, "throttled for an hour", "7")


def order(rows: Rows, store: Store, *orders: PauseOrder) -> Any:
    """The pause that stands after these, one call after the other."""
    for each in orders:
        rows.add(account="a")
        rows.run("update relay.pause set scope = 'account:aside' where scope = 'account:a'")
        (batch,) = claimed(store)
        rows.run("update relay.pause set scope = 'account:a' where scope = 'account:aside'")
        store.settle([replace(released(batch), pause=each)], {})
    (row,) = rows.read("select *, extract(epoch from until - now()) as left from relay.pause")
    return row


def test_of_two_ends_the_later_counts(rows: Rows, store: Store) -> None:
    assert 3500 < order(rows, store, LONG, SHORT).left <= 3600


def test_a_later_end_replaces_an_earlier_one(rows: Rows, store: Store) -> None:
    pause = order(rows, store, SHORT, LONG)
    assert (3500 < pause.left <= 3600, pause.reason, pause.by) == (True, "throttled for an hour", "w")


@pytest.mark.parametrize("orders", [(ENDLESS, LONG), (LONG, ENDLESS)], ids=["first", "second"])
def test_without_an_end_beats_with_one(rows: Rows, store: Store, orders: tuple[PauseOrder, ...]) -> None:
    pause = order(rows, store, *orders)
    assert (pause.until, pause.reason, pause.error_code, pause.credential) == (
        None,
        "credentials refused",
        "27",
        "c0ffee",
    )


def test_a_pause_that_is_over_begins_anew(rows: Rows, store: Store) -> None:
    order(rows, store, SHORT)
    rows.run("update relay.pause set until = now() - interval '1 day', since = now() - interval '2 days'")
    pause = order(rows, store, SHORT)
    assert 50 < pause.left <= 60
    assert rows.one("select now() - since < interval '1 minute' from relay.pause") is True


def test_pauses_in_force_are_read_and_lifted_by_another_credential_alone(rows: Rows, store: Store) -> None:
    order(rows, store, ENDLESS)
    (pause,) = store.pauses()
    assert (pause.scope, pause.seconds_left, pause.reason) == ("account:a", None, "credentials refused")
    assert (pause.error_code, pause.fingerprint) == ("27", "c0ffee")
    assert store.lift_pause("account:a", "another") is False
    assert store.lift_pause("account:b", "c0ffee") is False
    assert store.lift_pause("account:a", "c0ffee") is True
    assert store.lift_pause("account:a", "c0ffee") is False
    assert store.pauses() == ()


def test_a_pause_somebody_ordered_by_hand_is_never_lifted_by_a_credential(rows: Rows, store: Store) -> None:
    rows.run("insert into relay.pause (scope, reason, by) values ('account:a', 'holiday', 'me')")
    order(rows, store, ENDLESS)
    (pause,) = store.pauses()
    assert (pause.reason, pause.fingerprint) == ("holiday", None)
    assert store.lift_pause("account:a", "c0ffee") is False


def test_a_pause_that_is_over_is_not_in_force(rows: Rows, store: Store) -> None:
    order(rows, store, SHORT)
    (pause,) = store.pauses()
    assert pause.seconds_left is not None
    assert 50 < pause.seconds_left <= 60
    rows.run("update relay.pause set until = now()")
    assert store.pauses() == ()
