"""``examples/django_shop``: migrated and tested by Django's own runner, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from sqlalchemy import make_url

from tests.fixtures.hostility import only_where_nothing_is_set

ROOT = Path(__file__).parents[2]
PROJECT = ROOT / "examples" / "django_shop"


def environment(url: str) -> dict[str, str]:
    """Of a reader who has exported where the database is."""
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
    }


@only_where_nothing_is_set("the sessions of the example are an application's own")
def test_the_project_migrates_and_tests_itself(empty_url: str) -> None:
    command = [sys.executable, "manage.py", "test", "--keepdb", "--no-input"]  # to create one is not for this login
    ended = subprocess.run(command, env=environment(empty_url), cwd=PROJECT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert "Ran 7 tests" in ended.stderr


def test_the_project_is_found_in_the_documents() -> None:
    assert "(../examples/django_shop/)" in (ROOT / "docs" / "frameworks.md").read_text()
