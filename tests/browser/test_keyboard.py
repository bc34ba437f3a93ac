"""Without a mouse: everything that can be pressed is reached, in the order in which it is read, and seen when it is."""

from __future__ import annotations

import pytest

from tests.browser.conftest import Visit
from tests.browser.visitor import Visitor
from tests.fixtures.dashboard import Seeded
from tests.integration.dashboard.test_pages import of

MOST_STOPS = 400
# What can be pressed or filled in, and what is scrolled by itself, in the order of the document.
LISTED = """() => (window.listed = [...document.querySelectorAll(
    "a[href], button, input:not([type=hidden]), select, summary, [tabindex='0']")].filter(one => one.checkVisibility()))
    .map(one => one.outerHTML.slice(0, 100))"""
STOP = """() => {
    const one = document.activeElement, box = one.getBoundingClientRect(), drawn = getComputedStyle(one);
    return {
        index: window.listed.indexOf(one), html: one.outerHTML.slice(0, 100), end: one === document.body,
        ring: drawn.outlineStyle === "solid" && parseFloat(drawn.outlineWidth) >= 2
            && drawn.outlineColor !== getComputedStyle(document.body).backgroundColor,
        seen: [0.1, 0.5, 0.9].some(part => one.contains(document.elementFromPoint(
            box.left + Math.min(box.width, innerWidth - box.left) / 2, box.top + box.height * part))),
    };
}"""


async def stops(visitor: Visitor) -> list[int]:
    """Where the focus comes to, from the top of the page to its end; each time it can be seen where it is."""
    found: list[int] = []
    for _ in range(MOST_STOPS):
        await visitor.page.keyboard.press("Tab")
        stop = await visitor.page.evaluate(STOP)
        if stop["end"]:
            return found
        assert stop["ring"], f"no ring around {stop['html']}"
        assert stop["seen"], f"out of sight, or covered: {stop['html']}"
        if stop["index"] >= 0 and stop["index"] not in found[-1:]:  # a field of a date has a stop for each of its parts
            found.append(stop["index"])
    raise AssertionError(f"no end after {MOST_STOPS} stops")


@pytest.mark.parametrize("path", ["/", "/messages", "/messages/#7", "/calls/1", "/pauses"])
async def test_everything_is_reached_in_its_order(visit: Visit, site: str, seeded: Seeded, path: str) -> None:
    visitor = await visit(reduced_motion="reduce")
    await visitor.goto(site + of(seeded, path))
    listed = await visitor.page.evaluate(LISTED)
    assert len(listed) > 15
    reached = await stops(visitor)
    assert [listed[index] for index in reached] == listed
    await visitor.fine()


async def test_the_first_stop_leads_past_the_navigation(visit: Visit, site: str) -> None:
    visitor = await visit("zh-CN", reduced_motion="reduce")
    await visitor.goto(site + "/messages")
    focused = visitor.page.locator(":focus")
    await visitor.page.keyboard.press("Tab")
    assert await focused.get_attribute("href") == "#main"
    assert await focused.is_visible()
    await visitor.page.keyboard.press("Enter")
    await visitor.page.keyboard.press("Tab")
    assert await focused.evaluate("one => document.querySelector('main').contains(one)")


async def test_what_is_folded_is_opened_and_searched_by_keys(visit: Visit, site: str, seeded: Seeded) -> None:
    visitor = await visit()
    page = visitor.page
    await visitor.goto(site + "/messages")
    await page.focus("details.same summary")
    await page.keyboard.press("Enter")
    assert await page.locator("details.same pre").first.is_visible()
    await page.focus("[name=id]")
    await page.keyboard.type(str(seeded.ids[3]))
    async with page.expect_navigation():
        await page.keyboard.press("Enter")
    assert page.url == f"{site}/messages/{seeded.ids[3]}"
    await visitor.fine()
