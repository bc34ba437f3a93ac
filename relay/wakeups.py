"""When to look: at once after an insert, and after the poll interval in any case.

The database side is revision 0003: an insert notifies only while some relay holds the wake-up lock, and a relay holds
it only while it has nothing to do.

    found nothing ──arm (take the lock)──> look once more ──> wait ──notified──> look ──found more than one──> disarm
                                                               ^                   │
                                                               └────found one──────┘

Inserts of what cannot be claimed (its account is paused, it is due tomorrow) would wake a relay for nothing, and pay
for it. After a few of those the relay gives the lock back and polls for a while.

Polling goes on all the time and is the net: a notification that is lost costs one poll interval, never a message.
Only one relay of a fleet sleeps with the lock, the others poll. Through a pooler in transaction mode neither LISTEN nor
the lock would stay ours: that is found out when the connection is made, and then polling is all there is. So it is
where transactions can be prepared, unless waking is asked for: one that has notified cannot be, and an outbox must
never make a transaction fail.
"""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import suppress
from enum import Enum
from typing import LiteralString, Protocol

import psycopg
from psycopg import sql

from relay.sessions import ASK, TRIES, for_session
from relay.sql import WAKE_LOCK

_CONNECT_SECONDS = 5  # for each address
_ALL_HOSTS_SECONDS = 10.0  # and for looking up their names, for which the driver has no limit: polling waits meanwhile
_ANSWER_SECONDS = 2.0
_RECONNECT_SECONDS = 5.0
_IN_VAIN = 5  # wake-ups in a row after which nothing could be claimed
_QUIET_SECONDS = 2.0


class Arming(Enum):
    """What became of asking to be woken."""

    BEGUN = "look once more before waiting"
    STANDING = "it was asked for before, and still holds"
    REFUSED = "an insert is under way, another relay has the lock, or waking was in vain: look again soon"
    NONE = "there is no wake-up, only polling"


class Wakeup(Protocol):
    """How a worker that found nothing waits. None of the methods raises; ``trouble`` says why it can only poll."""

    trouble: str | None

    async def open(self) -> None:
        """Connect, if there is anything to connect to; called again, it does nothing."""
        ...

    async def close(self) -> None:
        """Give the connection back. It may be opened again."""
        ...

    async def arm(self) -> Arming:
        """Ask to be woken from now on."""
        ...

    async def found(self, *, alone: bool) -> bool:
        """Something was claimed, so nobody needs to wake us: no insert notifies any more.

        ``alone``: one message, and nothing else was ready. If we had asked to be woken before it was looked for, that
        goes on, and the answer is True: whatever is ready next will wake us, nobody has to look for it now.
        """
        ...

    async def wait(self) -> None:
        """Return after an insert. May never return."""
        ...


class Polling:
    """No wake-up at all."""

    trouble: str | None = None

    async def open(self) -> None:
        return None

    async def close(self) -> None:
        return None

    async def arm(self) -> Arming:
        return Arming.NONE

    async def found(self, *, alone: bool) -> bool:
        return False

    async def wait(self) -> None:
        await asyncio.Event().wait()


