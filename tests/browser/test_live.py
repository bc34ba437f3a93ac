"""Pages that are open bring themselves up to date: what they show, when they wait, and what they say when they cannot.

The page's clock is the test's: minutes pass at once, and where nothing may happen, nothing happens in an hour of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

import relay
from relay.dashboard.languages import TEXTS
from relay.embedded import EmbeddedPostgres
from tests.browser.conftest import Visit
from tests.browser.served import dashboard
from tests.browser.visitor import LIVE, Visitor
from tests.fixtures.people import PASSWORD
from tests.fixtures.rows import Rows

if TYPE_CHECKING:
    from playwright.async_api import Request

AN_HOUR = 3_600_000
DUE = "#now a[href*='state=due']"
HIDE = """hidden => {
    Object.defineProperty(document, "hidden", {value: hidden, configurable: true});
    document.dispatchEvent(new Event("visibilitychange"));
}"""
SELECT = "selector => getSelection().selectAllChildren(document.querySelector(selector))"


@pytest.fixture(autouse=True)
def read_afresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is left to whoever comes within seconds: pages have been open for as long as their clock says."""
    monkeypatch.setattr("relay.dashboard.refreshing.Left.leave", lambda *_: None)
    monkeypatch.setattr("relay.dashboard.pages.overview.KEPT_SECONDS", 0.0)


@pytest.fixture
def rows(database_url: str) -> Iterator[Rows]:
    engine = create_engine(database_url, poolclass=NullPool)
    yield Rows(engine)
    engine.dispose()


@pytest.fixture
def open_page(database_url: str, rows: Rows) -> Iterator[str]:
    with dashboard(database_url, dashboard_allow_actions=True) as url:
        yield url


class Open:
    """A page somebody has left open. ``asked``: how often it asked whether there is anything new."""

    def __init__(self, visitor: Visitor) -> None:
        self.visitor, self.page, self.asked = visitor, visitor.page, 0
        self.page.on("request", self._count)

    def _count(self, request: Request) -> None:
        self.asked += LIVE in request.headers and request.redirected_from is None

    @classmethod
    async def at(cls, visitor: Visitor, url: str) -> Open:
        await visitor.page.clock.install()
        await visitor.goto(url)
        return cls(visitor)

    async def later(self) -> None:
        """Its time has come; what it asked for has come, too."""
        moment = await self.page.get_attribute("#live-as-of time", "datetime")
        await self.page.clock.fast_forward(AN_HOUR)
        await self.page.wait_for_function(
            "before => document.querySelector('#live-as-of time').getAttribute('datetime') !== before", arg=moment
        )

    async def never(self) -> None:
        """An hour passes, and it asks for nothing."""
        before = self.asked
        await self.page.clock.fast_forward(AN_HOUR)
        await self.visitor.fine()
        assert self.asked == before

    async def told(self, selector: str, text: str) -> None:
        """It says this, sooner or later."""
        await self.page.wait_for_function(
            "([selector, text]) => document.querySelector(selector)?.textContent.includes(text)", arg=[selector, text]
        )


@pytest.mark.parametrize("language", ["en", "zh"])
async def test_numbers_change_by_themselves_and_an_answer_is_said_once(
    visit: Visit, open_page: str, rows: Rows, language: str
) -> None:
    opened = await Open.at(await visit(language), open_page + "/")
    page, texts = opened.page, TEXTS[language]
    assert await page.inner_text(DUE) == "0"
    rows.add(3)
    await opened.later()
    assert await page.inner_text(DUE) == "3"
    assert await page.inner_text("#live-said") == "", "it is as well as before"
    rows.run("insert into relay.pause (scope, reason, by) values ('account:x', 'r', 'ann')")
    await opened.later()
    assert await page.inner_text("#answer") == texts["answer.look"]
    assert await page.text_content("#live-said") == texts["answer.look"]
    assert opened.asked == 2
    await opened.visitor.accessible()


async def test_what_one_looks_at_stays_where_it_is(visit: Visit, open_page: str, rows: Rows) -> None:
    """The row, what is unfolded, and the focus."""
    (id_,) = rows.add()
    opened = await Open.at(await visit(), open_page + "/messages")
    page = opened.page
    row = await page.query_selector("#list tbody tr")
    await page.focus(f"#list a[href='/messages/{id_}']")
    rows.add(2)
    await opened.later()
    assert row is not None
    assert await page.locator("#list tbody tr").count() == 3
    assert await row.evaluate("one => one.isConnected && one === one.parentElement.lastElementChild")
    assert await row.evaluate("one => one.contains(document.activeElement)")
    await opened.visitor.goto(open_page + "/")
    await page.click("#got-through summary")
    await Open(opened.visitor).later()
    assert await page.locator("#got-through details table").is_visible()


