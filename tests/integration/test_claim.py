"""The claim on a real PostgreSQL: what it takes and in which order, what it leaves alone; it writes no message."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Engine, text

from relay.database import make_engine
from relay.message import ACCEPTED, Answered, Batch
from relay.outcomes import Policy, decide, released
from relay.store import Claim, ClaimLimits, Store
from relay.store.claim import statements as sql
from relay.store.claim.moods import Turn
from tests.fixtures.rows import Rows

RNG = random.Random(1)
ONE = ClaimLimits(slots=1)
EIGHT = ClaimLimits(slots=8)


@pytest.fixture
def rows(engine: Engine) -> Rows:
    return Rows(engine)


@pytest.fixture
def store(engine: Engine) -> Store:
    return Store(engine, worker="w", lease_seconds=60)


def ids(batches: Sequence[Batch]) -> list[list[int]]:
    return [[message.id for message in batch.messages] for batch in batches]


def flat(claim: Claim) -> list[int]:
    return sorted(id_ for batch in ids(claim.batches) for id_ in batch)


def claimed_again_and_again(store: Store, limits: ClaimLimits) -> list[int]:
    """All that can be claimed until nothing more is ready, in the order claimed; nothing is settled meanwhile."""
    store.memory.turn = Turn()
    found: list[int] = []
    for _ in range(500):
        claim = store.claim(limits)
        found += [id_ for batch in ids(claim.batches) for id_ in batch]
        if claim.exhausted:
            return found
    raise AssertionError("never exhausted")


def done(store: Store, batches: Sequence[Batch]) -> None:
    accepted = [decide(b, Answered((ACCEPTED,) * len(b)), Policy(), RNG) for b in batches]
    store.settle(accepted, {})


def test_nothing_pending_is_no_claim_and_no_row(rows: Rows, store: Store) -> None:
    assert store.claim(EIGHT) == Claim((), 0, exhausted=True, everywhere=True)
    assert store.memory.turn == Turn(accounts=32, fruitless=1)
    assert rows.calls() == []


def test_a_claim_is_a_call_row_that_names_its_messages_in_order(rows: Rows, store: Store) -> None:
    added = rows.add(3, topic="taobao_jds_TradeTrace", content='{"b": 1,  "a": "退款"}')
    claim = store.claim(ONE)
    (batch,) = claim.batches
    assert ids(claim.batches) == [added]
    first = batch.messages[0]
    assert (first.topic, first.content, first.account, first.attempts) == (
        "taobao_jds_TradeTrace",
        '{"b": 1,  "a": "退款"}',
        "default",
        0,
    )
    call = rows.call(batch.call_id)
    assert (call.worker, call.account, call.message_ids, call.parent_id) == ("w", "default", added, None)
    assert (call.settled_at, call.outcome, call.sent_at) == (None, None, None)
    assert (call.lease_until - call.claimed_at).total_seconds() == 60


def test_every_column_an_element_has_is_claimed(rows: Rows, store: Store) -> None:
    rows.run(
        """insert into relay.outbox (topic, content, account, target_group, target_app_key, json_ex_content,
        ordering_key) values ('t', '{}', 'a', 'g', '77', '{"x" : 1}', 'k')"""
    )
    message = store.claim(ONE).batches[0].messages[0]
    assert (message.target_group, message.target_app_key) == ("g", "77")
    assert (message.json_ex_content, message.ordering_key, message.account) == ('{"x" : 1}', "k", "a")


def test_no_more_than_the_free_slots_times_a_batch(rows: Rows, store: Store) -> None:
    added = rows.add(200)
    claim = store.claim(replace(EIGHT, slots=3))
    assert ids(claim.batches) == [added[:50], added[50:100], added[100:150]]
    assert flat(store.claim(replace(EIGHT, batch_size=7, slots=2))) == added[150:164]


def test_a_claim_writes_no_message(rows: Rows, store: Store) -> None:
    rows.add(60)
    rows.add(20, key_each="k")
    versions = "select xmin, ctid, id from relay.outbox order by id"
    before = rows.read(versions)
    assert len(flat(store.claim(EIGHT))) == 80
    assert rows.read(versions) == before


def test_what_an_open_call_names_is_not_claimed_and_what_was_released_is(rows: Rows, store: Store) -> None:
    added = rows.add(60)
    first = store.claim(ONE)
    second = store.claim(ONE)
    assert (flat(first), flat(second)) == (added[:50], added[50:])
    assert store.claim(ONE).batches == ()
    store.settle([released(first.batches[0])], {})
    assert flat(store.claim(ONE)) == added[:50]
    assert rows.one("select max(attempts) from relay.outbox") == 0


def test_done_messages_are_never_claimed_again(rows: Rows, store: Store) -> None:
    rows.add(10)
    done(store, store.claim(ONE).batches)
    assert claimed_again_and_again(store, EIGHT) == []


def test_oldest_due_first(rows: Rows, store: Store) -> None:
    late = rows.add(50, due_in_seconds=-1)
    early = rows.add(50, due_in_seconds=-10)
    assert flat(store.claim(ONE)) == early
    assert flat(store.claim(ONE)) == late


def test_nothing_before_it_is_due_and_held_ones_never(rows: Rows, store: Store) -> None:
    rows.add(5, due_in_seconds=3600)
    rows.add(2, key_each="k", due_in_seconds=3600)
    (held,) = rows.add()
    rows.run("update relay.outbox set available_at = 'infinity' where id = :id", id=held)
    assert claimed_again_and_again(store, EIGHT) == []
    rows.run("update relay.outbox set available_at = now()")
    assert len(claimed_again_and_again(store, EIGHT)) == 8


def test_one_account_a_call(rows: Rows, store: Store) -> None:
    for account in ("a", "b", "c"):
        rows.add(30, account=account)
    claim = store.claim(EIGHT)
    assert Counter(batch.account for batch in claim.batches) == {"a": 1, "b": 1, "c": 1}
    for batch in claim.batches:
        assert {message.account for message in batch.messages} == {batch.account}
        assert rows.call(batch.call_id).account == batch.account


def test_a_greedy_account_does_not_starve_another(rows: Rows, store: Store) -> None:
    rows.add(300, account="greedy")
    few = rows.add(3, account="modest")
    for slots in (1, 2):
        claims = list[Batch]()
        for _ in range(2):
            claim = store.claim(replace(ONE, slots=slots))
            claims += claim.batches
        assert few in ids(claims)
        store.settle([released(batch) for batch in claims], {})


def test_accounts_take_turns_claim_after_claim(rows: Rows, store: Store) -> None:
    for account in "abcdefghijkl":
        rows.add(100, account=account)
    served = []
    for _ in range(24):
        claim = store.claim(replace(ONE, batch_size=10))
        served += [batch.account for batch in claim.batches]
    assert Counter(served) == dict.fromkeys("abcdefghijkl", 2)


@pytest.mark.parametrize("accounts", [1, 4, 8, 16])
def test_the_end_of_a_round_costs_no_claim(rows: Rows, store: Store, accounts: int) -> None:
    for number in range(accounts):
        rows.add(160 // accounts, account=f"account{number:02}")
    for _ in range(4):
        claim = store.claim(replace(EIGHT, slots=4, batch_size=10))
        assert len(claim.batches) == 4


def test_hundreds_of_accounts_are_all_reached_and_then_it_is_exhausted(rows: Rows, store: Store) -> None:
    rows.run(
        """insert into relay.outbox (topic, content, account)
        select 't', '{}', 'account' || n from generate_series(1, 700) n, generate_series(1, 2)"""
    )
    found = claimed_again_and_again(store, EIGHT)
    assert len(found) == len(set(found)) == 1400


@pytest.mark.parametrize("accounts", [256, 1000])
def test_many_accounts_that_all_wait_are_exhausted_too(rows: Rows, store: Store, accounts: int) -> None:
    rows.run(
        """insert into relay.outbox (topic, content, account, available_at)
        select 't', '{}', 'account' || n, now() + interval '1 hour' from generate_series(1, :n) n""",
        n=accounts,
    )
    assert claimed_again_and_again(store, EIGHT) == []
    rows.run("update relay.outbox set available_at = now() where account = 'account200'")
    assert len(claimed_again_and_again(store, EIGHT)) == 1


def test_a_paused_account_is_left_alone_until_the_pause_ends(rows: Rows, store: Store) -> None:
    rows.add(2, account="a")
    rows.add(2, account="a", key_each="k")
    other = rows.add(2, account="b")
    pause = "insert into relay.pause (scope, until, reason, by) values (:scope, cast(:until as timestamptz), 'r', 'me')"
    rows.run(pause, scope="account:a", until=None)
    assert claimed_again_and_again(store, EIGHT) == other
    rows.run("update relay.pause set until = now() + interval '1 hour'")
    assert claimed_again_and_again(store, EIGHT) == []
    rows.run("update relay.pause set until = now() - interval '1 second'")
    assert len(claimed_again_and_again(store, EIGHT)) == 4


def test_skipped_accounts_are_left_alone_and_cost_the_others_nothing(rows: Rows, store: Store) -> None:
    rows.add(2, account="a")
    wanted = rows.add(2, account="b")
    rows.add(2, account="c", key_each="k")
    skip = replace(EIGHT, skip_accounts=("a", "c"))
    assert claimed_again_and_again(store, skip) == wanted
    assert len(claimed_again_and_again(store, EIGHT)) == 4


def test_what_is_too_late_fails_unsent(rows: Rows, store: Store) -> None:
    (late,) = rows.add(deliver_within_seconds=-1)
    (late_head,) = rows.add(key="k", deliver_within_seconds=-1)
    (next_head,) = rows.add(key="k")
    (in_time,) = rows.add(deliver_within_seconds=3600)
    claim = store.claim(EIGHT)
    assert (flat(claim), claim.expired, claim.exhausted) == ([in_time], 2, False)
    for id_ in (late, late_head):
        row = rows.message(id_)
        assert (row.status, row.error_code, row.attempts, row.call_id) == ("failed", "relay.expired", 0, None)
        assert row.finished_at is not None
    assert flat(store.claim(EIGHT)) == [next_head]


def test_what_is_in_flight_does_not_expire(rows: Rows, store: Store) -> None:
    (id_,) = rows.add(deliver_within_seconds=3600)
    store.claim(ONE)
    rows.run("update relay.outbox set deliver_before = now() - interval '1 second'")
    claim = store.claim(ONE)
    assert (claim.batches, claim.expired, rows.message(id_).status) == ((), 0, "pending")
    # Also where it looked free to a snapshot older than another worker's claim.
    assert rows.read(sql.FAIL_EXPIRED.replace("{schema}", "relay"), ids=[id_]) == []


def test_batches_end_at_the_byte_limit(rows: Rows, store: Store) -> None:
    added = rows.add(5, content='{"x": "' + "y" * 391 + '"}')  # 400 bytes, and one of the topic
    claim = store.claim(replace(EIGHT, max_bytes=802))
    assert ids(claim.batches) == [added[:2], added[2:4], added[4:]]


def test_a_batch_that_is_not_full_lingers(rows: Rows, store: Store) -> None:
    added = rows.add(60)
    linger = replace(EIGHT, linger_seconds=30)
    first = store.claim(linger)
    assert flat(first) == added[:50]
    assert store.claim(linger).batches == ()
    rows.run("update relay.outbox set available_at = now() - interval '1 minute' where id = :id", id=added[55])
    assert flat(store.claim(linger)) == added[50:]


def test_another_schema_and_no_other_is_touched(rows: Rows, engine: Engine) -> None:
    import relay

    url = engine.url.render_as_string(hide_password=False)
    relay.migrate(url, schema="elsewhere")
    rows.add()
    rows.run("insert into elsewhere.outbox (topic, content, ordering_key) values ('t', '{}', 'k')")
    elsewhere = make_engine(url, "elsewhere")
    assert len(flat(Store(elsewhere, worker="w", lease_seconds=60).claim(EIGHT))) == 1
    elsewhere.dispose()
    assert rows.calls() == []
    assert rows.one("select count(*) from elsewhere.call") == 1


def locks_of(connection: Any) -> int:
    """Of this database only: other tests use the same server."""
    here = "database = (select oid from pg_database where datname = current_database())"
    return int(connection.scalar(text(f"select count(*) from pg_locks where locktype = 'advisory' and {here}")))


def test_a_claim_leaves_no_lock_behind(rows: Rows, store: Store, engine: Engine) -> None:
    rows.add(3, key_each="k")
    store.claim(EIGHT)
    with engine.connect() as connection:
        assert locks_of(connection) == 0
