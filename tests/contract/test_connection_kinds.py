"""Whoever brings the wrong connection is told the right one; nothing is asked of any database for it."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from typing import Any

import asyncpg
import psycopg2.extensions
import pytest
from django.db.backends.sqlite3.base import DatabaseWrapper
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

import relay
from tests.fixtures.django_project import configure

TOPIC = "taobao_jds_TradeTrace"
MESSAGES = [{"topic": TOPIC, "content": {}}]
SQLITE = create_engine("sqlite://")


def kind(cls: Any) -> Any:
    """An object of this class that was never opened: its kind is looked at, nothing else."""
    return cls.__new__(cls)


def named(module: str, name: str) -> Any:
    """Of a driver that is not installed here."""
    return type(name, (), {"__module__": module})()


def add_many(given: Any, _topic: str, _content: object) -> object:
    return relay.add_many(given, MESSAGES)


async def add_many_async(given: Any, _topic: str, _content: object) -> object:
    return await relay.add_many_async(given, MESSAGES)


@pytest.mark.parametrize("add", [relay.add, add_many], ids=["add", "add_many"])
@pytest.mark.parametrize(
    ("given", "sentence", "hint"),
    [
        (kind(asyncpg.Connection), "type Connection", "await relay.{add}_async("),
        (kind(asyncpg.pool.PoolConnectionProxy), "type PoolConnectionProxy", "await relay.{add}_async("),
        (kind(AsyncSession), "type AsyncSession", "await relay.{add}_async("),
        (kind(asyncpg.Pool), "type Pool", "a connection of the pool"),
        (kind(psycopg2.extensions.connection), "type connection", "psycopg 3 (pip install 'psycopg[binary]')"),
        (kind(psycopg2.extensions.cursor), "type cursor", "psycopg 3 (pip install 'psycopg[binary]')"),
        (sqlite3.connect(":memory:").cursor(), "is for PostgreSQL only, and this is a connection to SQLite", "dedupe"),
        (Session(SQLITE), "is for PostgreSQL only, and this is a connection to SQLite", "with its id as dedupe_key"),
        (SQLITE.connect(), "is for PostgreSQL only, and this is a connection to SQLite", "with its id as dedupe_key"),
        (named("pymysql.connections", "Connection"), "is for PostgreSQL only, and this is a connection to MySQL", "de"),
        (named("MySQLdb.connections", "Connection"), "is for PostgreSQL only, and this is a connection to MySQL", "de"),
        (named("_mysql_connector", "MySQL"), "type MySQL", "relay.insert"),
        (named("mysql.connector.connection", "MySQLConnection"), "a connection to MySQL", "docs/inserting.md"),
        (named("amqp", "AsyncConnection"), "type AsyncConnection", "psycopg.Connection, or Django's connection"),
        (named("amqp", "Engine"), "type Engine", "psycopg.Connection, or Django's connection"),
        (None, "type NoneType", "relay.insert"),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{type(value).__module__}.{type(value).__name__}",
)
def test_a_wrong_kind(add: Any, given: Any, sentence: str, hint: str) -> None:
    with pytest.raises(relay.MessageError) as refused:
        add(given, TOPIC, {})
    assert sentence in str(refused.value)
    assert f"relay.{add.__name__} " in str(refused.value)
    assert hint.format(add=add.__name__) in refused.value.hint
    assert any(refused.value.hint in note for note in refused.value.__notes__)  # a traceback shows it


@pytest.mark.parametrize("add", [relay.add_async, add_many_async], ids=["add", "add_many"])
@pytest.mark.parametrize(
    ("given", "hint"),
    [
        (kind(Session), "relay.{add}(...), without await"),
        (kind(asyncpg.Pool), "a connection of the pool"),
        (named("aiomysql.connection", "Connection"), "with its id as dedupe_key"),
        (named("amqp", "Connection"), "psycopg.AsyncConnection or asyncpg.Connection"),
        (DatabaseWrapper({}), "Django's connections are synchronous: use relay.{add}(...)"),
    ],
    ids=lambda value: type(value).__module__,
)
async def test_a_wrong_kind_for_await(add: Any, given: Any, hint: str) -> None:
    with pytest.raises(relay.MessageError) as refused:
        await add(given, TOPIC, {})
    assert hint.format(add=add.__name__.removesuffix("_async")) in refused.value.hint


def test_django_on_another_database() -> None:
    configure()
    with pytest.raises(relay.MessageError, match="PostgreSQL only, and this is a connection to SQLite"):
        relay.add(DatabaseWrapper({}), TOPIC, {})


@pytest.mark.parametrize(
    ("messages", "sentence"),
    [
        (MESSAGES[0], "messages is of type dict, which is one message"),
        (relay.NewMessage(TOPIC, {}), "messages is of type NewMessage, which is one message"),
        ("[{}]", "messages is of type str, no messages"),
        (None, "messages is of type NoneType, no messages"),
        ([*MESSAGES, "{}"], "messages[1] is of type str, no message"),
        ([*MESSAGES, relay.OutboxMessage(topic=TOPIC, content={})], "messages[1] is of type OutboxMessage, no message"),
        ([{"topic": TOPIC}], "messages[0] names no content"),
        ([{}], "messages[0] names no topic and no content"),
        ([*MESSAGES, {"topic": TOPIC, "content": {}, "delay": 5}], "messages[1]: There is no column 'delay'"),
        ([{"topic": TOPIC, "content": {}, 7: 5}], "messages[0]: There is no column '7'"),
        ([{"topic": TOPIC, "content": {}, "id": 5}], "messages[0]: id is kept by the relay"),
        ([{"topic": TOPIC, "content": {"a": {1}}}], "messages[0]: content.a is of type set"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_what_is_no_messages(messages: Any, sentence: str) -> None:
    with pytest.raises(relay.MessageError) as refused:
        relay.add_many(_unasked(), messages)
    assert sentence in str(refused.value)
    with pytest.raises(relay.MessageError) as refused:
        await relay.add_many_async(_unasked_async(), messages)
    assert sentence in str(refused.value)


class Alone(relay.Topic, topic=TOPIC):
    """A message as a class of the application's."""


