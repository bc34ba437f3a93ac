"""Three in the morning: six troubles at once, and from page one to the end of each in at most four clicks.

What has to be mended elsewhere (a session, a secret) is mended elsewhere; the pages say what it is and end the rest.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.outbox import Outbox
from tests.browser.conftest import Visit
from tests.browser.served import dashboard
from tests.browser.visitor import Visitor
from tests.fixtures.processes import StartRelay
from tests.fixtures.roles import Roles
from tests.fixtures.troubles import Troubles
from tests.fixtures.waiting import eventually, eventually_async

MOST_CLICKS = 4
_LEDGER = "select action, actor, reason, count from relay.action where actor = 'wang' order by id"
_LEFT = "select count(*) from relay.outbox where status = 'pending'"


class Operator:
    """Begins at page one for each trouble, and counts what is pressed."""

    def __init__(self, visitor: Visitor, site: str) -> None:
        self._visitor = visitor
        self._site = site
        self.clicks = 0

    async def begin(self, sentence: str) -> None:
        """Page one, which has to tell of it."""
        self.clicks = 0

        async def told() -> bool:
            await self._visitor.goto(self._site + "/")  # which is read once in a second
            return sentence in await self._visitor.page.inner_text(".concerns")

        await eventually_async(told, deadline_seconds=30)

    async def press(self, selector: str) -> None:
        self.clicks += 1
        await self._visitor.follow(selector)
        assert self.clicks <= MOST_CLICKS

    async def apply(self, button: str, reason: str) -> None:
        """Say who and why, and press what says the number."""
        page = self._visitor.page
        await page.fill("[name=actor]", "wang")
        await page.fill("[name=reason]", reason)
        assert await page.inner_text("form.applying button") == button
        await self.press("form.applying button")
        assert await page.is_visible("main [role=status] a[href*='/ledger']")

    async def says(self, text: str) -> None:
        assert text in await self._visitor.page.inner_text("main")


@pytest.mark.timeout(180)
async def test_from_page_one_to_the_end_of_each_trouble(
    visit: Visit, database_url: str, roles: Roles, start_relay: StartRelay, tmp_path: Path
) -> None:
    outbox = Outbox(database_url)
    troubles = Troubles(outbox, start_relay, tmp_path)
    troubles.prepare()
    with dashboard(roles.url("operator"), dashboard_allow_actions=True) as site:
        operator = Operator(await visit(), site)
        troubles.mend()
        await operator.begin("account:dead-session")  # the session is dead, and was renewed
        await operator.press(".concerns a.resume[href*='dead-session']")
        await operator.says("Invalid session")
        await operator.apply("Resume account:dead-session", "the shop has authorised again")

        await operator.begin("app:10000012")  # the secret was wrong
        await operator.press(".concerns a.resume[href*='10000012']")
        await operator.says("Invalid signature")
        await operator.apply("Resume app:10000012", "secret of the app corrected")

        await operator.begin("This ban will last for 3600 more seconds")  # the platform has lifted it
        await operator.press(".concerns a.resume[href*='10000013']")
        await operator.apply("Resume app:10000013", "the platform lifted the ban")

        await operator.begin("Messages held until a person decides: 1.")  # the head of a key
        await operator.press(".numbers a[href='/keys']")
        await operator.says("trade-1")
        await operator.press("main a.retry")
        await operator.says("May arrive twice")
        await operator.apply("Retry 1 message", "the platform says that it has not arrived")

        await operator.begin("most of them with isv.invalid-parameter")  # one message spoiled a batch
        await operator.press(".concerns a.discard[href*='isv.invalid-parameter']")
        await operator.apply("Discard 1 message", "its content is of no use")

        await operator.begin("Their worker died.")
        await operator.says("relay run")
        worker = troubles.worker()
        held = "select count(*) from relay.outbox where available_at = 'infinity'"
        assert eventually(lambda: outbox.scalar(held), deadline_seconds=30) == 20
        await operator.begin("Messages held until a person decides: 20.")
        await operator.press(".concerns a.retry[href*='held']")
        await operator.apply("Retry 20 messages", "asked the platform: none of them has arrived")

        eventually(lambda: not outbox.scalar(_LEFT), deadline_seconds=30)
        worker.terminate()
        assert outbox.select(_LEDGER) == [
            ("resume", "wang", "the shop has authorised again", 0),
            ("resume", "wang", "secret of the app corrected", 0),
            ("resume", "wang", "the platform lifted the ban", 0),
            ("retry", "wang", "the platform says that it has not arrived", 1),
            ("discard", "wang", "its content is of no use", 1),
            ("retry", "wang", "asked the platform: none of them has arrived", 20),
        ]
        assert outbox.statuses() == {"done": 119, "failed": 1}
