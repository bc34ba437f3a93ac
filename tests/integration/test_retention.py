"""What is over for long goes for good, in batches: each with its ledger row, and nothing that is still wanted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, Row, text

from relay.operators import actions, retention
from relay.operators.ledger import Order

ORDER = Order("ann@desk", "the time is over", {"why": "test"})
FAILED = {"status": "'failed'", "finished_at": "now() - interval '1 hour'", "error_code": "'isv.x'", "attempts": "12"}
DONE = {"status": "'done'", "finished_at": "now()", "call_id": "1", "result_index": "0"}
HELD = {"available_at": "'infinity'", "error_code": "'relay.timeout'", "attempts": "1"}


@pytest.fixture
def db(engine: Engine, independent: None) -> Iterator[Connection]:
    """Every statement is committed at once, and the operation under test has a transaction of its own."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        yield connection


def insert(db: Connection, **columns: str) -> int:
    values = {"topic": "'t'", "content": "'{}'"} | columns
    statement = f"insert into relay.outbox ({', '.join(values)}) values ({', '.join(values.values())}) returning id"
    return int(db.execute(text(statement)).scalar_one())


def ledger(db: Connection) -> Sequence[Row[Any]]:
    return db.execute(text("select *, count as number from relay.action order by id")).all()


def old(columns: dict[str, str], days: int = 200) -> dict[str, str]:
    moment = f"now() - interval '{days} days'"
    return columns | {"created_at": moment, "finished_at": moment}


def insert_call(db: Connection, number: int, message_ids: str, days: int = 200, settled: bool = True) -> None:
    moment = f"now() - interval '{days} days'"
    end = f"{moment}, 'ok'" if settled else "null, null"
    db.execute(
        text(
            "insert into relay.call (id, account, worker, message_ids, claimed_at, lease_until, settled_at, outcome) "
            f"overriding system value values ({number}, 'a', 'w', '{message_ids}', {moment}, {moment}, {end})"
        )
    )


def pruned(engine: Engine, batch: int = 1000, days: int = 180) -> list[retention.Pruned]:
    return list(retention.prune(engine, timedelta(days=days), ORDER, batch=batch))


def test_prune_deletes_what_finished_long_ago_with_its_attempts_and_calls(engine: Engine, db: Connection) -> None:
    gone = [insert(db, **old(DONE)), insert(db, **old(FAILED))]
    kept = [
        insert(db, **old(DONE, days=179)),
        insert(db, **HELD | {"created_at": "now() - interval '300 days'"}),
        insert(db, created_at="now() - interval '300 days'"),
    ]
    for number in (gone[1], kept[0]):
        db.execute(
            text("insert into relay.attempt (message_id, call_id, result_index, outcome) values (:id, 1, 0, 'retry')"),
            {"id": number},
        )
    insert_call(db, 1, f"{{{gone[0]},{gone[1]}}}")
    insert_call(db, 2, f"{{{gone[0]},{kept[0]}}}")
    insert_call(db, 3, f"{{{gone[0]}}}", days=100)
    insert_call(db, 4, f"{{{gone[0]}}}", settled=False)
    with engine.connect() as connection:
        messages, oldest_seconds = retention.prunable(connection, timedelta(days=180))
    assert (messages, oldest_seconds == pytest.approx(200 * 86_400, abs=60)) == (2, True)
    batches = pruned(engine)
    assert sum(one.messages for one in batches) == 2
    assert (sum(one.attempts for one in batches), sum(one.calls for one in batches)) == (1, 1)
    assert db.execute(text("select id from relay.outbox order by id")).scalars().all() == kept
    assert db.execute(text("select message_id from relay.attempt")).scalars().all() == kept[:1]
    assert db.execute(text("select id from relay.call order by id")).scalars().all() == [2, 3, 4]
    first, second = ledger(db)
    assert (first.action, first.message_ids, first.number) == ("prune", gone, 2)
    assert (second.action, second.message_ids, second.number) == ("prune", None, 1)
    assert (first.selection["table"], second.selection["table"]) == ("outbox", "call")


def test_prune_goes_in_batches_each_committed_with_its_ledger_row(engine: Engine, db: Connection) -> None:
    for _ in range(7):
        insert(db, **old(DONE))
    batches = retention.prune(engine, timedelta(days=180), ORDER, batch=3)
    assert next(batches).messages == 3
    assert db.execute(text("select count(*) from relay.outbox")).scalar_one() == 4
    assert [row.number for row in ledger(db)] == [3]
    assert sum(one.messages for one in batches) == 4
    assert [row.number for row in ledger(db)] == [3, 3, 1]
    pruned(engine)
    assert len(ledger(db)) == 3, "a prune that finds nothing leaves no row"


def test_prune_looks_behind_old_messages_that_stay(engine: Engine, db: Connection) -> None:
    for _ in range(5):
        insert(db, created_at="now() - interval '300 days'")
    number = insert(db, **old(FAILED))
    assert sum(one.messages for one in pruned(engine, batch=2)) == 1
    assert db.execute(text("select count(*) from relay.outbox where id = :id"), {"id": number}).scalar_one() == 0


def test_prune_leaves_what_somebody_is_working_on(engine: Engine, db: Connection) -> None:
    number = insert(db, **old(FAILED))
    with engine.begin() as connection:
        actions.retry(connection, [number], ORDER)
        assert sum(one.messages for one in pruned(engine)) == 0
    assert db.execute(text("select status from relay.outbox")).scalar_one() == "pending"
