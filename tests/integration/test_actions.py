"""What a person may do to messages: every change with its ledger row, every refusal with its reason."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, Row, create_engine, text
from sqlalchemy.exc import DBAPIError

import relay
from relay.database import Database
from relay.message import Answered, Batch, Fault, Result
from relay.operators import actions
from relay.operators.actions import ActionFilter
from relay.operators.ledger import Order
from relay.outcomes import Policy, decide, released
from relay.store import ClaimLimits, Store
from tests.fixtures.waiting import eventually

ORDER = Order("ann@desk", "the platform was down", {"why": "test"})
FAILED = {"status": "'failed'", "finished_at": "now() - interval '1 hour'", "error_code": "'isv.x'", "attempts": "12"}
DONE = {"status": "'done'", "finished_at": "now()", "call_id": "1", "result_index": "0"}
WAITING = text("select count(*) from pg_stat_activity where wait_event_type = 'Lock'")
HELD = {"available_at": "'infinity'", "error_code": "'relay.timeout'", "attempts": "1"}


@pytest.fixture
def db(engine: Engine, independent: None) -> Iterator[Connection]:
    """Every statement is committed at once, and the operation under test has a transaction of its own."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        yield connection


@pytest.fixture
def store(engine: Engine) -> Store:
    return Store(engine, worker="w1", lease_seconds=60)


def insert(db: Connection, **columns: str) -> int:
    values = {"topic": "'t'", "content": "'{}'"} | columns
    statement = f"insert into relay.outbox ({', '.join(values)}) values ({', '.join(values.values())}) returning id"
    return int(db.execute(text(statement)).scalar_one())


def message(db: Connection, number: int) -> Row[Any]:
    asked = """
        select status, attempts, call_id, result_index, error_code, error_message, finished_at, content::text as words,
            json_ex_content, headers, available_at <= now() as due, nullif(available_at, 'infinity') as available_at
        from relay.outbox where id = :id
    """
    return db.execute(text(asked), {"id": number}).one()


def ledger(db: Connection) -> Sequence[Row[Any]]:
    return db.execute(
        text("select *, count as number, db_user = session_user as ours from relay.action order by id")
    ).all()


def claim(store: Store) -> Batch:
    (batch,) = store.claim(ClaimLimits(slots=1)).batches
    return batch


def act(engine: Engine, verb: str, ids: Sequence[int], **how: Any) -> actions.Changed:
    with engine.begin() as connection:
        changed = getattr(actions, verb)(connection, ids, ORDER, **how)
    assert isinstance(changed, actions.Changed)
    return changed


def test_retry_makes_failed_and_held_messages_due_with_the_whole_schedule_before_them(
    engine: Engine, db: Connection
) -> None:
    failed = insert(db, **FAILED | {"call_id": "7", "result_index": "3"})
    held = insert(db, **HELD)
    changed = act(engine, "retry", [held, failed, failed])
    assert changed.changed == (failed, held)
    assert not changed.skipped
    for number in (failed, held):
        row = message(db, number)
        assert (row.status, row.attempts, row.due, row.finished_at) == ("pending", 0, True, None)
        assert (row.call_id, row.result_index) == (None, None)
    assert message(db, failed).error_code == "isv.x"
    (row,) = ledger(db)
    assert (row.id, row.action, row.actor, row.ours) == (changed.action, "retry", "ann@desk", True)
    assert (row.reason, row.selection["stated"]) == (ORDER.reason, {"why": "test"})
    assert (row.message_ids, row.number) == ([failed, held], 2)


def test_a_retried_message_is_claimed_and_can_be_done(engine: Engine, db: Connection, store: Store) -> None:
    number = insert(db, **FAILED)
    act(engine, "retry", [number])
    batch = claim(store)
    answer = Answered((Result(None),), http_status=200)
    store.settle([decide(batch, answer, Policy(), random.Random(1))], {})
    assert (message(db, number).status, message(db, number).attempts) == ("done", 1)


