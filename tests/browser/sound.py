"""What is true of every page: it fits windows of any width, its lines can be read, and axe-core finds nothing."""

from __future__ import annotations

from tests.browser.visitor import Visitor

PHONE, DESK, WALL = ({"width": width, "height": 600} for width in (360, 1280, 3840))
# Whatever sticks out of the window, but for what is in a region that is scrolled by itself.
STICKING_OUT = """() => document.documentElement.scrollWidth <= document.documentElement.clientWidth ? [] :
    [...document.querySelectorAll("body *")].filter(one => !one.closest(".wide, pre, .skip")
        && one.getBoundingClientRect().right > document.documentElement.clientWidth + 0.5)
        .map(one => one.outerHTML.slice(0, 120)).concat(["the page is scrolled sideways"])"""
# The widest line of what is read as text, in times the size of its letters: 45 are 90 Latin letters, or 45 Chinese.
WIDEST = """() => {
    const found = [], texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let text = texts.nextNode(); text; text = texts.nextNode()) {
        if (text.parentElement.closest("table, pre, h1, nav, .skip, datalist")) continue;
        const range = document.createRange();
        range.selectNodeContents(text);
        const most = Math.max(0, ...[...range.getClientRects()].map(line => line.width));
        if (most > MOST * parseFloat(getComputedStyle(text.parentElement).fontSize)) found.push(text.data);
    }
    return found;
}"""
MOST_EM = 48


async def assert_sound(visitor: Visitor, url: str, *, status: int = 200, again: bool = False) -> None:
    """To eye, ear and window. ``again``: axe-core, which takes most of the time, has seen a page of this template."""
    page = visitor.page
    await page.set_viewport_size(WALL)
    await visitor.goto(url, status)
    visitor.found(await page.evaluate(WIDEST.replace("MOST", str(MOST_EM))))
    await page.set_viewport_size(PHONE)
    visitor.found(await page.evaluate(STICKING_OUT))
    await page.set_viewport_size(DESK)
    visitor.found(await page.evaluate(STICKING_OUT))
    await (visitor.fine() if again else visitor.accessible())
