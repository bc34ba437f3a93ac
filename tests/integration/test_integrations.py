"""Integrations with frameworks: a worker that comes and goes with the application, its probe, and who is warned."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

import relay
from relay.errors import ConfigurationError, SchemaError
from relay.integrations.fastapi import WorkerTrouble
from relay.integrations.server_processes import counted_in
from relay.integrations.starlette import ready, worker_lifespan
from tests.fixtures.waiting import eventually

ROOT = Path(__file__).parents[2]
SETTINGS = {"producer": "stdout", "metrics_port": 0}
OTHER_PROCESS = """
import sys
from relay.integrations.server_processes import counted_in
parent, *sys.argv = sys.argv[1:]
with counted_in(int(parent)) as first:
    print("first" if not first else first, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of this test alone: its neighbour in pytest-xdist has the same parent and the same command line."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@contextmanager
def another_process(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """That runs a worker in a server whose parent and command line are ours."""
    command = [sys.executable, "-c", OTHER_PROCESS, str(os.getppid()), *sys.argv]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    env = {**os.environ, "TMPDIR": str(folder), "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=env, **pipes) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "first\n"
        yield process
        process.kill()


def given_to(app: ASGIApp, state: dict[str, Any]) -> ASGIApp:
    """The application as a server calls it that was given this state at the start."""

    async def called(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "state": dict(state)}, receive, send)

    return called


def probe(state: dict[str, Any]) -> Request:
    return Request({"type": "http", "state": dict(state)})


async def test_the_worker_begins_after_what_is_the_applications_own_and_ends_before_it(empty_url: str) -> None:
    left: list[str] = []

    @asynccontextmanager
    async def own(app: object) -> AsyncIterator[dict[str, str]]:
        relay.migrate(empty_url)  # a worker would not start without
        yield {"mine": "kept"}
        left.append(await state["relay_worker"].trouble())

    app = Starlette(lifespan=worker_lifespan(own=own, database_url=empty_url, **SETTINGS))
    async with app.router.lifespan_context(app) as given:
        assert given is not None
        state = dict(given)
        assert state["mine"] == "kept"
        answer = await ready(probe(state))
        assert (answer.status_code, json.loads(answer.body)) == (200, {"ok": True, "reason": ""})
    assert left == ["the worker is stopping"]
    answer = await ready(probe(state))
    assert (answer.status_code, json.loads(answer.body)) == (503, {"ok": False, "reason": "the worker is stopping"})


async def test_its_trouble_is_a_dependency_of_fastapi(database_url: str) -> None:
    app = FastAPI(lifespan=worker_lifespan(database_url=database_url, **SETTINGS))
    app.add_api_route("/readyz", ready)

    @app.get("/health")
    async def health(worker: WorkerTrouble) -> dict[str, str]:
        return {"worker": worker}

    async with app.router.lifespan_context(app) as given:
        transport = httpx.ASGITransport(given_to(app, dict(given or {})))
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            assert (await client.get("/health")).json() == {"worker": ""}
            given["relay_worker"].stop()  # type: ignore[index]
            assert (await client.get("/health")).json() == {"worker": "the worker is stopping"}
            assert (await client.get("/readyz")).status_code == 503


async def test_an_application_whose_worker_cannot_start_does_not_start(empty_url: str) -> None:
    app = Starlette(lifespan=worker_lifespan(database_url=empty_url, **SETTINGS))
    with pytest.raises(SchemaError):
        async with app.router.lifespan_context(app):
            pass


async def test_a_reason_steers_no_terminal() -> None:
    class Hostile:
        async def trouble(self) -> str:
            return "\u202e\x1b[2J 退款"

    answer = await ready(probe({"relay_worker": Hostile()}))
    assert bytes(answer.body).isascii()
    assert b"\x1b" not in answer.body
    assert json.loads(answer.body)["reason"] == "\u202e\x1b[2J 退款"


async def test_a_probe_without_the_lifespan_names_it() -> None:
    with pytest.raises(ConfigurationError, match="No worker runs with this application") as raised:
        await ready(probe({}))
    assert "worker_lifespan()" in raised.value.hint


async def test_a_second_process_of_a_server_says_that_it_is_one(
    database_url: str, temporary_files: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lifespan = worker_lifespan(database_url=database_url, **SETTINGS)
    with another_process(temporary_files) as first, caplog.at_level(logging.WARNING, "relay"):
        async with lifespan(None):
            assert f"process {first.pid} of this server runs a worker too" in caplog.text
    caplog.clear()
    async with lifespan(None), lifespan(None):  # two in one process are meant
        assert "of this server" not in caplog.text


def test_the_end_of_the_first_process_sets_its_place_free(temporary_files: Path) -> None:
    with another_process(temporary_files), counted_in() as first:
        assert first
    eventually(lambda: not _first())
    assert list(temporary_files.iterdir()) == []


def _first() -> str:
    with counted_in() as first:
        return first


def test_a_server_of_another_parent_or_command_line_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    with counted_in():
        monkeypatch.setattr(os, "getpid", lambda: -1)
        assert _first()
        with counted_in(1) as first:
            assert not first
        monkeypatch.setattr(sys, "argv", ["another"])
        assert not _first()


def test_a_link_of_a_strangers_is_not_followed(temporary_files: Path) -> None:
    with counted_in():
        (lock,) = temporary_files.iterdir()
    theirs = temporary_files / "theirs"
    theirs.write_text("kept")
    lock.symlink_to(theirs)
    assert not _first()
    assert theirs.read_text() == "kept"


@pytest.mark.parametrize(
    ("module", "missing", "named"),
    [
        ("relay.integrations.starlette", "starlette.requests", "pip install 'outbox-relay[worker]'"),
        ("relay.integrations.fastapi", "fastapi", "pip install fastapi"),
    ],
)
def test_a_framework_that_is_missing_is_named(
    module: str, missing: str, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ModuleNotFoundError) as raised:
        import_module(module)
    assert named in "".join(raised.value.__notes__)
