"""What the code under test wrote into the outbox, read through the test's own connection: nothing has to be committed.

Of a test that rolls back it is what the open transaction wrote. Code under test may also commit: what a transaction
wrote that began since this object was made counts, too. The database's clock tells, taken as of when the question was
sent and answered: nothing is missed, and a row from before is taken for one of this test only if its transaction began
within the round trip before.
"""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Generator, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from relay.outbox.drivers import Driver
from relay.sql import SCHEMA, filled
from relay.testing.connections import on_async_connection, on_connection
from relay.testing.matching import described, fitting, named, refuse_unknown, unmet

if TYPE_CHECKING:
    from relay.testing.matching import Asked

_Told = TypeVar("_Told")


def _as_text(moment: str) -> str:
    """A driver reads times of one DateStyle only, and how a session tells them is for its owner to set."""
    return f"""pg_catalog.to_char(pg_catalog.timezone('UTC', {moment}), 'YYYY-MM-DD"T"HH24:MI:SS.US')"""


_WRITTEN = f"""
select id, topic, cast(content as pg_catalog.text), account, ordering_key, dedupe_key, target_group, target_app_key,
    cast(json_ex_content as pg_catalog.text), cast(headers as pg_catalog.text), {_as_text("available_at")},
    {_as_text("deliver_before")}, producer,
    coalesce(created_xid operator(pg_catalog.=) pg_catalog.pg_current_xact_id_if_assigned(), false),
    {_as_text("created_at")}, {_as_text("pg_catalog.clock_timestamp()")}
from {{schema}}.outbox where {{chosen}} order by id
"""  # noqa: S608 texts of our own
# Of a table that was not emptied only what may be this test's is read; more than a second of a round trip is none.
_LATELY = """created_xid operator(pg_catalog.=) pg_catalog.pg_current_xact_id_if_assigned()
    or created_at operator(pg_catalog.>=) (
        pg_catalog.clock_timestamp() operator(pg_catalog.-) pg_catalog.make_interval(secs => {seconds}))"""
_SLACK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class WrittenMessage:
    """A message as the code under test wrote it; JSON is read."""

    id: int
    topic: str
    content: Any
    account: str
    ordering_key: str | None
    dedupe_key: str | None
    target_group: str | None
    target_app_key: str | None
    json_ex_content: Any
    headers: Any
    available_at: datetime
    deliver_before: datetime | None
    producer: str | None


@dataclass(frozen=True, slots=True)
class _Rows:
    """Which rows count, and what is asserted of them; knows no connection."""

    since: float  # of time.monotonic(); from when on a transaction is this test's
    everything: bool

    async def read(self, driver: Driver, schema: str) -> Sequence[Sequence[Any]]:
        seconds = time.monotonic() - self.since + _SLACK_SECONDS
        chosen = "true" if self.everything else _LATELY.replace("{seconds}", f"{seconds:.3f}")
        rows = await driver.run(filled(_WRITTEN.replace("{chosen}", chosen), schema), {})
        return [[_decoded(value) for value in row] for row in rows]

    def chosen(self, rows: Sequence[Sequence[Any]], answered: float) -> list[WrittenMessage]:
        within = timedelta(seconds=answered - self.since)
        return [
            _message(columns)
            for *columns, ours, created_at, now in rows
            if self.everything or ours or _moment(created_at) >= _moment(now) - within
        ]


class Outbox:
    """The messages that this test wrote, over a synchronous connection, session or engine.

    ``everything``: all that is in the table counts, as is right where the table was emptied before the test.
    """

    def __init__(self, connection: Any, *, schema: str = SCHEMA, everything: bool = False) -> None:
        self._connection, self._schema = connection, schema
        self._rows = _Rows(time.monotonic(), everything)

    def written(self, topic: Asked | None = None) -> list[WrittenMessage]:
        """In the order of their ids; of one topic, its name or its class, or all."""
        wanted = _named(topic)
        rows = on_connection(self._connection, self._schema, self._rows.read)
        return _of(self._rows.chosen(rows, time.monotonic()), wanted)

    def assert_written(self, topic: Asked, *, times: int | None = None, **columns: Any) -> list[WrittenMessage]:
        """The messages of this topic with these columns: one at least, or as many as ``times`` says.

        They are columns of the outbox; a mapping (``content={"tid": 1}``) may name less than there is.
        """
        refuse_unknown(WrittenMessage, columns)
        wanted = named(topic)
        return _met(self.written(), wanted, times, columns)

    def assert_nothing_written(self, topic: Asked | None = None) -> None:
        """Of one topic, or at all."""
        _nothing(self.written(topic))


