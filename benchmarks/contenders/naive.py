"""The poller most people write first: fifty mapped rows under a lock, one POST, each row marked, commit, again."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Any

import httpx
from sqlalchemy import JSON, BigInteger, create_engine, event, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from benchmarks.contenders import APP_KEY, APP_SECRET, SESSION, Drain, Job, Tally
from relay.tmc.sign import sign


class Base(DeclarativeBase):
    pass


class Row(Base):
    __tablename__ = "outbox"
    __table_args__ = {"schema": "bare"}  # noqa: RUF012

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    topic: Mapped[str]
    content: Mapped[dict[str, Any]] = mapped_column(JSON)
    status: Mapped[str]
    finished_at: Mapped[datetime | None]


def prepare(job: Job) -> Drain:
    engine = create_engine(job.database_url)
    executed = 0

    def count(*_: object) -> None:
        nonlocal executed
        executed += 1

    event.listen(engine, "before_cursor_execute", count)

    def drain() -> Tally:
        with httpx.Client(trust_env=False) as client, Session(engine) as session:
            while _one_batch(session, client, job.platform_url):
                pass
        return Tally(executed)

    return drain


def _one_batch(session: Session, client: httpx.Client, url: str | None) -> bool:
    pending = select(Row).where(Row.status == "pending").order_by(Row.id).limit(50).with_for_update(skip_locked=True)
    rows = session.scalars(pending).all()
    if not rows:
        return False
    if url is not None:
        answer = client.post(url, data=_form(rows)).json()
        assert answer["tmc_messages_produce_response"]["is_all_success"]
    for row in rows:
        row.status = "done"
        row.finished_at = datetime.now(UTC).replace(tzinfo=None)
    session.commit()
    return True


def _form(rows: Any) -> dict[str, str]:
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