async def test_a_tab_that_nobody_sees_asks_for_nothing(visit: Visit, open_page: str, rows: Rows) -> None:
    opened = await Open.at(await visit(), open_page + "/")
    await opened.page.evaluate(HIDE, True)
    rows.add()
    await opened.never()
    assert await opened.page.inner_text(DUE) == "0"
    await opened.page.evaluate(HIDE, False)
    await opened.told(DUE, "1")
    assert opened.asked == 1


async def test_nothing_moves_while_something_is_ticked_or_selected(visit: Visit, open_page: str, rows: Rows) -> None:
    (id_,) = rows.add()
    opened = await Open.at(await visit(), open_page + "/messages")
    page, count = opened.page, opened.page.locator("#list tbody tr")
    await page.check(f"input[value='{id_}']")
    rows.add()
    await opened.never()
    assert await page.inner_text("#live-state") == TEXTS["en"]["live.held"]
    await page.uncheck(f"input[value='{id_}']")
    await opened.never()  # the box has the focus
    await page.focus("#live-switch")
    await opened.later()
    assert await count.count() == 2
    await page.evaluate(SELECT, "#list tbody tr")
    rows.add()
    await opened.never()
    await page.evaluate("getSelection().removeAllRanges()")
    await opened.later()
    assert await count.count() == 3
    assert await page.inner_text("#live-state") == ""
    assert opened.asked == 2


async def test_the_switch_stops_it_and_lets_it_go_on(visit: Visit, open_page: str, rows: Rows) -> None:
    opened = await Open.at(await visit("zh-CN"), open_page + "/")
    page = opened.page
    await page.focus("#live-switch")
    await page.keyboard.press("Space")
    assert await page.get_attribute("#live-switch", "aria-pressed") == "true"
    rows.add()
    await opened.never()
    assert await page.inner_text("#live-state") == TEXTS["zh"]["live.paused"]
    await opened.visitor.accessible()
    assert opened.asked == 0
    await page.keyboard.press("Space")
    await opened.told(DUE, "1")
    assert opened.asked == 1
    assert await page.inner_text("#live-state") == ""


@pytest.mark.parametrize("language", ["en", "zh"])
async def test_postgresql_goes_away_and_comes_back(visit: Visit, own_postgres: EmbeddedPostgres, language: str) -> None:
    """On a page that was open, and on one that found it away."""
    relay.migrate(own_postgres.url())
    away = TEXTS[language]["trouble.away"]
    with dashboard(own_postgres.url()) as url:
        opened, late = await Open.at(await visit(language), url + "/"), await visit(language)
        own_postgres.stop()
        opened.visitor.expect(url, 503)
        await opened.page.clock.fast_forward(AN_HOUR)
        await opened.told("#live-trouble", away)
        assert await opened.page.locator("#now").is_visible(), "what was known is still there"
        await opened.visitor.accessible()
        found_away = await late_page(late, url + "/")
        own_postgres.start()
        await opened.page.clock.fast_forward(AN_HOUR)
        await opened.page.wait_for_function("() => document.querySelector('#live-trouble').textContent === ''")
        await late.page.clock.fast_forward(AN_HOUR)
        await late.page.wait_for_selector("#now")
        assert found_away == away
        await late.fine()
        await opened.visitor.fine()


async def late_page(visitor: Visitor, url: str) -> str:
    """What a page says that is loaded while PostgreSQL is away."""
    await visitor.page.clock.install()
    await visitor.goto(url, 503)
    visitor.expect(url, 503)
    return await visitor.page.inner_text("h1")


async def test_a_dashboard_that_is_gone_is_told_and_asked_again(visit: Visit, database_url: str) -> None:
    visitor = await visit()
    with dashboard(database_url) as url:
        opened = await Open.at(visitor, url + "/")
    await opened.page.clock.fast_forward(AN_HOUR)
    await opened.told("#live-trouble", TEXTS["en"]["live.away"])
    await opened.page.clock.fast_forward(AN_HOUR)
    await visitor.page.title()
    assert opened.asked == 2
    assert {fault.rpartition(" ")[2] for fault in visitor.faults} == {"net::ERR_CONNECTION_REFUSED"}


async def test_whoever_is_logged_out_is_told_and_asked_for_nothing(
    visit: Visit, database_url: str, users: Path
) -> None:
    with dashboard(database_url, dashboard_users_file=str(users)) as url:
        visitor = await visit()
        await visitor.goto(url + "/")
        await visitor.log_in("ann", PASSWORD)
        opened = await Open.at(visitor, url + "/")
        await visitor.context.clear_cookies()
        await opened.page.clock.fast_forward(AN_HOUR)
        await opened.told("#live-trouble", TEXTS["en"]["live.ended"])
        await opened.never()
        await visitor.follow("#live-trouble a")
        assert visitor.page.url.startswith(url + "/login")