def test_retry_spreads_messages_over_time_in_the_order_of_ids(engine: Engine, db: Connection) -> None:
    ids = [insert(db, **FAILED) for _ in range(5)]
    act(engine, "retry", list(reversed(ids)), per_second=2)
    times = [message(db, number).available_at for number in ids]
    assert [(moment - times[0]).total_seconds() for moment in times] == [0, 0.5, 1, 1.5, 2]


@pytest.mark.parametrize(
    ("verb", "columns", "why"),
    [
        ("retry", DONE, "it is done, and done is final"),
        ("retry", {}, "it is pending already"),
        ("retry", FAILED | {"deliver_before": "now() - interval '1s'"}, "its deliver_before has passed"),
        ("retry", HELD | {"deliver_before": "now() - interval '1s'"}, "its deliver_before has passed"),
        ("retry", FAILED | {"created_xid": "'3'", "content": "'{\"redacted\": true}'"}, "its content was removed"),
        ("discard", DONE, "it is done, and done is final"),
        ("discard", FAILED | {"error_code": "'relay.discarded'"}, "it is discarded already"),
        ("redact", {}, "it is pending and would be sent without its content"),
        ("redact", HELD, "it is pending and would be sent without its content"),
        (
            "redact",
            FAILED | {"created_xid": "'3'", "content": "'{\"redacted\": true}'"},
            "its content was removed already",
        ),
    ],
)
def test_what_is_left_alone_and_why(
    engine: Engine, db: Connection, verb: actions.Verb, columns: dict[str, str], why: str
) -> None:
    number, unknown = insert(db, **columns), 999
    before = message(db, number)
    changed = act(engine, verb, [number, unknown])
    assert (changed.changed, changed.action, ledger(db)) == ((), None, [])
    assert changed.skipped[number].startswith(why)
    assert changed.skipped[unknown] == "there is no such message"
    assert [*message(db, number)] == [*before]
    with engine.connect() as connection:
        assert actions.preview(connection, verb, [number, unknown]).skipped == changed.skipped


@pytest.mark.parametrize("verb", ["retry", "discard", "redact"])
def test_what_is_in_flight_is_never_touched(engine: Engine, db: Connection, store: Store, verb: str) -> None:
    number = insert(db)
    batch = claim(store)
    changed = act(engine, verb, [number])
    assert changed.changed == ()
    assert changed.skipped[number].startswith(("it is in flight", "it is pending"))
    if verb == "discard":
        assert changed.skipped[number] == f"it is in flight: try again when call {batch.call_id} is settled"
    answer = Answered((Result(None),), http_status=200)
    store.settle([decide(batch, answer, Policy(), random.Random(1))], {})
    assert message(db, number).status == "done"


def test_a_claim_that_is_not_committed_yet_wins_over_the_discard_that_waits_for_it(
    engine: Engine, db: Connection
) -> None:
    """The row is locked by a claim; when it is free, its call is in no snapshot that was taken before."""
    number = insert(db)
    with ThreadPoolExecutor(1) as pool, engine.connect() as claimer:
        claimer.execute(text("select id from relay.outbox for update"))
        waiting = pool.submit(act, engine, "discard", [number])
        eventually(lambda: db.execute(WAITING).scalar_one())
        claimer.execute(
            text(
                "insert into relay.call (account, worker, message_ids, lease_until) "
                f"values ('default', 'w1', array[{number}], now() + interval '1min')"
            )
        )
        claimer.commit()
        changed = waiting.result(10)
    assert changed.changed == ()
    assert changed.skipped[number].startswith("it is in flight")
    assert message(db, number).status == "pending"


def test_a_call_that_is_settled_between_the_two_looks_leaves_its_message_to_the_next_claim(
    engine: Engine, db: Connection, store: Store
) -> None:
    """The second look is delayed by a lock that the first one waits for, on another message."""
    number = insert(db)
    batch = claim(store)
    other = insert(db, **HELD)
    with ThreadPoolExecutor(1) as pool, engine.connect() as somebody:
        somebody.execute(text("select id from relay.outbox where id = :id for update"), {"id": other})
        waiting = pool.submit(act, engine, "discard", [number, other])
        eventually(lambda: db.execute(WAITING).scalar_one())
        store.settle([released(batch)], {})
        somebody.rollback()
        changed = waiting.result(10)
    assert (changed.changed, changed.skipped) == ((other,), {number: "it is just changing: try again"})
    assert [m.id for m in claim(store).messages] == [number]


