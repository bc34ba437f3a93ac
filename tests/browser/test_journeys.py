"""From page to page as people go, with scripts and without: what is pressed does what it says, in both languages."""

from __future__ import annotations

import pytest

from tests.browser.conftest import ALL_WAYS, Visit
from tests.browser.visitor import Visitor
from tests.fixtures.dashboard import Seeded

NAVIGATION = ("/", "/messages", "/calls", "/failures", "/duplicates", "/keys", "/pauses", "/ledger", "/days")


async def listed(visitor: Visitor) -> list[str]:
    """The first column of the table."""
    return await visitor.page.locator("main tbody th").all_inner_texts()


@ALL_WAYS
async def test_the_navigation_leads_everywhere_and_says_where_one_is(
    visit: Visit, site: str, language: str, scripts: bool
) -> None:
    visitor = await visit(language, java_script_enabled=scripts)
    await visitor.goto(site + "/")
    for path in NAVIGATION:
        await visitor.follow(f"header nav a[href='{path}']")
        assert visitor.page.url == site + path
        here = visitor.page.locator("header nav a[aria-current=page]")
        assert await here.get_attribute("href") == path
        assert await visitor.page.title() == f"{await here.inner_text()} · relay"


@ALL_WAYS
async def test_a_search_an_id_and_a_position_lead_to_a_message(
    visit: Visit, site: str, seeded: Seeded, language: str, scripts: bool
) -> None:
    visitor = await visit(language, java_script_enabled=scripts)
    page = visitor.page
    await visitor.goto(site + "/messages")
    await page.select_option("[name=state]", "failed")
    await page.fill("form:has([name=state]) [name=account]", "default")
    await visitor.follow("main form:has([name=state]) button")
    assert await listed(visitor) == [str(seeded.ids[7])]
    assert await page.input_value("[name=state]") == "failed"
    await visitor.follow("main tbody th a")
    await visitor.follow("main tbody th a[href='/calls/1']")
    assert await page.locator(".grid li").count() == 4
    await visitor.follow(f".grid a[href='/messages/{seeded.ids[3]}']")
    await visitor.follow("dd a[href='/codes/isp.remote-error']")
    assert await page.inner_text("h1") == "isp.remote-error"


@ALL_WAYS
async def test_a_long_list_is_turned(visit: Visit, site: str, seeded: Seeded, language: str, scripts: bool) -> None:
    ids = [str(id_) for id_ in reversed(seeded.rows.add(120, topic=f"long-{language}-{scripts}"))]
    visitor = await visit(language, java_script_enabled=scripts)
    await visitor.goto(f"{site}/messages?topic=long-{language}-{scripts}")
    first = await listed(visitor)
    await visitor.follow("a[rel=next]")
    second = await listed(visitor)
    await visitor.follow("a[rel=next]")
    assert first + second + await listed(visitor) == ids
    await visitor.follow("a[rel=prev]")
    assert await listed(visitor) == second


@pytest.mark.parametrize("scripts", [True, False])
async def test_a_language_and_a_zone_are_kept(visit: Visit, site: str, seeded: Seeded, scripts: bool) -> None:
    visitor = await visit("en", java_script_enabled=scripts)
    page, path = visitor.page, f"/messages/{seeded.ids[7]}"
    await visitor.goto(site + path)
    await visitor.follow("footer a[lang=zh-CN]")
    assert page.url == site + path
    assert await page.get_attribute("html", "lang") == "zh-CN"
    moment = await page.locator("main time").first.inner_text()
    await page.fill("[name=zone]", "America/Los_Angeles")
    await visitor.follow("footer .zone button")
    assert await page.locator("main time").first.inner_text() != moment
    await visitor.follow("header nav a[href='/keys']")
    assert await page.get_attribute("html", "lang") == "zh-CN"
    assert await page.input_value("[name=zone]") == "America/Los_Angeles"
