"""Many messages at once: ids in the order given, all or nothing, constant memory, whatever the connection."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine, event, text
from sqlalchemy.orm import Session

import relay
from relay.outbox import many
from relay.outbox.notations import insert_many, pyformat
from tests.contract.writers import MANY, Writer, conninfo, url_of
from tests.fixtures.database import ANOTHER

TOPIC = "taobao_jds_TradeTrace"
LATER = datetime(2031, 5, 6, 7, 8, 9, 123456, tzinfo=UTC)


@pytest.fixture(params=MANY)
def writer(request: pytest.FixtureRequest) -> Writer:
    return MANY[request.param]


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(many, "_CHUNK", 10)


def traces(count: int, **columns: Any) -> Iterator[dict[str, Any]]:
    for n in range(count):
        yield {"topic": TOPIC, "content": {"n": n}, **columns}


def numbers(engine: Engine) -> dict[int, int]:
    """The number in a content by its id, in the order of ids."""
    with engine.connect() as connection:
        found = connection.execute(text("select id, content ->> 'n' from relay.outbox order by id"))
        return {each[0]: int(each[1]) for each in found}


@pytest.mark.usefixtures("small_chunks")
async def test_ids_come_in_the_order_given(writer: Writer, database_url: str, engine: Engine) -> None:
    async with writer(database_url) as transaction:
        ids: Any = await transaction.add(traces(25, ordering_key="k"))
        assert numbers(engine) == {}
        await transaction.commit()
    assert ids == sorted(ids)
    assert numbers(engine) == dict(zip(ids, range(25), strict=True))


@pytest.mark.usefixtures("small_chunks")
async def test_a_known_dedupe_key_leaves_none_at_its_place(writer: Writer, database_url: str, engine: Engine) -> None:
    keys = [None, "a", "b", "a", None, "c", *(f"k{n}" for n in range(10)), "b", "d", None]
    messages = [{"topic": TOPIC, "content": {"n": n}, "dedupe_key": key} for n, key in enumerate(keys)]
    with engine.begin() as connection:
        relay.add(connection, TOPIC, {"n": 99}, dedupe_key="c")
    async with writer(database_url) as transaction:
        ids: Any = await transaction.add(messages)
        await transaction.commit()
        assert {found: n for n, found in enumerate(ids) if found} | {1: 99} == numbers(engine)
        again: Any = await transaction.add(messages)
    assert [n for n, found in enumerate(ids) if found is None] == [3, 5, 16]
    assert [n for n, found in enumerate(again) if found] == [0, 4, 18]


async def test_messages_may_name_different_columns(writer: Writer, database_url: str, engine: Engine) -> None:
    messages = [
        relay.NewMessage(TOPIC, '{"n" :0}', account="shop", headers={"h": 1}),
        {"topic": "other", "content": b'{"n":1}', "available_at": LATER, "json_ex_content": {"e": None}},
        {"topic": TOPIC, "content": {"n": 2}, "account": None, "ordering_key": "o"},
    ]
    async with writer(database_url) as transaction:
        await transaction.add(messages)
        await transaction.commit()
    wanted = (
        "topic, content::text, account, headers::text, json_ex_content::text, ordering_key, dedupe_key, "
        "available_at = created_at, extract(year from available_at) = 2031"
    )
    with engine.connect() as connection:
        found = [tuple(row) for row in connection.execute(text(f"select {wanted} from relay.outbox order by id"))]
    assert found == [
        (TOPIC, '{"n" :0}', "shop", '{"h":1}', None, None, None, True, False),
        ("other", '{"n":1}', "default", None, '{"e":null}', None, None, False, True),
        (TOPIC, '{"n":2}', "default", None, None, "o", None, True, False),
    ]


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("at", [3, 14, 37])
async def test_bad_input_leaves_nothing_and_a_good_transaction(
    at: int, writer: Writer, database_url: str, engine: Engine
) -> None:
    messages = list(traces(40))
    messages[at]["content"] = {"price": {1, 2}}
    async with writer(database_url) as transaction:
        with pytest.raises(relay.MessageError, match=rf"^messages\[{at}\]: content\.price is of type set"):
            await transaction.add(iter(messages))
        (kept,) = await transaction.add([{"topic": TOPIC, "content": {"n": 7}}])  # type: ignore[misc]
        await transaction.commit()
    assert numbers(engine) == {kept: 7}


@pytest.mark.usefixtures("small_chunks")
async def test_what_the_database_refuses_undoes_the_chunks_before(
    writer: Writer, database_url: str, engine: Engine
) -> None:
    with engine.begin() as connection:
        connection.execute(text("alter table relay.outbox add constraint no_30 check (content ->> 'n' <> '30')"))
    async with writer(database_url) as transaction:
        with pytest.raises(Exception, match="no_30"):
            await transaction.add(traces(40))
        await transaction.add(traces(3))
        await transaction.commit()
    assert list(numbers(engine).values()) == [0, 1, 2]


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("count", [7, 40])
async def test_all_or_nothing_in_autocommit_too(count: int, writer: Writer, database_url: str, engine: Engine) -> None:
    async with writer(database_url, autocommit=True) as transaction:
        with pytest.raises(relay.NotInTransaction):
            await transaction.add(traces(count))
        with pytest.raises(relay.MessageError, match=rf"messages\[{count}\] is of type NoneType"):
            await transaction.add([*traces(count), None], allow_autocommit=True)
        assert numbers(engine) == {}
        ids: Any = await transaction.add(traces(count), allow_autocommit=True)
        assert list(numbers(engine)) == ids
        await transaction.add(traces(count), allow_autocommit=True)
    assert len(numbers(engine)) == 2 * count


async def test_nothing_is_asked_for_no_messages(writer: Writer, database_url: str) -> None:
    async with writer(database_url) as transaction:
        assert await transaction.add([]) == []


async def test_no_error_shows_a_content(writer: Writer, database_url: str, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("alter table relay.outbox add constraint no_30 check (content ->> 'n' <> '30')"))
    async with writer(database_url) as transaction:
        with pytest.raises(Exception, match="no_30") as refused:
            await transaction.add([{"topic": TOPIC, "content": {"n": 30, "buyer": "王小明"}}])
    assert "王小明" not in repr(refused.value.args[0]).split("Failing row")[0]


async def test_another_schema_is_named(writer: Writer, with_another: Engine) -> None:
    async with writer(url_of(with_another)) as transaction:
        assert await transaction.add(traces(2), schema=ANOTHER) == [1, 2]
        await transaction.commit()
    assert numbers(with_another) == {}


def test_another_schema_through_the_engine(engine: Engine) -> None:
    relay.migrate(engine, schema="elsewhere")
    with Session(engine.execution_options(schema_translate_map={"relay": "elsewhere"})) as session:
        assert relay.add_many(session, traces(2)) == [1, 2]
        session.commit()
        assert session.scalar(text("select count(*) from elsewhere.outbox")) == 2


def test_one_statement_for_a_thousand(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    said = []
    caplog.set_level("INFO", logger="sqlalchemy.engine")

    @event.listens_for(engine, "before_cursor_execute")
    def remember(_c: object, _cursor: object, sql: str, _parameters: object, _context: object, _many: bool) -> None:
        said.append(sql.split()[0])

    with engine.begin() as connection:
        relay.add_many(connection, traces(1000, headers={"phone": "13800000000"}))
        assert said == ["insert"]
        relay.add_many(connection, traces(2001))
    assert said == ["insert", "savepoint", "insert", "insert", "insert", "release"]
    assert "13800000000" not in caplog.text


def test_a_position_is_that_of_the_row_just_taken(engine: Engine) -> None:
    """Nothing stands between the function and the insert that might take rows ahead, or in another order."""
    columns = ("topic", "content", "dedupe_key", "available_at")
    arrays = {name: ["x"] for name in columns[:3]} | {"available_at": [LATER]}
    with engine.connect() as connection:
        statement = f"explain (costs off) {insert_many(columns, 'relay', pyformat)}"
        plan = connection.exec_driver_sql(statement, arrays).scalars().all()
    nodes = [line.strip(" ->") for line in plans_of(plan)]
    assert nodes == ["Insert on outbox", "Function Scan on unnest message"] or nodes == [
        "Insert on outbox",
        "Function Scan on message",
    ]


def plans_of(plan: Sequence[str]) -> list[str]:
    return [line for line in plan if "Conflict" not in line and "Filter" not in line]


def test_forty_thousand_in_constant_memory(database_url: str, engine: Engine) -> None:
    """Of the ids that come back, that is; the contents here are 40 MB."""
    padding = "x" * 1000
    messages = ({"topic": TOPIC, "content": {"n": n, "padding": padding}} for n in range(40_000))
    with engine.begin() as connection:
        connection.execute(text("alter table relay.outbox disable trigger user"))
        connection.execute(text("alter table relay.outbox alter content_sha256 drop not null"))
    with psycopg.connect(conninfo(database_url)) as connection:
        relay.add_many(connection, traces(2000))
        tracemalloc.start()
        try:
            ids = relay.add_many(connection, messages)
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()  # else the next test that measures is told what was measured here
        assert len(ids) == 40_000
        assert most < 10_000_000
        connection.rollback()


def test_large_contents_make_small_chunks(engine: Engine) -> None:
    said = []

    @event.listens_for(engine, "before_cursor_execute")
    def remember(_c: object, _cursor: object, sql: str, _parameters: object, _context: object, _many: bool) -> None:
        said.append(sql.split()[0])

    large = json.dumps({"n": 1, "padding": "x" * 120_000})
    with engine.begin() as connection:
        relay.add_many(connection, ({"topic": TOPIC, "content": large} for _ in range(100)))
    assert said.count("insert") == 3


def test_copy_is_looked_at_as_every_insert_is_and_knows_no_conflict(database_url: str, engine: Engine) -> None:
    """What docs/inserting.md says of it."""
    with psycopg.connect(conninfo(database_url)) as connection:
        relay.add(connection, TOPIC, {"n": 1}, dedupe_key="k")
        with connection.cursor().copy("copy relay.outbox (topic, content) from stdin") as copying:
            copying.write_row((TOPIC, '{"n":2}'))
        hashed = "select count(*) from relay.outbox where content_sha256 is not null and content_salt is not null"
        assert connection.execute(hashed).fetchone() == (2,)
        connection.commit()
        with pytest.raises(psycopg.errors.UniqueViolation, match="outbox_dedupe"):
            _copy_keyed(connection, "new", "k")
    assert list(numbers(engine).values()) == [1, 2]


def _copy_keyed(connection: psycopg.Connection[Any], *keys: str) -> None:
    with connection.cursor().copy("copy relay.outbox (topic, content, dedupe_key) from stdin") as copying:
        for key in keys:
            copying.write_row((TOPIC, "{}", key))
