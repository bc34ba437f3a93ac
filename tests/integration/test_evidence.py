"""What is in the tables can be proved later: hashes are taken at the insert, history is neither changed nor removed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

import relay
from relay.operators import actions, retention
from relay.operators.ledger import Order

CALL = (
    "insert into relay.call (account, worker, message_ids, lease_until, settled_at, outcome) "
    "values ('a', 'w', '{1}', now(), {settled}) returning id"
)
ROWS = {
    "call": CALL.replace("{settled}", "now(), 'ok'"),
    "attempt": "insert into relay.attempt (message_id, call_id, result_index, outcome) values (1, 1, 0, 'retry')",
    "action": "insert into relay.action (actor, action, reason, count) values ('me', 'retry', 'asked', 1)",
}
CHANGES = {
    "call": "update relay.call set request_id = 'another'",
    "attempt": "update relay.attempt set outcome = 'failed'",
    "action": "update relay.action set reason = 'none'",
}


@pytest.fixture
def db(engine: Engine) -> Iterator[Connection]:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        yield connection


@pytest.mark.parametrize("named", ["", ", content_sha256"], ids=["unnamed", "named-by-the-writer"])
def test_the_hash_is_that_of_the_exact_text(db: Connection, named: str) -> None:
    content = '{ "买家": "向阳aa",  "tid": 1, "tid": 2 }'
    value = ", decode('00', 'hex')" if named else ""
    db.execute(
        text(f"insert into relay.outbox (topic, content{named}) values ('t', cast(:content as json){value})"),
        {"content": content},
    )
    salt, found = db.execute(text("select content_salt, content_sha256 from relay.outbox")).one()
    assert len(salt) == 16
    assert bytes(found) == hashlib.sha256(bytes(salt) + content.encode()).digest()


def test_messages_from_before_get_their_hash_when_the_tables_are_brought_up_to_date(empty_url: str) -> None:
    relay.migrate(empty_url, to="0003")
    engine = create_engine(empty_url, poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(text("insert into relay.outbox (topic, content) values ('t', '{\"n\": 1}')"))
    relay.migrate(empty_url)
    with engine.begin() as connection:
        salt, found = connection.execute(text("select content_salt, content_sha256 from relay.outbox")).one()
    assert bytes(found) == hashlib.sha256(bytes(salt) + b'{"n": 1}').digest()


@pytest.mark.parametrize("table", CHANGES)
def test_history_stays_as_it_was_written(db: Connection, table: str) -> None:
    db.execute(text(ROWS[table]))
    with pytest.raises(DBAPIError, match=rf"relay\.{table} stays as it is"):
        db.execute(text(CHANGES[table]))


def test_an_open_call_can_be_settled_once(db: Connection) -> None:
    db.execute(text(CALL.replace("{settled}", "null, null")))
    settle = text("update relay.call set settled_at = now(), outcome = 'ok'")
    assert db.execute(settle).rowcount == 1
    with pytest.raises(DBAPIError, match=r"relay\.call stays as it is"):
        db.execute(settle)


@pytest.mark.parametrize("removal", ["delete from", "truncate"])
@pytest.mark.parametrize("table", ROWS)
def test_history_is_not_removed(db: Connection, table: str, removal: str) -> None:
    db.execute(text(ROWS[table]))
    with pytest.raises(DBAPIError, match=rf"nothing is removed from relay\.{table}"):
        db.execute(text(f"{removal} relay.{table}"))
    assert db.execute(text(f"select count(*) from relay.{table}")).scalar_one() == 1


@pytest.mark.parametrize(
    ("statement", "allowed"),
    [
        ("delete from relay.call", True),
        ("delete from relay.attempt", True),
        ("delete from relay.action", False),
        ("truncate relay.attempt", False),
        ("truncate relay.call", False),
    ],
)
def test_pruning_may_delete_calls_and_attempts_and_never_the_ledger(
    engine: Engine, statement: str, allowed: bool
) -> None:
    with engine.connect() as connection:
        for row in ROWS.values():
            connection.execute(text(row))
        connection.execute(text("set local relay.pruning = 'on'"))
        if allowed:
            assert connection.execute(text(statement)).rowcount == 1
        else:
            with pytest.raises(DBAPIError, match="nothing is removed"):
                connection.execute(text(statement))


def test_after_a_prune_the_door_is_shut_again(engine: Engine) -> None:
    list(retention.prune(engine, timedelta(days=1), Order("me", "retention", {}), batch=10))
    with engine.begin() as connection:
        connection.execute(text(ROWS["attempt"]))
        with pytest.raises(DBAPIError, match="nothing is removed"):
            connection.execute(text("delete from relay.attempt"))


def test_reveal_gives_the_exact_texts_and_leaves_a_row_in_the_ledger(engine: Engine) -> None:
    content = '{ "n":1 }'
    with engine.begin() as connection:
        connection.execute(
            text("insert into relay.outbox (topic, content, headers) values ('t', cast(:content as json), '[1]')"),
            {"content": content},
        )
        found = actions.reveal(connection, 1, Order("ann", "dispute", {"ids": [1]}))
        assert actions.reveal(connection, 2, Order("ann", "dispute", {"ids": [2]})) is None
    assert found == actions.Texts(content, None, "[1]")
    with engine.begin() as connection:
        rows = connection.execute(text("select actor, action, reason, message_ids, count from relay.action")).all()
    assert [tuple(row) for row in rows] == [("ann", "reveal", "dispute", [1], 1)]