class AwaitedQuestion(Generic[_Told]):
    """What has to be awaited, and knows whether it was: an assertion that nobody awaited asserted nothing."""

    def __init__(self, name: str, ask: Callable[[], Awaitable[_Told]]) -> None:
        self.name, self._ask, self.awaited = name, ask, False

    def __await__(self) -> Generator[Any, None, _Told]:
        self.awaited = True
        return self._ask().__await__()


class AsyncOutbox:
    """The same over an asynchronous connection; each question is awaited."""

    def __init__(self, connection: Any, *, schema: str = SCHEMA, everything: bool = False) -> None:
        self._connection, self._schema = connection, schema
        self._rows = _Rows(time.monotonic(), everything)
        self._asked: list[AwaitedQuestion[Any]] = []

    def written(self, topic: Asked | None = None) -> AwaitedQuestion[list[WrittenMessage]]:
        """As of :class:`Outbox`, awaited."""
        wanted = _named(topic)
        return self._question("written", lambda: self._written(wanted))

    def assert_written(
        self, topic: Asked, *, times: int | None = None, **columns: Any
    ) -> AwaitedQuestion[list[WrittenMessage]]:
        """As of :class:`Outbox`, awaited; a misspelt column is a TypeError at once."""
        refuse_unknown(WrittenMessage, columns)
        wanted = named(topic)

        async def ask() -> list[WrittenMessage]:
            return _met(await self._written(None), wanted, times, columns)

        return self._question("assert_written", ask)

    def assert_nothing_written(self, topic: Asked | None = None) -> AwaitedQuestion[None]:
        """As of :class:`Outbox`, awaited."""
        wanted = _named(topic)

        async def ask() -> None:
            _nothing(await self._written(wanted))

        return self._question("assert_nothing_written", ask)

    def forgotten(self) -> list[str]:
        """The names of questions that nobody awaited."""
        return [question.name for question in self._asked if not question.awaited]

    def _question(self, name: str, ask: Callable[[], Awaitable[_Told]]) -> AwaitedQuestion[_Told]:
        question = AwaitedQuestion(name, ask)
        self._asked.append(question)
        return question

    async def _written(self, topic: str | None) -> list[WrittenMessage]:
        rows = await on_async_connection(self._connection, self._schema, self._rows.read)
        return _of(self._rows.chosen(rows, time.monotonic()), topic)


def _decoded(value: Any) -> Any:
    """psycopg hands out bytes where the session's encoding is SQL_ASCII."""
    return value.decode() if isinstance(value, bytes) else value


def _moment(told: str) -> datetime:
    return datetime.fromisoformat(told).replace(tzinfo=UTC)


# How the text of a column is read, where it stands for something else.
_READ: dict[str, Callable[[str], Any]] = {
    **dict.fromkeys(("content", "json_ex_content", "headers"), json.loads),
    **dict.fromkeys(("available_at", "deliver_before"), _moment),
}


def _message(row: Sequence[Any]) -> WrittenMessage:
    told = {field.name: value for field, value in zip(fields(WrittenMessage), row, strict=True)}
    return WrittenMessage(
        **{name: _READ[name](value) if value and name in _READ else value for name, value in told.items()}
    )


def _named(topic: Asked | None) -> str | None:
    return None if topic is None else named(topic)


def _of(found: list[WrittenMessage], topic: str | None) -> list[WrittenMessage]:
    return [message for message in found if topic in (None, message.topic)]


def _met(found: list[WrittenMessage], topic: str, times: int | None, columns: dict[str, Any]) -> list[WrittenMessage]:
    __tracebackhide__ = True
    met: list[WrittenMessage] = fitting(found, topic, columns)
    if not met if times is None else len(met) != times:
        raise AssertionError(unmet("written", found, topic, columns, times, len(met)))
    return met


def _nothing(found: list[WrittenMessage]) -> None:
    __tracebackhide__ = True
    if found:
        told = "\n".join(f"  {described(message)}" for message in found)
        raise AssertionError(f"no message was expected to be written, and there are\n{told}")
