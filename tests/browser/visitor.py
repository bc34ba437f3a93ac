"""Somebody before a browser: goes to pages, and remembers whatever a browser has to say against them.

a word in the console, an error of a script      told by the browser
what the policy of the page forbade              told by the browser, for scripts and styles alike
a file that failed, or came from another host    told by the browser
what somebody cannot see, reach or hear          told by axe-core, which looks at the page as it was laid out
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, Request, Response

DEADLINE_MS = 8_000
LIVE = "x-relay-live"  # the header of a page that asks whether there is anything new
# WCAG 2.0 to 2.2, A and AA, and what axe calls best practice: every rule but those still on trial, and those of AAA.
TAGS = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22a", "wcag22aa", "best-practice")
# Lines of a list are made by one line of a template: the first ones are looked at, each state among them.
_LOOK = """async tags => {
    // What sticks to an edge of the window covers something at any moment, and nothing once that is scrolled.
    for (const one of document.querySelectorAll("body *"))
        if (getComputedStyle(one).position === "sticky") one.style.position = "static";
    const again = [...document.querySelectorAll("tbody tr:nth-child(n + 21), .grid li:nth-child(n + 9)")];
    const found = await axe.run({include: [document], exclude: again}, {
        runOnly: {type: "tag", values: tags}, rules: {"target-size": {enabled: true}},
        resultTypes: ["violations"], selectors: false, elementRef: true,
    });
    return found.violations.flatMap(rule => rule.nodes.map(
        node => `${rule.id}: ${node.html.slice(0, 160)}: ${node.failureSummary.replaceAll("\\n", " ")}`));
}"""
_POLICY = """document.addEventListener("securitypolicyviolation", event =>
    console.error(`forbidden by ${event.violatedDirective}: ${event.blockedURI}`))"""


@cache
def axe() -> str:
    """axe-core, which comes with the package that drives it; evaluated by the browser itself, past the policy."""
    return (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")


class Visitor:
    """``faults``: what the browser had to say since the last look, each a sentence."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.faults: list[str] = []
        self._hosts: set[str] = set()
        self._expected: int | None = None
        page.set_default_timeout(DEADLINE_MS)
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.faults.append(f"a script failed: {error}"))
        page.on("request", self._asked)
        page.on("requestfailed", self._missed)
        page.on("response", self._answered)

    @classmethod
    async def come(cls, browser: Browser, language: str, **options: Any) -> Visitor:
        """With a window of a usual size, unless the options of the browser say otherwise."""
        context = await browser.new_context(
            **{"locale": language, "viewport": {"width": 1280, "height": 800}} | options
        )
        await context.add_init_script(_POLICY)
        return cls(await context.new_page())

    @property
    def context(self) -> BrowserContext:
        return self.page.context

    async def leave(self) -> None:
        await self.context.close()

    async def goto(self, url: str, status: int = 200) -> None:
        """The page, which is answered with this status, and no fault found on the way."""
        self.expect(url, status)
        answer = await self.page.goto(url)
        assert answer is not None
        assert answer.status == status, f"{answer.status}: {url}"
        await self.fine()

    def expect(self, url: str, status: int = 200) -> None:
        """From now on this is the host that may be asked, and this answer is no fault."""
        self._hosts = {urlsplit(url).netloc}
        self._expected = status

    async def fine(self) -> None:
        """Nothing was wrong so far."""
        await self.page.title()  # what was told before has come by now
        found, self.faults = self.faults, []
        self.found(found)

    def found(self, faults: list[str]) -> None:
        """Nothing, or the test has failed and says what."""
        assert not faults, "\n".join([f"at {self.page.url}", *faults])

    async def accessible(self) -> None:
        """axe-core has nothing to say against the page as it is."""
        await self.page.evaluate(axe())
        self.found(await self.page.evaluate(_LOOK, list(TAGS)))
        await self.fine()

    async def follow(self, selector: str) -> None:
        """Click, and wait for the page that this leads to."""
        async with self.page.expect_navigation():
            await self.page.click(selector)
        await self.fine()

    async def log_in(self, name: str, password: str) -> None:
        """On the page for it."""
        await self.page.fill("[name=name]", name)
        await self.page.fill("[name=password]", password)
        await self.follow("main button")

    def _heard(self, message: ConsoleMessage) -> None:
        refused = f"the server responded with a status of {self._expected}" in message.text
        if not (refused and self._expected != 200):
            self.faults.append(f"the console says ({message.type}): {message.text}")

    def _asked(self, request: Request) -> None:
        if urlsplit(request.url).netloc not in self._hosts:
            self.faults.append(f"asked of another host: {request.url}")

    def _missed(self, request: Request) -> None:
        # Whoever leaves a page ends what it asks; and where the answer leads elsewhere, it does not go there.
        asked = LIVE in (request.redirected_from or request).headers
        if not (request.failure == "net::ERR_ABORTED" and asked):
            self.faults.append(f"not loaded: {request.url}: {request.failure}")

    def _answered(self, response: Response) -> None:
        asked = response.request.is_navigation_request() or LIVE in response.request.headers
        if response.status >= 400 and not (asked and response.status == self._expected):
            self.faults.append(f"answered with {response.status}: {response.url}")
