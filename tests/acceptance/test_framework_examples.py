"""The programs in ``examples/`` that stand in a web framework or a task queue: one transaction, and it is delivered.

The one that runs a worker itself is a real server. The others only insert, so they run in this process.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
from sqlalchemy.exc import OperationalError

import relay
from relay.sandbox.platform import APP_KEY, APP_SECRET, SESSION
from relay.sandbox.server import RunningSandbox, running_sandbox
from tests.acceptance.outbox import Outbox
from tests.fixtures.hostility import only_where_nothing_is_set
from tests.fixtures.processes import RelayProcess
from tests.fixtures.waiting import eventually_async

FOLDER = Path(__file__).parents[2] / "examples"
PROGRAMS = sorted(FOLDER.glob("*.py"))
MOST_LINES = 60
ORDER = {"tid": 4213000001, "seller": "向阳aa"}


@pytest.fixture
async def sandbox() -> AsyncIterator[RunningSandbox]:
    async with running_sandbox() as playing:
        yield playing


@pytest.fixture
def given(outbox: Outbox, sandbox: RunningSandbox) -> dict[str, Any]:
    """The relay's settings."""
    return {
        "database_url": outbox.url,
        "tmc_url": sandbox.router_url,
        "tmc_app_key": APP_KEY,
        "tmc_app_secret": APP_SECRET,
        "tmc_session": SESSION,
    }


@pytest.fixture
def example(outbox: Outbox, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[ModuleType]:
    """The module that the parameter names, with its own table in the database of this test."""
    name = f"examples.{request.param}"
    outbox.execute("create table orders (tid bigint primary key, seller text not null, packed boolean)")
    monkeypatch.setenv("DATABASE_URL", outbox.url)
    monkeypatch.syspath_prepend(str(FOLDER.parent))
    module = importlib.import_module(name)
    yield module
    module.engine.dispose()
    del sys.modules[name]


@pytest.fixture
def server(outbox: Outbox, given: dict[str, Any]) -> Iterator[RelayProcess]:
    """uvicorn, and in it the application and a worker."""
    outbox.execute("create table orders (tid bigint primary key, seller text not null)")
    process = RelayProcess(
        "examples.fastapi_orders:app",
        *("--port", "0"),
        env={"DATABASE_URL": outbox.url, **{f"RELAY_{name.upper()}": value for name, value in given.items()}},
        command=(sys.executable, "-m", "uvicorn"),
    )
    yield process
    if process.returncode is None:
        process.terminate()
        process.wait()


def arrived(sandbox: RunningSandbox) -> list[tuple[Any, Any]]:
    contents = [json.loads(message.content) for message in sandbox.platform.messages]
    return [(content["tid"], content["status"]) for content in contents]


@only_where_nothing_is_set("the sessions of the example are an application's own")
async def test_fastapi_answers_delivers_and_stops(
    server: RelayProcess, outbox: Outbox, sandbox: RunningSandbox
) -> None:
    async def delivered() -> bool:
        return arrived(sandbox) == [(ORDER["tid"], "X_PACKAGED")]

    async def is_ready() -> bool:
        try:
            probe = await client.get("/readyz")
        except httpx.ConnectError:
            return False
        return (probe.status_code, probe.json()["ok"]) == (200, True)

    url = server.wait_for_line(r"running on (http://\S+)")[1]
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=20) as client:
        await eventually_async(is_ready, 20)
        assert (await client.post("/orders", json=ORDER)).status_code == 201
        assert (await client.post("/orders", json=ORDER)).status_code == 409
        await eventually_async(delivered, 20)
    server.send_signal(signal.SIGTERM)
    await asyncio.to_thread(server.wait)
    assert outbox.select("select status, count(*) from relay.outbox group by 1") == [("done", 1)]
    assert server.returncode in (0, -signal.SIGTERM), server.report()  # uvicorn ends as the signal would have ended it
    assert outbox.scalar("select count(*) from relay.call where settled_at is null") == 0
    log = "\n".join(server.stderr)
    assert "INFO:relay:" in log
    assert "Traceback" not in log
    assert "runs a worker too" not in log


@pytest.mark.parametrize("example", ["flask_orders"], indirect=True)
async def test_flask_writes_both_rows_or_none(
    example: ModuleType, outbox: Outbox, sandbox: RunningSandbox, given: dict[str, Any]
) -> None:
    client = example.app.test_client()
    assert client.post("/orders", json=ORDER).status_code == 201
    assert client.post("/orders", json=ORDER).status_code == 409
    assert outbox.select("select seller from orders") == [("向阳aa",)]
    assert outbox.select("select status, ordering_key from relay.outbox") == [("pending", str(ORDER["tid"]))]
    await relay.drain(**given)
    assert arrived(sandbox) == [(ORDER["tid"], "X_PACKAGED")]


@pytest.mark.parametrize("example", ["celery_orders"], indirect=True)
async def test_a_celery_task_that_is_tried_again_writes_one_message(
    example: ModuleType,
    outbox: Outbox,
    sandbox: RunningSandbox,
    given: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Tried again before the commit, and after it; then somebody sends the task a second time."""
    failures: list[Exception] = [OSError("the printer is out of paper"), OSError("and out of ink")]
    printed: list[int] = []

    def print_label(tid: int) -> None:
        if failures:
            raise failures.pop()
        printed.append(tid)

    monkeypatch.setattr(example, "print_label", print_label)
    monkeypatch.setitem(example.app.conf, "task_always_eager", True)
    outbox.execute("insert into orders values (1, 'a')")
    with monkeypatch.context() as broken:
        broken.setattr(example.relay, "add", _refuse_once(relay.add))
        assert example.pack.delay(1).state == "SUCCESS"
    assert example.pack.delay(1).state == "SUCCESS"
    assert (failures, printed) == ([], [1, 1])
    assert outbox.select("select packed from orders") == [(True,)]
    assert outbox.select("select dedupe_key from relay.outbox") == [("packaged 1",)]
    await relay.drain(**given)
    assert arrived(sandbox) == [(1, "X_PACKAGED")]


def _refuse_once(add: Any) -> Any:
    refusals = [OperationalError("insert", None, Exception("the connection is lost"))]

    def refusing(*arguments: Any, **columns: Any) -> Any:
        if refusals:
            raise refusals.pop()
        return add(*arguments, **columns)

    return refusing


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_an_example_is_read_at_a_glance_and_found_in_the_documents(path: Path) -> None:
    assert len(path.read_text().splitlines()) < MOST_LINES
    documents = [FOLDER.parent / "docs" / name for name in ("frameworks.md", "embedding.md")]
    assert f"(../examples/{path.name})" in "".join(document.read_text() for document in documents)
