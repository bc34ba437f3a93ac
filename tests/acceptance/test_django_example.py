"""``examples/django_shop``: its own tests, by Django's runner, in a process of its own, against the sandbox."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from sqlalchemy import make_url

from relay.sandbox.platform import APP_KEY, APP_SECRET, SESSION
from relay.sandbox.server import running_sandbox
from tests.fixtures.hostility import only_where_nothing_is_set

ROOT = Path(__file__).parents[2]
PROJECT = ROOT / "examples" / "django_shop"


def environment(url: str, platform: str) -> dict[str, str]:
    place = make_url(url)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("RELAY_", "DJANGO_", "PG"))}
    return {
        **inherited,
        "PYTHONPATH": str(ROOT),
        "PYTHONWARNINGS": "error",
        "PGHOST": str(place.query.get("host") or place.host),
        "PGPORT": str(place.query.get("port") or place.port or ""),
        "PGUSER": place.username or "",
        "PGPASSWORD": place.password or "",
        "SHOP_TEST_DATABASE": place.database or "",
        "RELAY_TMC_URL": platform,
        "RELAY_TMC_APP_KEY": APP_KEY,
        "RELAY_TMC_APP_SECRET": APP_SECRET,
        "RELAY_TMC_SESSION": SESSION,
        "RELAY_METRICS_PORT": "0",
    }


@only_where_nothing_is_set("the sessions of the example are an application's own")
async def test_the_project_migrates_tests_itself_and_delivers(empty_url: str) -> None:
    command = [sys.executable, "manage.py", "test", "--keepdb", "--no-input"]  # to create one is not for this login
    async with running_sandbox() as sandbox:
        options: dict[str, Any] = {"env": environment(empty_url, sandbox.router_url), "cwd": PROJECT}
        ended = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, **options)
        assert ended.returncode == 0, ended.stderr
        arrived = [json.loads(message.content) for message in sandbox.platform.messages]
    assert "Ran 6 tests" in ended.stderr
    assert "skipped" not in ended.stderr
    assert [(one["tid"], one["status"]) for one in arrived] == [(4213000001, "X_PACKAGED")]


def test_the_project_is_found_in_the_documents() -> None:
    assert "(../examples/django_shop/)" in (ROOT / "docs" / "frameworks.md").read_text()
