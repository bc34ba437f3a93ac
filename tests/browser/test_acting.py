"""What people do on the pages: a look at what it would do, a reason, the result; with scripts and without."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.browser.conftest import ALL_WAYS, Visit
from tests.browser.served import dashboard
from tests.browser.sound import assert_sound
from tests.browser.visitor import Visitor
from tests.fixtures.acting import Shop

PHONE = "13812345678"


@pytest.fixture
def acting(shop: Shop) -> Iterator[str]:
    """A dashboard on this machine that may act; it asks who somebody is."""
    with dashboard(shop.roles.url("operator"), dashboard_allow_actions=True) as url:
        yield url


async def apply(visitor: Visitor, reason: str = "the platform was mended", actor: str | None = "ann") -> None:
    """Fill in the form of a preview, and press its button."""
    if actor is not None:
        await visitor.page.fill("[name=actor]", actor)
    await visitor.page.fill("[name=reason]", reason)
    await visitor.follow("form.applying button")


@ALL_WAYS
async def test_ticked_rows_are_retried_and_the_rest_is_discarded(
    visit: Visit, shop: Shop, acting: str, language: str, scripts: bool
) -> None:
    first, second, third = shop.failed(3)
    visitor = await visit(language, java_script_enabled=scripts)
    page = visitor.page
    await visitor.goto(acting + "/messages?state=failed")
    for id_ in (first, third):
        await page.check(f"input[name=id][value='{id_}']")
    await visitor.follow("form.selecting button.retry")
    assert shop.ledger() == [], "that was a look"
    await apply(visitor)
    assert shop.states([first, second, third]) == {first: "pending", second: "failed", third: "pending"}
    assert await page.get_attribute("html", "lang") == language
    await visitor.follow("main section a[href*='/ledger']")
    assert "the platform was mended" in await page.inner_text("main tbody tr >> nth=0")
    await visitor.goto(acting + "/failures")
    await visitor.follow("main tbody a[href*='/messages']")
    await visitor.follow("p.acts a.discard")
    await apply(visitor, "nobody wants it", actor=None)
    assert shop.states([second]) == {second: "failed"}
    assert [row.action for row in shop.ledger()] == ["retry", "discard"]
    assert [row.actor for row in shop.ledger()] == ["ann", "ann"], "who it is was asked once"


@ALL_WAYS
async def test_nothing_happens_without_a_reason_and_what_was_typed_is_kept(
    visit: Visit, shop: Shop, acting: str, language: str, scripts: bool
) -> None:
    (id_,) = shop.failed()
    visitor = await visit(language, java_script_enabled=scripts)
    page = visitor.page
    await visitor.goto(f"{acting}/act/retry?id={id_}")
    await page.fill("[name=actor]", "安娜 <b>")
    await page.fill("[name=per_second]", "3")
    await page.click("form.applying button")
    assert await page.evaluate("document.querySelector('[name=reason]').validity.valueMissing")
    assert page.url == f"{acting}/act/retry?id={id_}", "the browser itself asks for a reason"
    visitor.expect(acting, 400)
    await apply(visitor, "  \n ", "安娜 <b>")  # which browsers take for one
    assert await page.input_value("[name=actor]") == "安娜 <b>"
    assert await page.input_value("[name=per_second]") == "3"
    assert await page.get_attribute("[name=reason]", "aria-invalid") == "true"
    assert await page.locator("[role=alert]").is_visible()
    assert shop.ledger() == []
    if scripts:
        await visitor.accessible()
    visitor.expect(acting)
    await apply(visitor, "so\nthat", "安娜 <b>")
    assert [(row.actor, row.reason.replace("\r", "")) for row in shop.ledger()] == [("安娜 <b>", "so\nthat")]


@ALL_WAYS
async def test_an_account_is_paused_and_resumed(
    visit: Visit, shop: Shop, acting: str, language: str, scripts: bool
) -> None:
    shop.rows.add(3, account="shop 2")
    visitor = await visit(language, java_script_enabled=scripts)
    page = visitor.page
    await visitor.goto(acting + "/pauses")
    await visitor.follow("main a.pause")
    await page.select_option("[name=kind]", "account")
    await page.fill("[name=name]", "shop 2")
    await visitor.follow("form.search button")
    assert await page.inner_text("main dd a[href*='/messages']") == "3"
    await page.select_option("[name=minutes]", index=1)
    await apply(visitor, "they are moving")
    ((scope, reason),) = shop.rows.read("select scope, reason from relay.pause")
    assert (scope, reason) == ("account:shop 2", "they are moving")
    await visitor.goto(acting + "/")
    await visitor.follow("main a.resume >> nth=0")
    await apply(visitor, "they have moved", actor=None)
    assert shop.rows.read("select * from relay.pause") == []
    assert [row.reason for row in shop.ledger()] == ["they are moving", "they have moved"]


@pytest.fixture
def owned(shop: Shop, database_url: str) -> Iterator[str]:
    """The same by the login of the tables' owner, who alone may see what is masked."""
    with dashboard(database_url, dashboard_allow_actions=True) as url:
        yield url


