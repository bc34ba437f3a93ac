"""The mapped class beyond what every writer promises: units of work, reading back, batches, and what it costs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import Engine, event, insert, select, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

import relay
from relay import OutboxMessage

TOPIC = "taobao_jds_TradeTrace"


class Base(DeclarativeBase):
    """A host application's own models."""


class Order(Base):
    __tablename__ = "shop_order"

    tid: Mapped[int] = mapped_column(primary_key=True)


def test_one_unit_of_work_with_the_models_of_the_host(engine: Engine) -> None:
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all([Order(tid=1), OutboxMessage(topic=TOPIC, content={"tid": 1})])
        session.rollback()
        session.add_all([Order(tid=2), OutboxMessage(topic=TOPIC, content={"tid": 2})])
        session.commit()
        assert session.scalars(select(Order.tid)).all() == [2]
        assert [message.content for message in session.scalars(select(OutboxMessage))] == [{"tid": 2}]
    assert set(Base.metadata.tables) == {"shop_order"}


def test_reading_back_gives_values_and_what_the_relay_keeps(engine: Engine) -> None:
    with Session(engine) as session:
        message = OutboxMessage(topic=TOPIC, content='{"n" : [1, {"a":null}]}', headers={"h": "王"})
        session.add(message)
        session.commit()
        assert message.content == {"n": [1, {"a": None}]}
        assert message.headers == {"h": "王"}
        assert (message.status, message.attempts, message.call_id, message.finished_at) == ("pending", 0, None, None)
        assert message.created_by == session.scalar(text("select session_user"))
        assert "pending" in repr(message)
        waiting = select(OutboxMessage.id).where(OutboxMessage.status == "pending", OutboxMessage.call_id.is_(None))
        assert session.scalars(waiting).all() == [message.id]


async def test_reading_back_in_async_code(async_engine: AsyncEngine) -> None:
    async with AsyncSession(async_engine, expire_on_commit=False) as session:
        message = OutboxMessage(topic=TOPIC, content={"n": 10**30})
        session.add(message)
        await session.commit()
        assert message.content == {"n": 10**30}
        assert f"id={message.id} " in repr(message)  # asks nobody, so it works without await
        await session.refresh(message)
        assert (message.content, message.status) == ({"n": 10**30}, "pending")


def test_ids_follow_the_order_of_adding(engine: Engine) -> None:
    with Session(engine) as session:
        messages = [OutboxMessage(topic=TOPIC, content={"n": n}, ordering_key="k") for n in range(120)]
        session.add_all(messages)
        session.commit()
        stored = session.scalars(select(OutboxMessage).order_by(OutboxMessage.id)).all()
    assert [message.content["n"] for message in stored] == list(range(120))
    assert stored == messages


def test_what_was_inserted_stays(engine: Engine) -> None:
    with Session(engine, expire_on_commit=False) as session:
        message = OutboxMessage(topic=TOPIC, content={"n": 1})
        session.add(message)
        session.commit()
        message.content = {"n": 2}
        with pytest.raises(Exception, match="stays as it is"):
            session.flush()


KEPT = ["status", "attempts", "call_id", "result_index", "error_code", "error_message"]
KEPT += ["created_at", "finished_at", "created_by", "created_xid", "content_sha256"]


@pytest.mark.parametrize("name", KEPT)
def test_what_the_relay_keeps_cannot_be_set(engine: Engine, name: str) -> None:
    with Session(engine, expire_on_commit=False) as session:
        message = OutboxMessage(topic=TOPIC, content={})
        with pytest.raises(relay.MessageError, match=f"^{name} of a message is kept by the relay"):
            setattr(message, name, None)
        session.add(message)
        session.commit()
        before = getattr(message, name)
        with pytest.raises(relay.MessageError, match=f"^{name} of a message is kept by the relay"):
            setattr(message, name, "done")
        assert getattr(message, name) == before
        assert not session.dirty


ROW = {"topic": TOPIC, "content": {"n": 1}, "headers": {"h": 1}}


@pytest.mark.parametrize(
    "write",
    [
        lambda session: session.execute(insert(OutboxMessage), [ROW, ROW]),
        lambda session: session.bulk_insert_mappings(OutboxMessage, [ROW]),
    ],
    ids=["insert", "bulk_insert_mappings"],
)
def test_rows_whose_content_would_be_dropped_are_refused(write: Callable[[Session], object], engine: Engine) -> None:
    with Session(engine) as session:
        with pytest.raises(relay.MessageError, match="names no content") as refused:
            write(session)
        assert "add_all" in refused.value.hint
        session.rollback()
        session.merge(OutboxMessage(topic=TOPIC, content={}))
        session.commit()


def test_a_value_in_a_statement_is_written_as_relay_add_writes_it(engine: Engine) -> None:
    content = {"买家": "王小明", "n": 10**30, "precise": 0.1}
    with Session(engine) as session:
        relay.add(session, TOPIC, content, headers={"h": [1]})
        for table in (OutboxMessage, OutboxMessage.__table__):
            session.execute(insert(table).values(topic=TOPIC, content=content, headers={"h": [1]}))
            session.execute(insert(table).values([{"topic": TOPIC, "content": '{"b": 1,  "a":1}'}]))
        session.execute(insert(OutboxMessage.__table__), [{"topic": TOPIC, "content": content, "headers": {"h": [1]}}])
        session.commit()
        texts = session.execute(text("select content::text, headers::text from relay.outbox order by id")).all()
        assert texts.count(texts[0]) == 4
        assert [each for each in texts if each != texts[0]] == [('{"b": 1,  "a":1}', None)] * 2
        for wrong in ({"at": object()}, [1], "[1]", {"n": float("nan")}):
            with pytest.raises(relay.MessageError, match=r"^content"):
                session.execute(insert(OutboxMessage).values(topic=TOPIC, content=wrong))


def test_another_schema_through_the_engine(engine: Engine) -> None:
    relay.migrate(engine, schema="elsewhere")
    with Session(engine.execution_options(schema_translate_map={"relay": "elsewhere"})) as session:
        session.add(OutboxMessage(topic=TOPIC, content={}))
        session.flush()
        assert relay.add(session, TOPIC, {}) == 2
        session.commit()
        assert session.scalar(text("select count(*) from elsewhere.outbox")) == 2


def test_the_log_of_parameters_shows_no_content(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="sqlalchemy.engine")
    with Session(engine) as session:
        relay.add(session, TOPIC, {"buyer": "王小明"}, headers={"phone": "13800000000"})
        session.add(OutboxMessage(topic=TOPIC, content={"buyer": "王小明"}))
        session.commit()
    assert "INSERT INTO relay.outbox" in caplog.text
    assert "王小明" not in caplog.text
    assert "13800000000" not in caplog.text


def test_the_statement_is_compiled_once(engine: Engine) -> None:
    compiled = []

    @event.listens_for(engine, "before_cursor_execute")
    def remember(
        _connection: object, _cursor: object, _sql: str, _parameters: object, context: object, _many: bool
    ) -> None:
        compiled.append(context.compiled)  # type: ignore[attr-defined]

    with Session(engine) as session:
        for n in range(5):
            relay.add(session, TOPIC, {"n": n}, dedupe_key=str(n))
            session.execute(relay.insert(TOPIC, {"n": n}))
    assert len(compiled) == 10
    assert len({id(one) for one in compiled}) == 2  # one of relay.add, one of relay.insert, with other columns
