"""One behaviour for every way to write a message: the caller's transaction decides, and the text stays as it is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import Engine, make_url, text
from sqlalchemy.exc import IntegrityError

import relay
from relay.outbox.columns import Columns
from tests.contract.writers import ADDING, EVERY, MAPPED, STATEMENTS, Writer, url_of
from tests.fixtures.database import ANOTHER

TOPIC = "taobao_jds_TradeTrace"
HARD = (
    '{"买家":"王小明","note":"it\'s \\"quoted\\" \\\\ back",  "sums":"1+1=2 & 50% / %s :name ?",'
    f'"long":{2**63},"longer":{10**30},"precise":0.10000000000000000001,"nul":"\\u0000","b":1,"b":2, "a":1}}'
)


@pytest.fixture(params=EVERY)
def writer(request: pytest.FixtureRequest) -> Writer:
    return EVERY[request.param]


@pytest.fixture(params=ADDING)
def adder(request: pytest.FixtureRequest) -> Writer:
    return ADDING[request.param]


@pytest.fixture
def insert_only_url(database_url: str, superuser: Engine) -> Iterator[str]:
    """The same database as a user with the least rights: to name the columns of an insert, and to read the id."""
    role = f"relay_test_{uuid4().hex[:12]}"
    columns = ", ".join(["topic", "content", *Columns.__annotations__])
    with superuser.begin() as admin:
        admin.execute(text(f"create role {role} login password 'insert'"))
        admin.execute(text(f"grant usage on schema relay to {role}"))
        admin.execute(text(f"grant insert ({columns}), select (id) on relay.outbox to {role}"))
    yield make_url(database_url).set(username=role, password="insert").render_as_string(hide_password=False)
    with superuser.begin() as admin:
        admin.execute(text(f"drop owned by {role}"))
        admin.execute(text(f"drop role {role}"))


def rows(engine: Engine, columns: str = "id, topic, content::text as content") -> list[dict[str, Any]]:
    with engine.connect() as connection:
        found = connection.execute(text(f"select {columns} from relay.outbox order by id"))
        return [dict(row) for row in found.mappings()]


async def test_commit_leaves_exactly_the_text(writer: Writer, database_url: str, engine: Engine) -> None:
    async with writer(database_url) as transaction:
        inserted = await transaction.add(TOPIC, HARD)
        assert rows(engine) == []  # nothing is visible before the commit
        await transaction.commit()
    assert rows(engine) == [{"id": inserted, "topic": TOPIC, "content": HARD}]


async def test_rollback_leaves_nothing(writer: Writer, database_url: str, engine: Engine) -> None:
    async with writer(database_url) as transaction:
        assert await transaction.add(TOPIC, '{"lost":true}') is not None
        await transaction.rollback()
        await transaction.commit()
    assert rows(engine) == []


async def test_every_column_arrives(writer: Writer, database_url: str, engine: Engine) -> None:
    soon = datetime(2031, 5, 6, 7, 8, 9, 123456, tzinfo=UTC)
    given: dict[str, Any] = {
        "account": "店铺一",
        "target_group": "group",
        "target_app_key": "12345",
        "ordering_key": "order:1",
        "dedupe_key": "key:1",
        "producer": "shop",
        "available_at": soon,
        "deliver_before": soon + timedelta(hours=1),
    }
    extra = {"json_ex_content": '{"ex" : 1}', "headers": '{"traceparent":"00-ab"}'}
    assert given.keys() | extra.keys() == Columns.__annotations__.keys()
    async with writer(database_url) as transaction:
        await transaction.add(TOPIC, "{}", **given, **extra)
        await transaction.commit()
    texts = ", ".join(f"{name}::text as {name}" for name in extra)
    assert rows(engine, ", ".join([*given, texts])) == [given | extra]


async def test_what_is_left_out_or_none_gets_the_default(adder: Writer, database_url: str, engine: Engine) -> None:
    async with adder(database_url) as transaction:
        await transaction.add(TOPIC, {"n": 1}, account=None, available_at=None, headers=None)
        await transaction.commit()
    wanted = (
        "account, status, attempts, headers, available_at = created_at as at_once, created_by = session_user as mine"
    )
    assert rows(engine, wanted) == [
        {"account": "default", "status": "pending", "attempts": 0, "headers": None, "at_once": True, "mine": True}
    ]


async def test_the_least_rights_suffice(writer: Writer, insert_only_url: str, engine: Engine) -> None:
    async with writer(insert_only_url) as transaction:
        inserted = await transaction.add(TOPIC, HARD, dedupe_key="k", ordering_key="o", headers='{"h":1}')
        await transaction.commit()
    assert [row["id"] for row in rows(engine)] == [inserted]


@pytest.mark.parametrize("name", [*ADDING, *STATEMENTS])
async def test_a_dedupe_key_counts_once_and_for_ever(name: str, database_url: str, engine: Engine) -> None:
    async with EVERY[name](database_url) as transaction:
        assert await transaction.add(TOPIC, '{"n":1}', dedupe_key="k")
        assert await transaction.add(TOPIC, '{"n":2}', dedupe_key="k") is None  # in the same transaction
        assert await transaction.add(TOPIC, '{"n":3}', dedupe_key="k", account="other")  # unique per account
        await transaction.commit()
        assert await transaction.add(TOPIC, '{"n":4}', dedupe_key="k") is None
        await transaction.commit()
    with engine.begin() as relay_side:
        relay_side.execute(text("update relay.outbox set status='done', finished_at=now(), call_id=1, result_index=0"))
    async with EVERY[name](database_url) as transaction:
        assert await transaction.add(TOPIC, '{"n":5}', dedupe_key="k") is None  # after delivery
        assert await transaction.add(TOPIC, '{"n":6}')  # and the transaction is still good
        await transaction.commit()
    assert [json.loads(row["content"])["n"] for row in rows(engine)] == [1, 3, 6]


@pytest.mark.parametrize("name", MAPPED)
async def test_a_known_dedupe_key_is_an_error_for_the_mapped_class(name: str, database_url: str) -> None:
    async with MAPPED[name](database_url) as transaction:
        await transaction.add(TOPIC, "{}", dedupe_key="k")
        with pytest.raises(IntegrityError) as refused:
            await transaction.add(TOPIC, '{"secret":"王小明"}', dedupe_key="k")
    assert "outbox_dedupe" in str(refused.value)
    assert "王小明" not in str(refused.value)


@pytest.mark.parametrize("name", [*ADDING, *MAPPED])
async def test_autocommit_is_refused(name: str, database_url: str, engine: Engine) -> None:
    async with EVERY[name](database_url, autocommit=True) as transaction:
        with pytest.raises(relay.NotInTransaction, match="dual write"):
            await transaction.add(TOPIC, "{}")
    assert rows(engine) == []


async def test_autocommit_is_allowed_to_who_asks_for_it(adder: Writer, database_url: str, engine: Engine) -> None:
    async with adder(database_url, autocommit=True) as transaction:
        assert await transaction.add(TOPIC, {}, allow_autocommit=True)
    assert len(rows(engine)) == 1


async def test_another_schema_is_named(adder: Writer, with_another: Engine) -> None:
    async with adder(url_of(with_another)) as transaction:
        assert await transaction.add(TOPIC, {}, schema=ANOTHER)
        await transaction.commit()
    assert rows(with_another) == []
    with with_another.connect() as connection:
        assert connection.scalar(text('select count(*) from "My ""own"" schema".outbox')) == 1


async def test_where_there_are_no_tables_the_error_says_how_they_come(adder: Writer, database_url: str) -> None:
    async with adder(database_url) as transaction:
        with pytest.raises(Exception, match=r"nowhere\.outbox") as refused:
            await transaction.add(TOPIC, {}, schema="nowhere")
        assert not isinstance(refused.value, relay.RelayError)  # it is the driver's own, as its callers know it
        assert "Run: relay migrate" in "".join(refused.value.__notes__)


@pytest.mark.parametrize("content", ['{"n":1', "[1]", "null", '{"n":NaN}', "x" * 10], ids=repr)
async def test_a_refused_content_leaves_the_transaction_good(adder: Writer, content: str, database_url: str) -> None:
    async with adder(database_url) as transaction:
        with pytest.raises(relay.MessageError):
            await transaction.add(TOPIC, content)
        assert await transaction.add(TOPIC, {"n": 1})


def test_an_explicit_transaction_on_an_autocommit_psycopg_connection_is_fine(database_url: str, engine: Engine) -> None:
    conninfo = make_url(database_url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(conninfo, autocommit=True, cursor_factory=psycopg.RawCursor) as connection:
        with connection.transaction(force_rollback=True):
            assert relay.add(connection, TOPIC, {"lost": True})
        with connection.transaction():
            assert relay.add(connection, TOPIC, {"n": 1})
        with pytest.raises(relay.NotInTransaction):
            relay.add(connection, TOPIC, {"n": 2})
    assert [row["content"] for row in rows(engine)] == ['{"n":1}']
