"""``relay.testing.empty`` on every kind of connection: in the transaction that is open, or in one of its own."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Engine
from sqlalchemy.ext.asyncio import AsyncEngine

import relay
from relay.testing import empty, empty_async
from tests.contract.writers import WANTED, Writer, kinds
from tests.fixtures.rows import Rows

COUNT = "select count(*) from relay.outbox"


def _empty(held: Any) -> None:
    empty(held)


async def _empty_async(held: Any) -> None:
    await empty_async(held)


_KINDS = (
    *("Session", "scoped_session", "Connection", "psycopg"),
    *("AsyncSession-asyncpg", "async_scoped_session", "AsyncConnection-psycopg", "psycopg-async"),
    *(() if WANTED else ("asyncpg-pooled", "django")),
)
KINDS: dict[str, Writer] = {name: kinds(_empty, _empty_async)[name] for name in _KINDS}


@pytest.mark.parametrize("kind", KINDS)
async def test_an_emptying_belongs_to_the_transaction_that_is_open(
    database_url: str, engine: Engine, kind: str
) -> None:
    rows = Rows(engine)
    rows.add(3)
    async with KINDS[kind](database_url) as transaction:
        await transaction.add()
        await transaction.rollback()
        assert rows.one(COUNT) == (0 if kind in ALONE else 3)
        rows.add(1)
        await transaction.add()
        await transaction.commit()
    assert rows.one(COUNT) == 0


# A session or connection that has not begun anything has no transaction yet, so these empty in one of their own.
ALONE = set(_KINDS) - {"asyncpg-pooled", "django"}


@pytest.mark.parametrize("kind", KINDS)
async def test_within_a_transaction_that_wrote_nothing_is_committed(
    database_url: str, engine: Engine, kind: str
) -> None:
    def both(held: Any) -> None:
        relay.add(held, "t", {})
        empty(held)
        relay.add(held, "t", {})

    async def both_async(held: Any) -> None:
        await relay.add_async(held, "t", {})
        await empty_async(held)
        await relay.add_async(held, "t", {})

    rows = Rows(engine)
    rows.add(3)
    async with kinds(both, both_async)[kind](database_url) as transaction:
        await transaction.add()
        await transaction.rollback()
        assert rows.one(COUNT) == 3
        await transaction.add()
        await transaction.commit()
    assert rows.one(COUNT) == 1


@pytest.mark.parametrize("kind", ["Session", "psycopg", "psycopg-async", "AsyncSession-asyncpg"])
async def test_in_autocommit_it_is_whole_or_not_at_all(database_url: str, engine: Engine, kind: str) -> None:
    rows = Rows(engine)
    rows.add(3)
    async with KINDS[kind](database_url, autocommit=True) as transaction:
        await transaction.add()
        assert rows.one(COUNT) == 0


async def test_engines_lend_a_connection(engine: Engine, async_engine: AsyncEngine) -> None:
    rows = Rows(engine)
    rows.add()
    empty(engine)
    assert rows.one(COUNT) == 0
    rows.add()
    await empty_async(async_engine)
    assert rows.one(COUNT) == 0


async def test_the_other_function_is_named(engine: Engine, async_engine: AsyncEngine) -> None:
    given: Any = async_engine
    with pytest.raises(relay.RelayError, match=r"relay\.testing cannot use an object of type AsyncEngine"):
        empty(given)
    given = engine
    with pytest.raises(relay.RelayError, match=r"relay\.testing cannot use an object of type Engine") as no:
        await empty_async(given)
    assert "asyncpg.Connection in async code" in no.value.hint
