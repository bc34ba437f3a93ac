"""Messages of one ordering key leave in id order, also while earlier ones are still being written."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Connection, Engine, create_engine, text

import relay
from relay.message import Batch
from relay.store import ClaimLimits, Store


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    made = create_engine(database_url, isolation_level="READ COMMITTED")
    yield made
    made.dispose()


def claimed(engine: Engine, **limits: object) -> list[int]:
    """The ids that one whole round of claims gets hold of."""
    store = Store(engine, worker="test", lease_seconds=60)
    ids = []
    while True:
        claim = store.claim(ClaimLimits(slots=8, **limits))  # type: ignore[arg-type]
        ids += [message.id for batch in claim.batches for message in batch.messages]
        if claim.exhausted:
            return sorted(ids)


def insert(connection: Connection, key: str | None) -> int:
    id_ = relay.add(connection, "topic", {"key": key}, ordering_key=key)
    assert id_ is not None
    return id_


def test_a_later_message_waits_for_an_earlier_one_that_is_not_committed(engine: Engine) -> None:
    with engine.connect() as slow, engine.connect() as fast:
        first = insert(slow, "order-1")
        second = insert(fast, "order-1")
        fast.commit()
        assert claimed(engine) == [], f"{second} overtakes {first}, which is being written"
        slow.commit()
    assert claimed(engine) == [first]


def test_an_earlier_message_that_is_rolled_back_holds_nothing(engine: Engine) -> None:
    with engine.connect() as slow, engine.connect() as fast:
        insert(slow, "order-1")
        second = insert(fast, "order-1")
        fast.commit()
        slow.rollback()
    assert claimed(engine) == [second]


def test_a_transaction_that_writes_a_key_holds_messages_without_one_not_at_all(engine: Engine) -> None:
    with engine.connect() as slow, engine.connect() as fast:
        insert(slow, "order-1")
        free = [insert(fast, None) for _ in range(3)]
        fast.commit()
        assert claimed(engine) == free


def test_a_transaction_that_writes_a_key_holds_few_other_keys(engine: Engine) -> None:
    """Keys share 256 buckets, so of 500 other keys about two wait."""
    with engine.connect() as slow, engine.connect() as fast:
        insert(slow, "order-1")
        ids = [insert(fast, f"other-{number}") for number in range(500)]
        fast.commit()
        assert len(claimed(engine)) > len(ids) - 20


def test_ids_follow_the_order_of_inserts_and_inserts_do_not_wait_for_each_other(engine: Engine) -> None:
    with engine.connect() as one, engine.connect() as other:
        first, second, third = insert(one, "order-1"), insert(other, "order-1"), insert(one, "order-1")
        assert first < second < third
        one.commit()
        other.commit()


def test_only_one_message_of_a_key_is_in_flight(engine: Engine) -> None:
    with engine.begin() as connection:
        ids = [insert(connection, f"key-{number % 5}") for number in range(50)]
    assert claimed(engine) == ids[:5]
    assert claimed(engine) == []


def test_concurrent_claims_take_each_head_once(engine: Engine) -> None:
    with engine.begin() as connection:
        ids = [insert(connection, f"key-{number}") for number in range(200)]
    with ThreadPoolExecutor(4) as threads:
        rounds = list(threads.map(lambda _: claimed(engine), range(4)))
    assert sorted(id_ for each in rounds for id_ in each) == ids


def test_a_message_that_failed_for_good_releases_its_key_or_holds_it(engine: Engine) -> None:
    with engine.begin() as connection:
        first, second = insert(connection, "order-1"), insert(connection, "order-1")
        fail = text(
            "update relay.outbox set status = 'failed', finished_at = now(), error_code = 'isv.x' where id = :id"
        )
        connection.execute(fail, {"id": first})
    assert claimed(engine, failed_holds=True) == []
    with engine.begin() as connection:
        connection.execute(text("update relay.outbox set error_code = 'relay.discarded' where id = :id"), {"id": first})
    assert claimed(engine, failed_holds=True) == [second]


def test_and_releases_it_by_default(engine: Engine) -> None:
    with engine.begin() as connection:
        first, second = insert(connection, "order-1"), insert(connection, "order-1")
        connection.execute(
            text("update relay.outbox set status = 'failed', finished_at = now() where id = :id"), {"id": first}
        )
    assert claimed(engine) == [second]


def test_blocked_keys_are_listed_with_age_and_size(engine: Engine) -> None:
    with engine.begin() as connection:
        head = insert(connection, "order-1")
        for _ in range(3):
            insert(connection, "order-1")
        insert(connection, "order-2")
        connection.execute(
            text("update relay.outbox set available_at = 'infinity', error_code = 'relay.timeout' where id = :id"),
            {"id": head},
        )
        rows = connection.execute(text("select ordering_key, head_id, messages, error_code from relay.blocked_keys"))
        assert [tuple(row) for row in rows] == [("order-1", head, 4, "relay.timeout")]


def test_keys_in_two_accounts_are_two_keys(engine: Engine) -> None:
    with engine.begin() as connection:
        ids = [
            relay.add(connection, "topic", {"n": 1}, account=account, ordering_key="order-1") for account in ("a", "b")
        ]
    assert claimed(engine) == ids


def test_a_partial_batch_lingers(engine: Engine) -> None:
    """RELAY_LINGER_MS: what is not full waits until its oldest message has been due for so long."""
    store = Store(engine, worker="test", lease_seconds=60)
    with engine.begin() as connection:
        ids = [insert(connection, None) for _ in range(60)]
    claim = store.claim(ClaimLimits(slots=8, linger_seconds=600))
    assert [len(batch) for batch in claim.batches] == [50]
    with engine.begin() as connection:
        connection.execute(text("update relay.outbox set available_at = now() - interval '11 minutes'"))
    claim = store.claim(ClaimLimits(slots=8, linger_seconds=600))
    assert [batch_ids(batch) for batch in claim.batches] == [ids[50:]]


def batch_ids(batch: Batch) -> list[int]:
    return [message.id for message in batch.messages]


def test_calls_of_one_app_key_keep_their_distance_whoever_makes_them(engine: Engine) -> None:
    workers = [Store(engine, worker=name, lease_seconds=60) for name in ("one", "two")]
    waits = [workers[number % 2].reserve("app", 10.0) for number in range(4)]
    for number, wait in enumerate(waits):
        assert 10.0 * number - 5 < wait <= 10.0 * number
    assert workers[0].reserve("another app", 10.0) == 0