def test_what_an_operator_holds_is_claimed_by_nobody(engine: Engine, db: Connection, store: Store) -> None:
    number = insert(db)
    with engine.begin() as connection:
        actions.discard(connection, [number], ORDER)
        assert store.claim(ClaimLimits(slots=1)).batches == ()
    assert message(db, number).error_code == "relay.discarded"


def test_of_two_operators_one_retries_and_the_other_is_told(engine: Engine, db: Connection) -> None:
    ids = [insert(db, **FAILED) for _ in range(200)]
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda order: act(engine, "retry", order), [ids, list(reversed(ids))]))
    assert sorted(len(one.changed) for one in both) == [0, 200]
    (loser,) = (one for one in both if not one.changed)
    assert set(loser.skipped.values()) == {"it is pending already"}
    assert len(ledger(db)) == 1


def test_discard_closes_with_the_reason_and_lets_the_key_go_on(engine: Engine, db: Connection, store: Store) -> None:
    held = insert(db, **HELD | {"ordering_key": "'k'"})
    following = insert(db, ordering_key="'k'")
    assert store.claim(ClaimLimits(slots=1)).batches == ()
    act(engine, "discard", [held])
    row = message(db, held)
    assert (row.status, row.error_code, row.error_message) == ("failed", "relay.discarded", ORDER.reason)
    assert [m.id for m in claim(store).messages] == [following]


def test_discard_of_a_failed_message_keeps_when_it_failed_and_a_retry_undoes_it(engine: Engine, db: Connection) -> None:
    number = insert(db, **FAILED)
    finished_at = message(db, number).finished_at
    act(engine, "discard", [number])
    assert (message(db, number).error_code, message(db, number).finished_at) == ("relay.discarded", finished_at)
    act(engine, "retry", [number])
    assert message(db, number).status == "pending"
    assert [row.action for row in ledger(db)] == ["discard", "retry"]


@pytest.mark.parametrize(
    ("wanted", "for_retry", "for_discard"),
    [
        (ActionFilter(), "old failed held first", "old failed held first later second"),
        (ActionFilter(status="failed"), "old failed", "old failed"),
        (ActionFilter(status="held"), "held first", "held first"),
        (ActionFilter(status="pending"), "held first later second", "held first later second"),
        (ActionFilter(error_code="isv.x"), "old", "old"),
        (ActionFilter(error_code="relay.discarded"), "closed", "closed"),
        (ActionFilter(topic="u"), "failed", "failed second"),
        (ActionFilter(account="shop"), "failed", "failed"),
        (ActionFilter(ordering_key="k"), "first", "first second"),
        (ActionFilter(since=timedelta(hours=2)), "failed held first", "failed held first later second"),
        (ActionFilter(until=timedelta(hours=2)), "old", "old"),
        (ActionFilter(limit=2), "old failed", "old failed"),
    ],
)
def test_find(engine: Engine, db: Connection, wanted: ActionFilter, for_retry: str, for_discard: str) -> None:
    named = {
        insert(db, **FAILED | {"created_at": "now() - interval '3 hours'"}): "old",
        insert(db, **FAILED | {"error_code": "null", "topic": "'u'", "account": "'shop'"}): "failed",
        insert(db, **HELD): "held",
        insert(db, **HELD | {"ordering_key": "'k'"}): "first",
        insert(db, available_at="now() + interval '1 hour'"): "later",
        insert(db, ordering_key="'k'", topic="'u'"): "second",
        insert(db, **FAILED | {"error_code": "'relay.discarded'"}): "closed",
        insert(db, **DONE): "done",
    }
    verbs: tuple[tuple[actions.Verb, str], ...] = (("retry", for_retry), ("discard", for_discard))
    for verb, expected in verbs:
        found = actions.find(db, wanted, verb=verb)
        assert " ".join(named[number] for number in found) == expected


