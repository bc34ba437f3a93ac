"""What a test's own connection sees of what it wrote, for every kind of connection, committed or not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

import relay
from relay.testing import AsyncOutbox, Outbox, is_asynchronous
from tests.contract.writers import WANTED, conninfo, kinds, url_of
from tests.fixtures.rows import Rows
from tests.fixtures.statements import counting

KINDS = (
    *("Session", "scoped_session", "Connection", "Session-psycopg2", "psycopg"),
    *("AsyncSession-asyncpg", "async_scoped_session", "AsyncConnection-psycopg", "psycopg-async"),
    *(() if WANTED else ("asyncpg-pooled", "django")),
)


@pytest.mark.parametrize("kind", KINDS)
async def test_what_this_transaction_wrote_and_nothing_from_before(
    database_url: str, engine: Engine, kind: str
) -> None:
    Rows(engine).run(
        "insert into relay.outbox (topic, content, created_at) values ('old', '{}', now() - interval '9 s')"
    )

    def use(held: Any) -> None:
        assert not is_asynchronous(held)
        outbox = Outbox(held)
        outbox.assert_nothing_written()
        relay.add(held, "t", {"n": 1}, headers={"traceparent": "x"}, ordering_key="k")
        [message] = outbox.assert_written("t", times=1, content={"n": 1}, headers={"traceparent": "x"})
        assert (message.account, message.ordering_key, message.json_ex_content) == ("default", "k", None)
        with pytest.raises(AssertionError, match="content\\['n'\\] is 1, not 2"):
            outbox.assert_written("t", content={"n": 2})
        with pytest.raises(AssertionError, match="no message was expected to be written"):
            outbox.assert_nothing_written("t")
        outbox.assert_nothing_written("old")

    async def use_async(held: Any) -> None:
        assert is_asynchronous(held)
        outbox = AsyncOutbox(held)
        await outbox.assert_nothing_written()
        await relay.add_async(held, "t", {"n": 1}, headers={"traceparent": "x"}, ordering_key="k")
        [message] = await outbox.assert_written("t", times=1, content={"n": 1}, headers={"traceparent": "x"})
        assert (message.account, message.ordering_key, message.json_ex_content) == ("default", "k", None)
        with pytest.raises(AssertionError, match="content\\['n'\\] is 1, not 2"):
            await outbox.assert_written("t", content={"n": 2})
        with pytest.raises(AssertionError, match="no message was expected to be written"):
            await outbox.assert_nothing_written("t")
        await outbox.assert_nothing_written("old")
        assert outbox.forgotten() == []

    async with kinds(use, use_async)[kind](database_url) as transaction:
        await transaction.add()
        await transaction.rollback()
        await transaction.add()
        await transaction.commit()
    assert Rows(engine).one("select count(*) from relay.outbox") == 2


def test_a_commit_of_the_code_under_test_counts_and_everything_counts_where_asked(engine: Engine) -> None:
    rows = Rows(engine)
    rows.add(topic="before")
    rows.run("select pg_sleep(0.02)")  # further away than the round trip that the clock of the database is read in
    with engine.connect() as connection:
        outbox, whole = Outbox(connection), Outbox(connection, everything=True)
        rows.add(topic="during")
        assert [message.topic for message in outbox.written()] == ["during"]
        assert [message.topic for message in whole.written()] == ["before", "during"]
        assert not connection.in_transaction()


def test_how_a_session_tells_times_and_texts_is_no_matter(engine: Engine) -> None:
    """What a role has set for its sessions: psycopg reads times of one DateStyle alone, and no text of SQL_ASCII."""
    due = datetime(2027, 2, 1, 3, 4, 5, 678901, tzinfo=UTC)
    with psycopg.connect(conninfo(url_of(engine))) as connection:
        for style in ("'SQL, DMY'", "'German'"):
            connection.execute(f"set datestyle to {style}; set client_encoding to sql_ascii")
            outbox = Outbox(connection)
            relay.add(connection, style, {"city": "杭州"}, available_at=due, deliver_before=due + timedelta(days=1))
            [message] = outbox.assert_written(style, content={"city": "杭州"}, available_at=due)
            assert message.deliver_before == due + timedelta(days=1)
            connection.commit()


def test_what_a_session_has_not_sent_yet_counts(engine: Engine) -> None:
    with Session(engine) as session:
        outbox = Outbox(session)
        session.add(relay.OutboxMessage(topic="t", content={"n": 1}))
        outbox.assert_written("t", content={"n": 1})
        session.rollback()
        outbox.assert_nothing_written()
        assert not session.in_transaction()


def test_a_question_costs_one_statement(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("select 1"))
        outbox = Outbox(connection)
        with counting(engine) as statements:
            outbox.assert_nothing_written()
    assert len(statements) == 1