class Notified:
    """LISTEN on a connection of its own. ``trouble`` says why there is no wake-up at the moment (None: there is)."""

    def __init__(self, conninfo: str, *, schema: str = "relay", despite_prepared: bool = False) -> None:
        self._conninfo = conninfo
        self._despite_prepared = despite_prepared
        self._schema = schema
        self._connection: psycopg.AsyncConnection[tuple[object, ...]] | None = None
        self._descriptor = -1  # of the connection; a lost one no longer tells
        self._watched = False
        self._key = 0
        self._armed = False
        self._heard = asyncio.Event()
        self._try_again_monotonic = 0.0
        self._in_vain = 0
        self._quiet_until_monotonic = 0.0
        self.trouble: str | None = None

    @property
    def listening(self) -> bool:
        """Whether an insert can wake this worker."""
        return self._connection is not None and self.trouble is None

    async def open(self) -> None:
        if self._connection is not None:
            return
        try:
            async with asyncio.timeout(_ALL_HOSTS_SECONDS):
                self._connection = await psycopg.AsyncConnection.connect(
                    self._conninfo,
                    autocommit=True,
                    prepare_threshold=None,
                    connect_timeout=_CONNECT_SECONDS,
                    client_encoding="utf8",  # a schema may have any name
                )
            self._descriptor = self._connection.fileno()
            await self._listen()
            self.trouble = None
        except (psycopg.Error, OSError) as error:
            await self._lost(str(error).partition("\n")[0] or type(error).__name__)

    async def close(self) -> None:
        await self._lost("closed")

    async def arm(self) -> Arming:
        if self._in_vain >= _IN_VAIN:
            self._in_vain = 0
            await self._disarm()
            self._quiet_until_monotonic = time.monotonic() + _QUIET_SECONDS
        if time.monotonic() < self._quiet_until_monotonic:
            return Arming.REFUSED
        if self._armed:
            return Arming.STANDING
        if self._connection is None and time.monotonic() >= self._try_again_monotonic:
            await self.open()
        if self._connection is None:
            return Arming.NONE
        self._heard.clear()
        self._armed = bool(await self._value("select pg_try_advisory_lock(%s, %s)", self._key, WAKE_LOCK))
        return Arming.BEGUN if self._armed else Arming.REFUSED

    async def found(self, *, alone: bool) -> bool:
        self._in_vain = 0
        if self._armed and alone:
            return True
        await self._disarm()
        return False

    async def wait(self) -> None:
        await self._heard.wait()
        self._heard.clear()
        self._in_vain += 1  # until something is claimed

    async def _disarm(self) -> None:
        if self._armed:
            self._armed = False
            await self._value("select pg_advisory_unlock(%s, %s)", self._key, WAKE_LOCK)

    async def _listen(self) -> None:
        assert self._connection is not None
        info = self._connection.info
        asked = await self._insisted(ASK)
        while asked.nextset():  # to the last one, which answers
            pass
        pid, version = (int(str(value)) for value in await asked.fetchone() or ())
        if pid != info.backend_pid:
            # A pooler makes up the pid it tells its clients. In transaction mode neither LISTEN nor a lock stays ours.
            raise psycopg.OperationalError("a pooler is in between")
        await self._insisted(for_session(version))
        if not self._despite_prepared and await self._answer("show max_prepared_transactions") not in ("0", None):
            raise psycopg.OperationalError(
                "transactions can be prepared here, which an insert that notifies would spoil"
            )
        table = sql.Identifier(self._schema, "outbox").as_string(None)
        self._key = int(str(await self._answer("select cast(cast(%s as regclass) as integer)", table)))
        oid = await self._answer("select cast(cast(%s as regclass) as oid)", table)
        await self._executed(sql.SQL("listen {}").format(sql.Identifier(f"relay_{oid}")))
        self._connection.add_notify_handler(lambda _: self._heard.set())  # those that come with an answer
        self._watch()

    async def _value(self, query: LiteralString, *parameters: object) -> object:
        """The one value of a query; None when the connection is lost, which ends the wake-up and nothing else."""
        if self._connection is None:
            return None
        self._unwatch()  # the driver watches the socket itself while it waits for an answer
        try:
            value = await self._answer(query, *parameters)
        except (psycopg.Error, OSError) as error:
            await self._lost(str(error).partition("\n")[0] or type(error).__name__)
            return None
        if self._key:
            self._watch()
        return value

    async def _answer(self, query: LiteralString, *parameters: object) -> object:
        row = await (await self._executed(query, *parameters)).fetchone()
        return row[0] if row else None

    async def _executed(
        self, query: LiteralString | bytes | sql.Composed, *parameters: object
    ) -> psycopg.AsyncCursor[tuple[object, ...]]:
        """Within two seconds: a half-open connection never fails by itself.

        The driver is not cancelled: it would ask the server to stop, over another connection that may stall as well,
        for ten seconds. Its socket is shut instead, and it fails at once.
        """
        assert self._connection is not None
        asked = asyncio.ensure_future(self._connection.execute(query, parameters or None))
        try:
            answered, _ = await asyncio.wait([asked], timeout=_ANSWER_SECONDS)
        finally:
            if not asked.done():
                _shut(self._descriptor)
                await asyncio.wait([asked], timeout=_ANSWER_SECONDS)
                _ = asked.done() and asked.exception()  # it is no news
        if not answered:
            raise TimeoutError(f"no answer in {_ANSWER_SECONDS:g} s")
        return asked.result()

    async def _insisted(self, statements: str) -> psycopg.AsyncCursor[tuple[object, ...]]:
        """What takes away the limits of the role: before, the tiniest may end it."""
        for _ in range(TRIES - 1):
            with suppress(psycopg.errors.QueryCanceled):
                return await self._executed(statements.encode())
        return await self._executed(statements.encode())

    def _watch(self) -> None:
        if self._connection is not None:
            asyncio.get_running_loop().add_reader(self._descriptor, self._readable)
            self._watched = True

    def _unwatch(self) -> None:
        # Once only: the driver closes a lost socket by itself, and its number may be another file's by now.
        if self._watched:
            asyncio.get_running_loop().remove_reader(self._descriptor)
            self._watched = False

    def _readable(self) -> None:
        """The server said something unasked: a notification, or its end."""
        assert self._connection is not None
        pgconn = self._connection.pgconn
        try:
            pgconn.consume_input()
            while pgconn.notifies():
                self._heard.set()
        except psycopg.Error:
            self._unwatch()
            self._armed = False  # the lock went with the session; the next statement will find out the rest

    async def _lost(self, trouble: str) -> None:
        self.trouble = trouble
        self._armed, self._key = False, 0
        self._try_again_monotonic = time.monotonic() + _RECONNECT_SECONDS
        connection, self._connection = self._connection, None
        if connection is not None:
            self._unwatch()
            await connection.close()


def _shut(descriptor: int) -> None:
    """End the connection below the driver, whose descriptor it stays."""
    with suppress(OSError), socket.socket(fileno=descriptor) as borrowed:
        try:
            borrowed.shutdown(socket.SHUT_RDWR)
        finally:
            borrowed.detach()
