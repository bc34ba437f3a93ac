"""Workers inside an application: beside its own work, several of them, in silence, and gone with it."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
import traceback
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import prometheus_client
import pytest
from sqlalchemy import Engine

import relay
from relay.errors import ConfigurationError, RelayError, SchemaError, UnreachableError
from relay.sandbox.platform import APP_KEY, APP_SECRET, SESSION, Platform
from relay.sandbox.server import RunningSandbox, running_sandbox
from tests.fixtures.rows import Rows
from tests.fixtures.waiting import eventually_async

CREDENTIALS = {"tmc_app_key": APP_KEY, "tmc_app_secret": APP_SECRET, "tmc_session": SESSION}
OTHERS_SEEN = """
select count(*) from pg_stat_activity
where datname = current_database() and application_name = 'outbox-relay'
"""


@pytest.fixture
async def sandbox() -> AsyncIterator[RunningSandbox]:
    async with running_sandbox() as playing:
        yield playing


@pytest.fixture
def given(database_url: str, sandbox: RunningSandbox) -> dict[str, Any]:
    """What these tests set, all of it as overrides."""
    return {"database_url": database_url, "tmc_url": sandbox.router_url, "metrics_port": 0, **CREDENTIALS}


@pytest.fixture
def unused_ports() -> list[int]:
    with socket.socket() as one, socket.socket() as two:
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        return [one.getsockname()[1], two.getsockname()[1]]


@pytest.fixture
def rows(engine: Engine) -> Rows:
    return Rows(engine)


async def done(rows: Rows, count: int) -> None:
    query = "select count(*) from relay.outbox where status = 'done'"

    async def all_are() -> bool:
        return bool(await asyncio.to_thread(rows.one, query) == count)

    await eventually_async(all_are)


async def nobody_is_connected(rows: Rows) -> None:
    async def none_is() -> bool:
        return not await asyncio.to_thread(rows.one, OTHERS_SEEN)

    await eventually_async(none_is)


async def test_a_worker_runs_beside_the_block_and_is_gone_with_it(
    given: dict[str, Any], rows: Rows, sandbox: RunningSandbox, capfd: pytest.CaptureFixture[str]
) -> None:
    async with relay.running(**given) as worker:
        rows.add(3)
        await done(rows, 3)
        assert await worker.trouble() == ""
    assert await worker.trouble()
    await nobody_is_connected(rows)
    rows.add(1)
    assert rows.one("select count(*) from relay.outbox where status = 'pending'") == 1
    assert len(sandbox.platform.messages) == 3
    assert capfd.readouterr() == ("", "")


async def test_nothing_of_the_process_is_changed(given: dict[str, Any], rows: Rows) -> None:
    def kept() -> tuple[object, ...]:
        handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
        levels = [logging.getLogger(name).level for name in ("", "sqlalchemy", "httpx", "aiohttp", "psycopg")]
        own = prometheus_client.CollectorRegistry()
        prometheus_client.Counter("own", "The application's.", registry=own).inc()
        created = "own_created" in prometheus_client.generate_latest(own).decode()
        return handlers, levels, created, gc.get_freeze_count(), gc.isenabled()

    gc.unfreeze()  # another test may have left something frozen, which ends when it likes
    before = kept()
    async with relay.running(**given):
        rows.add()
        await done(rows, 1)
        assert kept() == before
    assert kept() == before


async def test_several_in_one_process_each_with_tables_and_metrics_of_its_own(
    given: dict[str, Any], rows: Rows, database_url: str, unused_ports: list[int]
) -> None:
    relay.migrate(database_url, schema="second")
    first = {**given, "metrics_port": unused_ports[0], "metrics_host": "127.0.0.1"}
    second = {**first, "schema": "second", "metrics_port": unused_ports[1], "concurrency": 2}

    async def second_is_done() -> bool:
        return bool(await asyncio.to_thread(rows.one, "select count(*) from second.outbox where status = 'done'"))

    async with relay.running(**first), relay.running(**second), relay.running(**given):
        rows.add(2)
        rows.run("insert into second.outbox (topic, content) values ('t', '{}')")
        await done(rows, 2)
        await eventually_async(second_is_done)
        assert await messages_done(unused_ports[1]) == "1.0"
    assert rows.one("select count(distinct actor) from relay.action where action = 'start'") == 2
    assert rows.one("select count(*) from second.action where action = 'start'") == 1


async def messages_done(port: int) -> str:
    async with httpx.AsyncClient(trust_env=False) as client:
        shown = (await client.get(f"http://127.0.0.1:{port}/metrics")).text
    (line,) = [line for line in shown.splitlines() if line.startswith('relay_message_outcomes_total{outcome="done"')]
    return line.rpartition(" ")[2]


async def test_a_port_that_is_taken_costs_the_metrics_and_is_a_warning(
    given: dict[str, Any], rows: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        async with relay.running(**{**given, "metrics_host": "127.0.0.1", "metrics_port": port}):
            rows.add()
            await done(rows, 1)
    assert f"port {port} is taken" in caplog.text


async def test_a_drain_ends_when_nothing_is_left_and_tells_what_it_did(given: dict[str, Any], rows: Rows) -> None:
    rows.add(5)
    report = await relay.drain(**given)
    assert (report.done, report.left) == (5, 0)
    rows.add(1, account="nobody")
    report = await relay.drain(**given)
    assert (report.done, report.left) == (0, 1)
    assert [pause.scope for pause in report.pauses] == ["account:nobody"]


async def test_what_is_opened_and_never_run_is_closed(given: dict[str, Any], rows: Rows) -> None:
    async with relay.open_worker(**given, wakeup="notify") as worker:
        worker.stop()
    await nobody_is_connected(rows)


async def test_a_worker_runs_once(given: dict[str, Any]) -> None:
    async with relay.open_worker(**given) as worker:
        worker.stop()
        await worker.run()
        with pytest.raises(RelayError, match="has run already"):
            await worker.run()


async def test_a_call_in_flight_lands_before_the_block_ends(given: dict[str, Any], rows: Rows) -> None:
    async with running_sandbox(Platform(faults=["slow=1"])) as slow:
        async with relay.running(**{**given, "tmc_url": slow.router_url}):
            rows.add()
            await in_flight(slow)
        assert rows.one("select status from relay.outbox") == "done"


async def in_flight(sandbox: RunningSandbox) -> None:
    async def one_is() -> bool:
        return bool(sandbox.platform.messages)

    await eventually_async(one_is)


async def test_an_application_without_time_cuts_calls_off_and_the_error_of_its_own_goes_on(
    given: dict[str, Any], rows: Rows
) -> None:
    inside = asyncio.Event()

    async def application(url: str) -> None:
        async with relay.running(**{**given, "tmc_url": url}):
            rows.add()
            await in_flight(slow)
            inside.set()  # then the block ends, and its graceful stop begins

    async with running_sandbox(Platform(faults=["slow=14"])) as slow, asyncio.timeout(12):
        task = asyncio.create_task(application(slow.router_url))
        await inside.wait()
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert rows.one("select outcome from relay.call") == "unknown"
    assert rows.one("select status from relay.outbox") == "pending"


async def test_a_worker_that_ends_before_the_block_says_so_at_once_and_at_the_end(
    given: dict[str, Any], rows: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    async def told() -> bool:
        return "the worker ended" in caplog.text

    async def application() -> None:
        async with relay.running(**given) as worker:
            rows.run("alter table relay.outbox rename to elsewhere")
            await eventually_async(told)
            assert await worker.trouble()

    with pytest.raises(SchemaError, match="missing or older") as caught:
        await application()
    said = "".join(traceback.format_exception(caught.value))
    assert "hint: Run: relay migrate" in said
    assert_alone(said)
    assert not [record for record in caplog.records if record.name == "asyncio"], "a task that nobody waited for"


def assert_alone(said: str) -> None:
    """No error of PostgreSQL's comes along: it may quote a row."""
    assert "The above exception" not in said
    assert "During handling" not in said