def test_nothing_but_the_messages_meant_is_read(engine: Engine, db: Connection) -> None:
    db.execute(
        text(
            "insert into relay.outbox (topic, content, status, finished_at, call_id, result_index) "
            "select 't', '{}', 'done', now(), 1, 0 from generate_series(1, 20000)"
        )
    )
    insert(db, **FAILED)
    insert(db, **HELD)
    db.execute(text("vacuum analyze relay.outbox"))
    read = "select seq_tup_read from pg_stat_user_tables where relid = 'relay.outbox'::regclass"

    def rows_read() -> int:
        db.execute(text("select pg_stat_force_next_flush()"))
        return int(db.execute(text(read)).scalar_one())

    before, found = rows_read(), actions.find(db, ActionFilter(since=timedelta(hours=1)), verb="discard")
    assert found == [20001, 20002]
    assert actions.preview(db, "discard", found).changing == (20001, 20002)
    with engine.begin() as acting:
        assert actions.retry(acting, found, ORDER).changed == (20001, 20002)
        assert actions.discard(acting, found, ORDER).changed == (20001, 20002)
    assert rows_read() == before


def test_preview_tells_how_many_how_old_and_which_keys(engine: Engine, db: Connection) -> None:
    ids = [
        insert(db, **FAILED | {"created_at": "now() - interval '2 hours'"}),
        *(insert(db, **FAILED | {"ordering_key": key}) for key in ("'a'", "'b'", "'b'")),
        insert(db, **FAILED | {"ordering_key": "'a'", "account": "'shop'"}),
        insert(db, **DONE | {"created_at": "now() - interval '9 hours'", "ordering_key": "'c'"}),
    ]
    with engine.connect() as connection:
        found = actions.preview(connection, "retry", ids)
    assert (found.changing, found.ordering_keys) == (tuple(ids[:5]), 3)
    assert found.oldest_seconds == pytest.approx(7200, abs=60)
    assert list(found.skipped) == ids[5:]


def test_above_ten_thousand_the_ledger_goes_on_in_further_rows(engine: Engine, db: Connection) -> None:
    db.execute(
        text(
            "insert into relay.outbox (topic, content, status, finished_at) "
            "select 't', '{}', 'failed', now() from generate_series(1, 10001)"
        )
    )
    act(engine, "retry", range(1, 10_001))
    recorded = act(engine, "discard", range(1, 10_002)).action
    few, first, rest = ledger(db)
    assert (len(few.message_ids), few.number) == (10_000, 10_000)
    assert (first.message_ids + rest.message_ids, first.number + rest.number) == (list(range(1, 10_002)), 10_001)
    assert first.selection == {"given": 10_001, "changed": 10_001, "stated": {"why": "test"}}
    assert rest.selection == {"continues": recorded, "part": 2, "parts": 2}


def test_a_change_that_cannot_be_recorded_is_not_made(engine: Engine, db: Connection) -> None:
    number = insert(db, **FAILED)
    blank = Order("ann", " ", {})
    with pytest.raises(DBAPIError, match="action_reason_given"), engine.begin() as connection:
        actions.retry(connection, [number], blank)
    assert message(db, number).status == "failed"


def test_redact_leaves_a_tombstone_and_the_digests(engine: Engine, db: Connection) -> None:
    content, extra = '{"buyer": "张三"}', '{"x": 1}'
    number = insert(db, **DONE | {"content": f"'{content}'", "json_ex_content": f"'{extra}'"})
    other = insert(db, **FAILED | {"headers": '\'{"traceparent": "00"}\''})
    salt = bytes(db.execute(text("select content_salt from relay.outbox where id = :id"), {"id": number}).scalar_one())
    changed = act(engine, "redact", [number, other])
    assert changed.changed == (number, other)
    row = message(db, number)
    assert (row.status, row.words, row.json_ex_content) == ("done", '{"redacted": true}', None)
    assert message(db, other).headers is None
    (entry,) = ledger(db)
    assert entry.selection["why"] == "test"
    digests = entry.selection["salted_sha256"]
    assert digests[str(number)] == {
        "content": hashlib.sha256(salt + content.encode()).hexdigest(),
        "json_ex_content": hashlib.sha256(salt + extra.encode()).hexdigest(),
    }
    assert set(digests[str(other)]) == {"content", "headers"}
    assert "张三" not in str(entry)


