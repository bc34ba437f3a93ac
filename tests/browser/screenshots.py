"""The pictures of the documents: python -m tests.browser.screenshots, or make pictures.

A database of its own is filled with the story, the dashboard is served to a Chromium, and what that shows goes into
``docs/pictures/``. Pages show the times of one fixed morning, whenever the pictures are taken.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

from playwright.sync_api import Browser, sync_playwright
from sqlalchemy import create_engine

import relay
from relay.dashboard.acting import ACTOR_COOKIE
from relay.dashboard.rendering import spoken
from relay.dashboard.viewer import Viewer
from relay.embedded import EmbeddedPostgres
from tests.browser.conftest import MISSING, NAMES
from tests.browser.served import dashboard
from tests.browser.story import Story, fill

FOLDER = Path(__file__).parents[2] / "docs" / "pictures"
WIDTH = 1280
MOMENT = datetime(2026, 11, 11, 9, 30, tzinfo=timezone(timedelta(hours=8)))


@dataclass(frozen=True, slots=True)
class Picture:
    """``height``: as much of the page as is shown. ``width``: of the window, which the picture shows at WIDTH."""

    path: str
    height: int
    language: str = "en"
    width: int = WIDTH


def pictures(story: Story) -> dict[str, Picture]:
    """By the name of the file; each in both languages, with as much of the page as looks well in that one."""
    call, message = f"/calls/{story.fifty}", f"/messages/{story.thrice}"
    preview = "/act/retry?state=failed&code=isv.invalid-parameter:content"
    return {
        "page-one.png": Picture("/", 728),
        "page-one.zh.png": Picture("/", 682, "zh-CN"),
        "call.png": Picture(call, 751),
        "call.zh.png": Picture(call, 751, "zh-CN"),
        "message.png": Picture(message, 602, width=1640),
        "message.zh.png": Picture(message, 602, "zh-CN", width=1640),
        "failures.png": Picture("/failures", 420),
        "failures.zh.png": Picture("/failures", 420, "zh-CN"),
        "preview.png": Picture(preview, 720),
        "preview.zh.png": Picture(preview, 720, "zh-CN"),
    }


def chromium() -> str | None:
    """Where it is; None: nowhere."""
    return os.environ.get("RELAY_TEST_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def that_morning(now: datetime) -> Iterator[None]:
    """Whatever a page shows as a time is moved, as if ``now`` were MOMENT, and remained so."""
    moved = MOMENT - now

    def saying(viewer: Viewer) -> dict[str, Any]:
        words = dict(spoken(viewer))
        for name in ("when", "clock", "day"):
            words[name] = partial(_said, words[name], moved)
        return words

    with patch("relay.dashboard.rendering.spoken", saying):
        yield


def _said(said: Callable[[Any], Any], moved: timedelta, moment: Any) -> Any:
    return said(min(moment + moved, MOMENT) if isinstance(moment, datetime) else moment)


def take(url: str, folder: Path, program: str) -> list[Path]:
    """Fill this database, which has the tables and nothing in them, and put the pictures into the folder."""
    engine = create_engine(url)
    try:
        story = fill(engine)
    finally:
        engine.dispose()
    folder.mkdir(parents=True, exist_ok=True)
    assert story.now is not None
    with that_morning(story.now), dashboard(url, dashboard_allow_actions=True) as site, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=["--font-render-hinting=none"])
        taken = [_taken(browser, site, folder / name, picture) for name, picture in pictures(story).items()]
        browser.close()
    return taken


def _taken(browser: Browser, site: str, file: Path, picture: Picture) -> Path:
    context = browser.new_context(
        viewport={"width": picture.width, "height": picture.height},
        device_scale_factor=WIDTH / picture.width,
        locale=picture.language,
        color_scheme="light",
        java_script_enabled=False,  # with it a page counts the seconds until it looks again
    )
    context.add_cookies([{"name": ACTOR_COOKIE, "value": "ann", "url": site}])
    page = context.new_page()
    answer = page.goto(site + picture.path)
    assert answer is not None
    assert answer.ok, f"{picture.path} was answered with {answer.status}"
    page.screenshot(path=file)
    context.close()
    return file


def _ready(server: EmbeddedPostgres) -> str:
    admin = create_engine(server.url(), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.exec_driver_sql("create database shop")
    admin.dispose()
    engine = create_engine(server.url("shop"))
    relay.migrate(engine)
    engine.dispose()
    return server.url("shop")


def main(folder: Path = FOLDER) -> None:
    """On a PostgreSQL of its own, which goes away again."""
    program = chromium()
    if program is None:
        sys.exit(MISSING)
    server = EmbeddedPostgres(Path(tempfile.gettempdir()) / f"relay-pictures-{os.getpid()}", fast=True)
    try:
        server.start()
        for file in take(_ready(server), folder, program):
            sys.stdout.write(f"{file}: {file.stat().st_size} bytes\n")
    finally:
        server.remove()


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
