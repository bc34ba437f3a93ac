"""Woken at once by an insert, next to no cost for inserts while nobody sleeps, polling where LISTEN cannot work."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine, create_engine, make_url, text

import relay
from relay.assembly.worker import wired
from relay.events import Event, PollingOnly
from relay.message import ACCEPTED, Answer, Answered, Batch
from relay.outcomes import Policy
from relay.wakeups import Arming, Notified
from relay.worker import Options
from tests.fixtures.proxy import proxied, way_to
from tests.fixtures.waiting import eventually_async

LISTENERS_END = """
select pg_terminate_backend(pid) from pg_stat_activity
where query ~ 'pg_try_advisory_lock' and pid <> pg_backend_pid() and datname = current_database()
"""


def conninfo(url: str) -> str:
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


def insert(engine: Engine, count: int = 1) -> None:
    with engine.begin() as connection:
        for _ in range(count):
            connection.execute(text("insert into relay.outbox (topic, content) values ('t', '{}')"))


@pytest.fixture
async def wakeup(database_url: str) -> AsyncIterator[Notified]:
    made = Notified(conninfo(database_url), despite_prepared=True)
    await made.open()
    yield made
    await made.close()


async def heard(wakeup: Notified, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await wakeup.wait()
    except TimeoutError:
        return False
    return True


async def test_an_insert_wakes_who_sleeps(engine: Engine, wakeup: Notified) -> None:
    assert wakeup.trouble is None
    assert await wakeup.arm() is Arming.BEGUN
    await asyncio.to_thread(insert, engine)
    assert await heard(wakeup, 5)


async def test_a_limit_of_the_role_ends_no_wake_up_not_even_its_first_question(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The question takes the limit away in the same breath, and is put again where the limit was quicker."""
    execute, asked, cancelled = psycopg.AsyncConnection.execute, list[bytes](), [True, False, True, False]

    async def executed(connection: Any, query: Any, *arguments: Any, **parameters: Any) -> Any:
        asked.append(query)
        if cancelled and cancelled.pop(0):
            raise psycopg.errors.QueryCanceled("canceling statement due to statement timeout")
        return await execute(connection, query, *arguments, **parameters)

    monkeypatch.setattr(psycopg.AsyncConnection, "execute", executed)
    joined = "&" if "?" in database_url else "?"
    url = f"{conninfo(database_url)}{joined}options=-cstatement_timeout%3D200"
    made = Notified(url, despite_prepared=True)
    await made.open()
    assert made.trouble is None
    await made.close()
    assert (asked[0], asked[2]) == (asked[1], asked[3])
    assert [question.split(b";")[0] for question in asked[:4:2]] == [
        b"set local statement_timeout = 0",
        b"set statement_timeout = '0'",
    ]


async def test_nobody_is_notified_while_nobody_sleeps(engine: Engine, wakeup: Notified) -> None:
    await asyncio.to_thread(insert, engine)
    assert await wakeup.arm() is Arming.BEGUN
    await wakeup.found(alone=False)
    await asyncio.to_thread(insert, engine)
    assert not await heard(wakeup, 0.2)


async def test_who_inserts_at_this_moment_keeps_the_relay_awake(engine: Engine, wakeup: Notified) -> None:
    """An insert that began before the lock was taken would not notify, so the lock cannot be taken until it ends."""
    with engine.connect() as connection:
        connection.execute(text("insert into relay.outbox (topic, content) values ('t', '{}')"))
        assert await wakeup.arm() is Arming.REFUSED
        connection.commit()
    assert await wakeup.arm() is Arming.BEGUN


async def test_one_relay_of_a_fleet_sleeps_with_the_lock(database_url: str, wakeup: Notified) -> None:
    other = Notified(conninfo(database_url), despite_prepared=True)
    await other.open()
    assert await wakeup.arm() is Arming.BEGUN
    assert await other.arm() is Arming.REFUSED
    await wakeup.found(alone=False)
    assert await other.arm() is Arming.BEGUN
    await other.close()


async def test_who_is_woken_in_vain_again_and_again_polls_for_a_while(engine: Engine, wakeup: Notified) -> None:
    for _ in range(5):
        assert await wakeup.arm() in (Arming.BEGUN, Arming.STANDING)
        await asyncio.to_thread(insert, engine)
        assert await heard(wakeup, 5)
    assert await wakeup.arm() is Arming.REFUSED
    await asyncio.to_thread(insert, engine)
    assert not await heard(wakeup, 0.2)

    async def armed_again() -> bool:
        return await wakeup.arm() is Arming.BEGUN

    assert await eventually_async(armed_again)


async def test_waking_that_leads_to_a_claim_is_never_in_vain(engine: Engine, wakeup: Notified) -> None:
    for _ in range(12):
        assert await wakeup.arm() is Arming.BEGUN
        await asyncio.to_thread(insert, engine)
        assert await heard(wakeup, 5)
        await wakeup.found(alone=False)  # as a worker says that has claimed something


async def test_one_message_alone_leaves_the_wakeup_as_it_is(engine: Engine, wakeup: Notified) -> None:
    assert not await wakeup.found(alone=True)  # nobody had asked to be woken: look again
    assert await wakeup.arm() is Arming.BEGUN
    for _ in range(12):
        await asyncio.to_thread(insert, engine)
        assert await heard(wakeup, 5)
        assert await wakeup.found(alone=True)
    assert not await wakeup.found(alone=False)
    await asyncio.to_thread(insert, engine)
    assert not await heard(wakeup, 0.2)


