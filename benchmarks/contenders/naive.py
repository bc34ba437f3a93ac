"""The poller most people write first: fifty mapped rows under a lock, one POST, each row marked, commit, again.

It drains the relay's own table by a class mapped on it, as a reader of the README would write it: of
``relay.OutboxMessage`` only what an insert names can be changed. A row that is done must name its call, so the poller
counts its calls and writes the number and the index; it keeps nothing else of a call. The time is the database's, as
everywhere in that table: ``func.now()`` on a mapped row makes SQLAlchemy update each row by a statement of its own.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import httpx
from sqlalchemy import create_engine, event, func, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session

from benchmarks.contenders import APP_KEY, APP_SECRET, SESSION, Drain, Job, Tally
from relay import schema
from relay.tmc.sign import sign


class Base(DeclarativeBase):
    pass


class Row(Base):
    __table__ = schema.outbox
    id: Mapped[int]
    topic: Mapped[str]
    content: Mapped[Any]
    status: Mapped[str]
    attempts: Mapped[int]
    call_id: Mapped[int | None]
    result_index: Mapped[int | None]
    finished_at: Mapped[Any]


def prepare(job: Job, now: Callable[[], Any] = func.now) -> Drain:
    engine = create_engine(job.database_url)
    with engine.connect():
        pass  # the first connection is made before the start
    client = httpx.Client(trust_env=False)
    executed = 0

    def count(*_: object) -> None:
        nonlocal executed
        executed += 1

    event.listen(engine, "before_cursor_execute", count)

    def drain() -> Tally:
        call = 1
        with client, Session(engine) as session:
            while _one_batch(session, client, job.platform_url, call, now):
                call += 1
        return Tally(executed)

    return drain


def _one_batch(session: Session, client: httpx.Client, url: str | None, call: int, now: Callable[[], Any]) -> bool:
    pending = select(Row).where(Row.status == "pending").order_by(Row.id).limit(50).with_for_update(skip_locked=True)
    rows = session.scalars(pending).all()
    if not rows:
        return False
    if url is not None:
        answer = client.post(url, data=_form(rows)).json()
        assert answer["tmc_messages_produce_response"]["is_all_success"]
    for index, row in enumerate(rows):
        row.status = "done"
        row.attempts += 1
        row.call_id = call
        row.result_index = index
        row.finished_at = now()
    session.commit()
    return True


def _form(rows: Sequence[Row]) -> dict[str, str]:
    messages = [{"topic": row.topic, "content": json.dumps(row.content)} for row in rows]
    form = {
        "method": "taobao.tmc.messages.produce",
        "app_key": APP_KEY,
        "session": SESSION,
        "timestamp": time.strftime("%Y-%m-%d %H:%M:%S"),
        "v": "2.0",
        "format": "json",
        "sign_method": "hmac-sha256",
        "messages": json.dumps(messages),
    }
    return form | {"sign": sign(form, APP_SECRET, "hmac-sha256")}
