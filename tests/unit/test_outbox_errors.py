"""What cannot be inserted is refused before any database is asked, in one sentence and with the next step."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, date, datetime
from typing import Any

import psycopg
import pytest
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_scoped_session, async_sessionmaker
from sqlalchemy.ext.asyncio import create_async_engine as async_engine_of
from sqlalchemy.orm import Session, scoped_session, sessionmaker

import relay

URL = "postgresql+psycopg://nobody@127.0.0.1:1/nowhere"
TOPIC = "taobao_jds_TradeTrace"


def kind(cls: type[Any]) -> Any:
    """An object of this class that was never opened: its kind is looked at, nothing else."""
    return object.__new__(cls)


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"topic": ""}, "topic is blank"),
        ({"topic": " \u3000\n"}, "topic is blank"),
        ({"topic": None}, "topic is of type NoneType"),
        ({"topic": "t" * 257}, "topic has 257 characters, the platform takes at most 256"),
        ({"topic": "a\0b"}, "cannot store"),
        ({"account": " "}, "account is blank"),
        ({"account": 7}, "account is of type int"),
        ({"ordering_key": ""}, "ordering_key is blank"),
        ({"dedupe_key": ""}, "dedupe_key is blank"),
        ({"dedupe_key": 12}, "dedupe_key is of type int"),
        ({"producer": "\ud800"}, "cannot store"),
        ({"headers": [1]}, "headers is of type list"),
        ({"headers": "[1]"}, "headers is JSON, but not an object"),
        ({"json_ex_content": {"a": {1}}}, "json_ex_content.a is of type set"),
        ({"available_at": datetime(2026, 1, 1)}, "available_at has no time zone"),
        ({"deliver_before": date(2026, 1, 1)}, "deliver_before is of type date"),
        (
            {"available_at": datetime(2222, 1, 2, tzinfo=UTC), "deliver_before": datetime(2222, 1, 1, tzinfo=UTC)},
            "(2222-01-01T00:00:00+00:00) is not after available_at (2222-01-02T00:00:00+00:00)",
        ),
        ({"available_at": "2026-01-01T00:00:00Z"}, "available_at is of type str"),
        ({"status": "done"}, "status is kept by the relay"),
        ({"id": 5}, "id is kept by the relay"),
        ({"acount": "x"}, "There is no column 'acount'"),
        ({"delay": 60}, "There is no column 'delay'"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("make", [relay.insert, relay.OutboxMessage], ids=["insert", "mapped"])
def test_a_column_that_is_wrong(make: Any, columns: dict[str, Any], sentence: str) -> None:
    with pytest.raises(relay.MessageError) as refused:
        make(**{"topic": TOPIC, "content": {}} | columns)
    assert sentence in str(refused.value)


@pytest.mark.parametrize(
    ("wrong", "near"),
    [
        ("acount", "account"),
        ("dedup_key", "dedupe_key"),
        ("order_key", "ordering_key"),
        ("delay", "available_at"),
        ("countdown", "available_at"),
        ("ttl", "deliver_before"),
        ("idempotency_key", "dedupe_key"),
        ("partition_key", "ordering_key"),
    ],
)
def test_an_unknown_column_names_the_nearest(wrong: str, near: str) -> None:
    with pytest.raises(relay.MessageError) as refused:
        relay.insert(TOPIC, {}, **{wrong: "x"})  # type: ignore[arg-type]
    assert f"Did you mean {near!r}?" in refused.value.hint


def test_a_delay_is_told_how_to_be_a_moment() -> None:
    with pytest.raises(relay.MessageError) as refused:
        relay.insert(TOPIC, {}, delay=60)  # type: ignore[call-arg]
    assert "Did you mean 'available_at'? It is a moment: datetime.now(timezone.utc) + timedelta" in refused.value.hint
    assert any(refused.value.hint in note for note in refused.value.__notes__)  # a traceback shows it


@pytest.mark.parametrize("column", ["ordering_key", "dedupe_key", "target_app_key", "account"])
def test_a_number_where_a_text_belongs_is_told_how_to_be_one(column: str) -> None:
    with pytest.raises(relay.MessageError) as refused:
        relay.insert(TOPIC, {}, **{column: 5})  # type: ignore[arg-type]
    assert refused.value.hint == f"Write {column}=str(...)."


def test_the_limits_themselves_are_accepted() -> None:
    message = relay.OutboxMessage(topic="主" * 256, content={}, available_at=datetime(2026, 1, 1, tzinfo=UTC))
    assert len(message.topic) == 256


ENGINE = create_engine(URL)
ASYNC_ENGINE = async_engine_of(URL)


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        (kind(AsyncSession), "await relay.add_async"),
        (async_scoped_session(async_sessionmaker(), scopefunc=str), "await relay.add_async"),
        (kind(AsyncConnection), "await relay.add_async"),
        (kind(psycopg.AsyncConnection), "await relay.add_async"),
        (ENGINE, "engine.begin()"),
        (ASYNC_ENGINE, "engine.begin()"),
        (sessionmaker(ENGINE), "the session that it makes"),
        (kind(psycopg.Cursor), "cursor.connection"),
        (kind(psycopg.ServerCursor), "cursor.connection"),
        (None, "relay.insert"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_add_names_the_right_object(given: Any, hint: str) -> None:
    with pytest.raises(relay.MessageError) as refused:
        relay.add(given, TOPIC, {})
    assert f"relay.add cannot use an object of type {type(given).__name__}" in str(refused.value)
    assert hint in refused.value.hint


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        (kind(Session), "without await"),
        (scoped_session(sessionmaker()), "without await"),
        (ENGINE.connect, "AsyncConnection"),
        (kind(psycopg.Connection), "without await"),
        (ASYNC_ENGINE, "engine.begin()"),
        (async_sessionmaker(ASYNC_ENGINE), "the session that it makes"),
        (kind(psycopg.AsyncCursor), "cursor.connection"),
        (object(), "relay.insert"),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_add_async_names_the_right_object(given: Any, hint: str) -> None:
    with pytest.raises(relay.MessageError) as refused:
        await relay.add_async(given, TOPIC, {})
    assert hint in refused.value.hint


def test_the_repr_of_a_message_shows_no_content() -> None:
    message = relay.OutboxMessage(topic=TOPIC, content={"buyer": "王小明"}, headers={"h": 1}, dedupe_key="k")
    assert repr(message) == f"<OutboxMessage id=None topic='{TOPIC}' status=None>"


def test_a_message_reads_as_values_before_it_is_flushed() -> None:
    message = relay.OutboxMessage(topic=TOPIC, content='{"n": [1, 2]}', headers={"h": 1})
    assert message.content == {"n": [1, 2]}
    assert message.headers == {"h": 1}
    assert message.json_ex_content is None
    message.content = b'{"n":3}'
    assert message.content == {"n": 3}
    with pytest.raises(relay.MessageError):
        message.content = "[]"


def test_the_insert_side_loads_sqlalchemy_and_nothing_else() -> None:
    program = (
        "import sys, relay; relay.add, relay.add_async, relay.insert, relay.OutboxMessage; "
        "print(*sorted({name.split('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    foreign = {"psycopg", "asyncpg", "alembic", "pydantic", "httpx", "aiohttp", "click", "greenlet", "structlog"}
    assert "sqlalchemy" in done.stdout.split()
    assert foreign.isdisjoint(done.stdout.split())