async def test_inserts_are_never_held_up(engine: Engine, wakeup: Notified) -> None:
    assert await wakeup.arm() is Arming.BEGUN
    with engine.connect() as one, engine.connect() as other:
        for connection in (one, other):
            connection.execute(text("set local lock_timeout = '2s'"))
            connection.execute(text("insert into relay.outbox (topic, content) values ('t', '{}')"))
        one.commit()
        other.commit()
    assert await heard(wakeup, 5)


async def test_a_lost_connection_ends_in_polling_and_is_made_anew(
    engine: Engine, wakeup: Notified, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await wakeup.arm() is Arming.BEGUN
    with engine.begin() as connection:
        connection.execute(
            text(
                "select pg_terminate_backend(pid) from pg_stat_activity "
                "where datname = current_database() and pid <> pg_backend_pid()"
            )
        )
    monkeypatch.setattr("relay.wakeups._RECONNECT_SECONDS", 0)

    async def armed_again() -> bool:
        return await wakeup.arm() is Arming.BEGUN

    assert await eventually_async(armed_again)
    await asyncio.to_thread(insert, engine)
    assert await heard(wakeup, 5)


async def test_the_number_of_a_lost_socket_may_be_taken_by_somebody_else(engine: Engine, wakeup: Notified) -> None:
    """The driver closes a lost socket; the next one that the process opens gets its number, such as a probe's."""
    assert await wakeup.arm() is Arming.BEGUN
    number = wakeup._descriptor
    with engine.begin() as connection:
        connection.execute(text(LISTENERS_END))

    async def lost() -> bool:
        return not wakeup._watched

    await eventually_async(lost)
    assert wakeup._connection is not None
    wakeup._connection.pgconn.finish()  # as the driver does sooner or later
    ours, theirs = socket.socketpair()
    os.dup2(ours.detach(), number)
    _, writer = await asyncio.open_connection(sock=socket.socket(fileno=number))
    assert await wakeup.arm() in (Arming.REFUSED, Arming.NONE)
    assert wakeup.trouble is not None
    writer.close()
    await writer.wait_closed()
    theirs.close()


async def test_a_schema_may_have_any_name_whatever_the_encoding(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    relay.migrate(database_url, schema="向阳")
    monkeypatch.setenv("PGCLIENTENCODING", "latin1")
    wakeup = Notified(conninfo(database_url), schema="向阳", despite_prepared=True)
    await wakeup.open()
    assert wakeup.trouble is None
    assert await wakeup.arm() is Arming.BEGUN
    await wakeup.close()


async def test_no_server_is_no_reason_to_fail() -> None:
    wakeup = Notified("postgresql://nobody@127.0.0.1:1/nowhere")
    await wakeup.open()
    assert wakeup.trouble
    assert await wakeup.arm() is Arming.NONE
    await wakeup.found(alone=False)
    await wakeup.close()


async def test_a_name_that_is_looked_up_for_ever_leaves_it_to_polling(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit of the driver is for connecting alone. Whoever waits for the wake-up does not claim meanwhile."""

    async def never(*_args: object, **_kwargs: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", never)
    monkeypatch.setattr("relay.wakeups._ALL_HOSTS_SECONDS", 0.05)
    wakeup = Notified("postgresql://u@nowhere.invalid/d")
    async with asyncio.timeout(10):
        await wakeup.open()
    assert wakeup.trouble == "TimeoutError"


@pytest.mark.parametrize("ending", ["its own time", "cancelled"])
async def test_a_connection_that_stalls_is_given_up_at_once(
    database_url: str, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    """The driver would ask the server to stop, through the same stalled network, and wait ten seconds for it."""
    monkeypatch.setattr("relay.wakeups._ANSWER_SECONDS", 0.2 if ending == "its own time" else 60.0)
    with proxied(lambda: way_to(make_url(database_url))) as proxy:
        url = make_url(database_url).difference_update_query(["host", "port"]).set(host="127.0.0.1", port=proxy.port)
        wakeup = Notified(conninfo(url.render_as_string(hide_password=False)), despite_prepared=True)
        await wakeup.open()
        assert wakeup.trouble is None
        proxy.stall()
        arming = asyncio.create_task(wakeup.arm())
        async with asyncio.timeout(4):
            if ending == "cancelled":
                await asyncio.sleep(0)
                arming.cancel()
            await asyncio.gather(arming, return_exceptions=True)
            await wakeup.close()


class Noting:
    max_batch, max_bytes = 50, 1_000_000

    def __init__(self) -> None:
        self.at: list[float] = []

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def produce(self, batch: Batch) -> Answer:
        self.at += [time.monotonic()] * len(batch)
        return Answered((ACCEPTED,) * len(batch))


async def test_a_worker_that_would_poll_in_an_hour_is_woken_for_each_message(
    engine: Engine, database_url: str, wakeup: Notified
) -> None:
    relay_engine = create_engine(database_url, isolation_level="READ COMMITTED")
    producer, seen = Noting(), list[Event]()
    _, worker = wired(
        relay_engine,
        producer,
        name="test",
        policy=Policy(),
        options=Options(poll_interval_seconds=3600),
        observers=[seen.append],
        wakeup=wakeup,
    )
    running = asyncio.create_task(worker.run())
    for number in range(1, 31):
        await asyncio.to_thread(insert, engine)

        async def arrived(so_far: int = number) -> bool:
            return len(producer.at) >= so_far

        await eventually_async(arrived)
    worker.stop()
    await running
    relay_engine.dispose()
    assert not [event for event in seen if isinstance(event, PollingOnly)]
