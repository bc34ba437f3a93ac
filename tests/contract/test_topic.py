"""A ``relay.Topic`` is written as what it says, through each driver, alone and among others."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Engine, text

import relay
from tests.contract.writers import MANY, MAPPED, ONE, Writer


class TradeTrace(relay.Topic, topic="taobao_jds_TradeTrace"):
    tid: int
    status: str = "已打包"

    def ordering_key(self) -> str:
        return str(self.tid)

    def dedupe_key(self) -> str:
        return f"{self.status} {self.tid}"


def rows(engine: Engine) -> list[tuple[Any, ...]]:
    wanted = "select topic, content::text, ordering_key, dedupe_key, account from relay.outbox order by id"
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(wanted))]


@pytest.mark.parametrize("name", [name for name in ("Session", "psycopg", "asyncpg", "django") if name in ONE])
async def test_a_typed_message_brings_its_topic_and_its_keys(name: str, database_url: str, engine: Engine) -> None:
    one: Writer = ONE[name]
    async with one(database_url) as transaction:
        assert await transaction.add(TradeTrace(tid=1), account="shop") is not None
        assert await transaction.add(TradeTrace(tid=1), account="shop") is None
        with pytest.raises(relay.MessageError, match="bound to the topic taobao_jds_TradeTrace"):
            await transaction.add("another", TradeTrace(tid=2))
        await transaction.commit()
    written = ("taobao_jds_TradeTrace", '{"tid":1,"status":"已打包"}', "1", "已打包 1")
    assert rows(engine) == [(*written, "shop")]
    many: Writer = MANY[name]
    async with many(database_url) as transaction:
        mixed: Any = [
            relay.NewMessage(TradeTrace(tid=1), account="shop"),
            {"topic": "other", "content": {}},
            TradeTrace(tid=2),
        ]
        ids: Any = await transaction.add(mixed)
        await transaction.commit()
    assert [found is None for found in ids] == [True, False, False]
    assert [row[2] for row in rows(engine)] == ["1", None, "2"]


async def test_a_mapped_message_takes_one_as_its_content(database_url: str, engine: Engine) -> None:
    async with MAPPED["mapped-Session"](database_url) as transaction:
        message = relay.OutboxMessage(content=TradeTrace(tid=3), account="shop")
        assert message.topic == "taobao_jds_TradeTrace"
        await transaction.add(message.topic, TradeTrace(tid=3), account="shop")
        await transaction.commit()
    assert [row[2:] for row in rows(engine)] == [("3", "已打包 3", "shop")]
