"""One Chromium for all the tests of a worker, which sees the pages as people do; and a dashboard for it to look at.

Its driver lives in one event loop of the session, so tests here are coroutines that run in that loop.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from tests.browser.served import dashboard
from tests.browser.visitor import Visitor
from tests.fixtures.dashboard import Seeded
from tests.fixtures.people import line

if TYPE_CHECKING:
    from playwright.async_api import Browser

# The first one there is taken. The shell is the same browser without the windows, and costs a third of it.
NAMES = ("chromium-headless-shell", "chrome-headless-shell", "chromium", "chromium-browser", "google-chrome")
MISSING = (
    "no Chromium on this machine: apt-get install --no-install-recommends chromium-headless-shell (or chromium), "
    "or name one in RELAY_TEST_CHROMIUM; none is downloaded"
)
UNDRIVEN = "nothing here drives a browser: pip install playwright axe-playwright-python, where they have wheels"

Visit = Callable[..., Awaitable[Visitor]]

# People read two languages, and not every browser runs scripts: what people do, they do in all four ways.
_PAIRS = [(language, scripts) for language in ("en", "zh-CN") for scripts in (True, False)]
ALL_WAYS = pytest.mark.parametrize(
    ("language", "scripts"),
    _PAIRS,
    ids=[f"{language}, {'with scripts' if scripts else 'without'}" for language, scripts in _PAIRS],
)


@pytest.fixture(scope="session", autouse=True)
def pages_compiled_once(compiled_once: None) -> None:
    """Many tests have a dashboard of their own."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A driver answers in the loop that it was started in."""
    for item in items:
        if item.path.is_relative_to(os.path.dirname(__file__)) and pytest_asyncio.is_async_test(item):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chromium() -> AsyncIterator[Browser]:
    try:
        from playwright.async_api import async_playwright
    except ImportError:
        pytest.skip(UNDRIVEN)
    program = os.environ.get("RELAY_TEST_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip(MISSING)
    async with async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=program)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def visitors(chromium: Browser) -> AsyncIterator[dict[str, Visitor]]:
    """One in the light with English pages, one in the dark with Chinese ones, for a whole module."""
    made = {
        language: await Visitor.come(chromium, language, color_scheme=colours)
        for language, colours in (("en", "light"), ("zh-CN", "dark"))
    }
    yield made
    for visitor in made.values():
        await visitor.leave()


@pytest_asyncio.fixture(loop_scope="session")
async def visit(chromium: Browser) -> AsyncIterator[Visit]:
    """A visitor with cookies of its own: ``await visit("zh-CN", java_script_enabled=False)``."""
    made = []

    async def visit(language: str = "en", **options: Any) -> Visitor:
        made.append(await Visitor.come(chromium, language, **options))
        return made[-1]

    yield visit
    for visitor in made:
        await visitor.leave()


@pytest.fixture(scope="module")
def site(seeded: Seeded) -> Iterator[str]:
    """Where the dashboard is that shows something of everything."""
    with dashboard(seeded.url) as url:
        yield url


@pytest.fixture(scope="session")
def users(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file in which ann has PASSWORD."""
    file = tmp_path_factory.mktemp("people") / "users"
    file.write_text(line())
    file.chmod(0o600)
    return file