async def test_without_a_connection_it_is_told_what_comes_first() -> None:
    with pytest.raises(relay.MessageError) as refused:
        relay.add(TOPIC, {})  # type: ignore[call-overload]
    assert str(refused.value).startswith("relay.add begins with the session or connection")
    assert refused.value.hint == "Write relay.add(session, topic, content)."
    with pytest.raises(relay.MessageError, match=r"relay\.add_async begins with"):
        await relay.add_async(TOPIC, {})  # type: ignore[call-overload]
    with pytest.raises(relay.MessageError, match="this is of type Alone"):
        relay.add(Alone())  # type: ignore[call-overload]


async def test_an_asynchronous_iterable_is_collected_by_the_caller() -> None:
    async def messages() -> Any:
        yield MESSAGES[0]

    with pytest.raises(relay.MessageError) as refused:
        await relay.add_many_async(_unasked_async(), messages())  # type: ignore[arg-type]
    assert "async for message in" in refused.value.hint


class _Asyncpg(asyncpg.Connection):  # type: ignore[misc]
    __slots__ = ()

    def __init__(self) -> None:
        pass

    def __del__(self) -> None:
        pass

    def is_in_transaction(self) -> bool:
        return True


def _unasked_async() -> Any:
    return _Asyncpg()


def _unasked() -> Any:
    wrapper = DatabaseWrapper({})
    wrapper.vendor, wrapper.in_atomic_block = "postgresql", True
    return wrapper


def test_a_new_message_is_checked_where_it_is_made() -> None:
    with pytest.raises(relay.MessageError, match="content is of type int"):
        relay.NewMessage(TOPIC, 5)
    content = {"buyer": "王小明"}
    message = relay.NewMessage(TOPIC, content, dedupe_key="k")
    content["buyer"] = "另一个"
    assert message._row["content"] == '{"buyer":"王小明"}'
    assert repr(message) == f"<NewMessage topic='{TOPIC}'>"


def test_recognising_loads_no_driver() -> None:
    program = (
        "import sys, relay\n"
        "try: relay.add_many(None, [])\n"
        "except relay.MessageError: print(*sorted({name.split('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "sqlalchemy" in done.stdout.split()
    assert {"psycopg", "psycopg2", "asyncpg", "django", "greenlet"}.isdisjoint(done.stdout.split())
