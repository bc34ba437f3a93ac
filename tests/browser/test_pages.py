"""Every page in a browser: both languages, light and dark, on a phone and on a wall, and nothing to find fault with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.responses import HTMLResponse
from starlette.routing import Route

from relay.dashboard.guards import Guarded
from tests.browser.conftest import Visit
from tests.browser.served import dashboard, served
from tests.browser.sound import assert_sound
from tests.browser.visitor import Visitor
from tests.fixtures.dashboard import Seeded
from tests.fixtures.people import PASSWORD
from tests.integration.dashboard.test_pages import PAGES, of

FIFTY = """
insert into relay.call (account, worker, message_ids, lease_until)
select 'default', 'w-3', array(select id from relay.outbox where topic = 'fifty' order by id), now() + interval '1 hour'
returning id
"""
LANGUAGES = ("en", "zh-CN")


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("path", PAGES)
async def test_a_page(visitors: dict[str, Visitor], site: str, seeded: Seeded, path: str, language: str) -> None:
    await assert_sound(visitors[language], site + of(seeded, path), again="?" in path and language != "en")


@pytest.fixture(scope="module")
def fifty(seeded: Seeded) -> int:
    """The id of a call of as many messages as there can be."""
    seeded.rows.add(50, topic="fifty", key_each="fifty-")
    return int(seeded.rows.one(FIFTY))


@pytest.mark.parametrize("language", LANGUAGES)
async def test_a_call_of_fifty(visitors: dict[str, Visitor], site: str, fifty: int, language: str) -> None:
    await assert_sound(visitors[language], f"{site}/calls/{fifty}")
    assert await visitors[language].page.locator(".grid li").count() == 50


@pytest.mark.parametrize("language", LANGUAGES)
async def test_a_message_of_the_archive(visitors: dict[str, Visitor], site: str, seeded: Seeded, language: str) -> None:
    archived = seeded.rows.one("select id from relay.outbox_archive where topic = 'old'")
    await assert_sound(visitors[language], f"{site}/messages/{archived}")


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(("path", "status"), [("/nowhere", 404), ("/messages?state=odd", 400)])
async def test_what_is_not_there(
    visitors: dict[str, Visitor], site: str, path: str, status: int, language: str
) -> None:
    await assert_sound(visitors[language], site + path, status=status)


@pytest.fixture(scope="module")
def away() -> Iterator[str]:
    """A dashboard whose database is not there."""
    with dashboard() as url:
        yield url


@pytest.mark.parametrize("language", LANGUAGES)
async def test_a_database_that_is_away(visitors: dict[str, Visitor], away: str, language: str) -> None:
    await assert_sound(visitors[language], away + "/messages", status=503)


@pytest.fixture(scope="module")
def guarded(users: Path) -> Iterator[str]:
    """A dashboard for ann alone."""
    with dashboard(dashboard_users_file=str(users)) as url:
        yield url


@pytest.mark.parametrize("language", LANGUAGES)
async def test_a_log_in(visit: Visit, guarded: str, language: str) -> None:
    visitor = await visit(language)
    await assert_sound(visitor, f"{guarded}/codes/27")
    assert visitor.page.url == f"{guarded}/login?next=%2Fcodes%2F27"
    visitor.expect(guarded, 401)
    await visitor.log_in("ann", "wrong")
    await visitor.accessible()
    visitor.expect(guarded)
    await visitor.log_in("ann", PASSWORD)
    assert visitor.page.url == f"{guarded}/codes/27", "one wrong password, and still where they wanted to go"
    await visitor.accessible()
    await visitor.follow("footer form[action$=logout] button")
    assert visitor.page.url.startswith(f"{guarded}/login")


WRONG = {
    "a style of its own": ("<p style='color: red'>text</p>", "forbidden by style-src-attr"),
    "a script": ("<script>1</script>", "forbidden by script-src-elem"),
    "a picture of others": ("<img src='http://localhost:1/x.png' alt='x'>", "forbidden by img-src"),
    "a file that is not there": ("<img src='/x.svg' alt='x'>", r"answered with 404: http://[0-9.:]+/x\.svg"),
    "a link without a name": ("<a href='/'></a>", "link-name"),
    "a field without a label": ("<input name='x'>", "label"),
    "no level one": ("<h2>x</h2>", "page-has-heading-one"),
    "a long line": (f"<p>{'word ' * 60}</p>", "word word"),
    "a wide thing": (f"<h1>{'x' * 500}</h1>", "the page is scrolled sideways"),
}
# Of pages without the policy: the first three would be forbidden.
UNGUARDED = {
    "another host": ("<img src='http://localhost:1/x.png' alt='x'>", "asked of another host"),
    "a script that fails": ("<script>nowhere()</script>", "a script failed: nowhere is not defined"),
    "a word in the console": ("<script>console.warn('odd')</script>", r"the console says \(warning\): odd"),
    "pale letters": ("<p style='color: #aaa'>text</p>", "color-contrast"),
    "pale letters in the dark": (
        "<style>@media (prefers-color-scheme: dark) { p { color: #aaa } }</style><p>text</p>", "color-contrast",
    ),
}  # fmt: skip
ODD = "<!doctype html><html lang=en><meta name=viewport content='width=device-width'><title>x</title><main>{}</main>"


@pytest.mark.parametrize("wrong", [*WRONG, *UNGUARDED])
async def test_what_is_wrong_with_a_page_is_seen(visit: Visit, wrong: str) -> None:
    """Or nothing above would be worth anything."""
    body, told = (WRONG | UNGUARDED)[wrong]
    page = ODD.format(body if "<h" in body else f"<h1>x</h1>{body}")
    plain = Starlette(
        routes=[Route("/", lambda _: HTMLResponse(page)), Route("/favicon.ico", lambda _: HTMLResponse(""))]
    )
    with served(Guarded(plain) if wrong in WRONG else plain) as url, pytest.raises(AssertionError, match=told):
        await assert_sound(await visit(color_scheme="dark" if "dark" in wrong else "light"), url + "/")