def test_nothing_else_may_change_a_content_in_the_transaction_that_redacted(engine: Engine, db: Connection) -> None:
    number, other = insert(db, **DONE), insert(db, **DONE)
    with engine.connect() as connection:
        actions.redact(connection, [number], ORDER)
        with pytest.raises(DBAPIError, match="stays as it is"):
            connection.execute(text(f"update relay.outbox set content = '{{\"n\": 2}}' where id = {other}"))


def test_an_unknown_outcome_that_is_held_can_be_sent_again(engine: Engine, db: Connection, store: Store) -> None:
    number = insert(db)
    answer = Answered((Result(Fault.UNKNOWN, "relay.timeout", "no answer"),), http_status=200)
    store.settle([decide(claim(store), answer, Policy(hold_unknown=True), random.Random(1))], {})
    assert act(engine, "retry", [number]).changed == (number,)
    assert [m.id for m in claim(store).messages] == [number]
    history = db.execute(text("select outcome from relay.attempt where message_id = :id"), {"id": number})
    assert history.scalars().all() == ["unknown"], "what happened before stays on record"


def test_pause_and_resume_stop_and_start_the_claim(engine: Engine, db: Connection, store: Store) -> None:
    insert(db, account="'shop'")
    with engine.begin() as connection:
        until, action = actions.pause(connection, "account:shop", ORDER)
    assert (until, action) == (None, ledger(db)[0].id)
    assert store.claim(ClaimLimits(slots=1)).batches == ()
    with engine.begin() as connection:
        assert actions.resume(connection, "account:shop", ORDER)
        assert actions.resume(connection, "account:shop", ORDER) is None
    assert [m.account for m in claim(store).messages] == ["shop"]
    assert [(row.action, row.number, row.message_ids) for row in ledger(db)] == [
        ("pause", 0, None),
        ("resume", 0, None),
    ]


def test_the_operators_pause_takes_the_place_of_any_other(engine: Engine, db: Connection, store: Store) -> None:
    db.execute(
        text(
            "insert into relay.pause (scope, reason, error_code, credential, by) "
            "values ('account:shop', 'credentials refused', '27', 'f1', 'w1')"
        )
    )
    with engine.begin() as connection:
        before = actions.pause_in_force(connection, "account:shop")
        actions.pause(connection, "account:shop", ORDER, lasting=timedelta(minutes=30))
    since = db.execute(text("select since from relay.pause_past")).scalar_one()
    assert before == actions.PauseInForce(None, "credentials refused", "w1", since)
    (found,) = store.pauses()
    assert found.seconds_left == pytest.approx(1800, abs=60)
    assert (found.reason, found.error_code, found.fingerprint) == (ORDER.reason, None, None)


def test_a_pause_that_has_ended_is_not_in_force(engine: Engine, db: Connection) -> None:
    with engine.begin() as connection:
        actions.pause(connection, "app:1", ORDER, lasting=timedelta(0))
    with engine.begin() as connection:
        assert actions.pause_in_force(connection, "app:1") is None
        assert actions.resume(connection, "app:1", ORDER) is None


def test_actions_work_in_a_schema_of_another_name(empty_url: str) -> None:
    relay.migrate(empty_url, schema="My Outbox")
    engine = create_engine(empty_url)
    with Database(engine, "My Outbox").operating() as acting, acting.begin() as connection:
        connection.execute(text("insert into \"My Outbox\".outbox (topic, content) values ('t', '{}')"))
        found = actions.find(connection, ActionFilter(topic="t"), verb="discard")
        assert actions.discard(connection, found, ORDER).changed == (1,)
    engine.dispose()