async def test_an_error_of_the_application_wins(given: dict[str, Any], rows: Rows) -> None:
    async def application() -> None:
        async with relay.running(**given):
            rows.run("alter table relay.outbox rename to elsewhere")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await application()


async def test_what_cannot_be_opened_is_an_error_with_its_hint(given: dict[str, Any], empty_url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"concurency: unknown option; did you mean concurrency\?"):
        await relay.drain(**given, concurency=2)
    with pytest.raises(SchemaError) as missing:
        await relay.drain(**{**given, "database_url": empty_url})
    assert missing.value.hint == "Run: relay migrate"
    with pytest.raises(UnreachableError) as away:
        await relay.drain(**{**given, "database_url": "postgresql://nobody@127.0.0.1:1/none"})
    said = "".join(traceback.format_exception(away.value))
    assert f"hint: {away.value.hint}" in said
    assert_alone(said)


async def test_settings_that_only_the_producer_can_judge_are_judged_before_the_block(
    given: dict[str, Any], rows: Rows, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing"))
    with pytest.raises(ConfigurationError, match="SSL_CERT_FILE"):
        await relay.open_worker(**{**given, "tmc_url": "https://localhost/router/rest"}).__aenter__()
    await nobody_is_connected(rows)


async def test_the_application_goes_on_while_a_worker_is_opened(given: dict[str, Any]) -> None:
    """A server that takes connections and says nothing; who takes them here is the same event loop."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        url = f"postgresql://u@127.0.0.1:{server.getsockname()[1]}/d"
        opening = asyncio.create_task(relay.drain(**{**given, "database_url": url}))
        async with asyncio.timeout(4):  # the driver would wait for five
            connection, _ = await asyncio.get_running_loop().sock_accept(server)
            opening.cancel()
            with pytest.raises(asyncio.CancelledError):
                await opening
        connection.close()


async def test_the_log_of_the_application_has_every_call_and_no_secret(
    given: dict[str, Any], rows: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    rows.add(2, content='{"mark": "contentmark"}')
    await relay.drain(**given)
    calls = [record for record in caplog.records if getattr(record, "relay", {}).get("event") == "call"]
    assert [(call.name, call.levelname, call.relay["done"]) for call in calls] == [("relay", "INFO", 2)]  # type: ignore[attr-defined]
    assert 'outcome="ok"' in calls[0].getMessage()
    assert calls[0].relay["worker"] in calls[0].getMessage()  # type: ignore[attr-defined]
    for mark in ("contentmark", APP_SECRET, SESSION):
        assert mark not in caplog.text


async def test_settings_that_are_given_are_all_there_is(
    given: dict[str, Any], rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    from relay.settings import load

    chosen = load(**given)
    monkeypatch.setenv("RELAY_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    monkeypatch.setenv("RELAY_NONSENSE", "1")
    rows.add(1)
    assert (await relay.drain(chosen)).done == 1
    rows.add(1)
    assert (await relay.drain(chosen, batch_size=1)).done == 1
    with pytest.raises(ConfigurationError, match="RELAY_BATCH_SIZE: must be between 1 and 50, got 51"):
        await relay.drain(chosen, batch_size=51)