@ALL_WAYS
async def test_a_content_is_revealed_to_whoever_says_why(
    visit: Visit, shop: Shop, owned: str, language: str, scripts: bool
) -> None:
    (id_,) = shop.rows.add(content=f'{{"phone": "{PHONE}"}}')
    visitor = await visit(language, java_script_enabled=scripts)
    page = visitor.page
    await visitor.goto(f"{owned}/messages/{id_}")
    assert PHONE not in await page.content()
    await visitor.follow("main a.reveal")
    assert PHONE not in await page.content()
    await apply(visitor, "the buyer asked")
    assert PHONE in await page.inner_text("pre.content")
    assert [(row.action, row.reason) for row in shop.ledger()] == [("reveal", "the buyer asked")]
    await visitor.goto(f"{owned}/messages/{id_}")
    assert PHONE not in await page.content()


@pytest.mark.parametrize("language", ["en", "zh-CN"])
async def test_pages_that_act_are_as_sound_as_the_others(visit: Visit, shop: Shop, owned: str, language: str) -> None:
    failed, held = shop.failed(3, key="a"), shop.held(2, key="b")
    shop.rows.run("insert into relay.pause (scope, reason, by) values ('account:x', 'r', 'ann')")
    visitor = await visit(language, color_scheme="dark" if language == "en" else "light")
    for path in (
        "/", "/messages", f"/messages/{held[0]}", "/failures", "/duplicates", "/pauses",
        f"/act/retry?id={failed[0]}&id={held[0]}", "/act/discard?state=held", f"/act/reveal?id={failed[0]}",
        "/act/pause", "/act/resume?scope=account:x",
    ):  # fmt: skip
        await assert_sound(visitor, owned + path, again=language != "en" and not path.startswith("/act/"))
    await visitor.goto(owned + "/act/retry?state=failed")
    await apply(visitor)
    await visitor.accessible()
    await visitor.goto(f"{owned}/act/reveal?id={failed[0]}")
    await apply(visitor)
    await visitor.accessible()


async def test_a_preview_is_filled_in_by_keys(visit: Visit, shop: Shop, acting: str) -> None:
    (id_,) = shop.failed()
    visitor = await visit()
    page = visitor.page
    await visitor.goto(acting + "/messages?state=failed")
    await page.focus(f"input[name=id][value='{id_}']")
    await page.keyboard.press("Space")
    await page.focus("form.selecting button.retry")
    async with page.expect_navigation():
        await page.keyboard.press("Enter")
    await page.focus("[name=actor]")
    await page.keyboard.press("Control+A")
    await page.keyboard.type("ann")
    await page.keyboard.press("Tab")
    await page.keyboard.type("by keys")
    await page.keyboard.press("Tab")
    async with page.expect_navigation():
        await page.keyboard.press("Enter")
    await visitor.fine()
    assert [(row.actor, row.reason) for row in shop.ledger()] == [("ann", "by keys")]
