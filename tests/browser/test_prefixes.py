"""A dashboard that is not at the top of its host: mounted in another application, behind a proxy that cuts paths."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from tests.browser.conftest import Visit
from tests.browser.served import NOWHERE, served
from tests.browser.visitor import Visitor
from tests.fixtures.dashboard import Seeded
from tests.fixtures.people import PASSWORD
from tests.fixtures.processes import StartRelay

DEEP, CUT = "/deep/er", "/ops/relay"


@contextmanager
def mounted(url: str) -> Iterator[str]:
    """In an application that knows its users."""
    from relay.dashboard import create_app
    from relay.settings import load

    app = create_app(load(database_url=url, schema="relay"), user=lambda _: "ann")

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with app.router.lifespan_context(app):
            yield

    with served(Starlette(routes=[Mount(DEEP, app)], lifespan=lifespan)) as at:
        yield at + DEEP


def cutting(target: str) -> Starlette:
    """A proxy that takes CUT off the path, and leaves all else as it is."""

    client = httpx.AsyncClient(base_url=target)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with client:
            yield

    async def passed(request: Request) -> Response:
        path, query = request.url.path.removeprefix(CUT), request.url.query
        answer = await client.request(
            request.method, f"{path}?{query}", headers=request.headers.raw, content=await request.body()
        )
        response = Response(answer.content, answer.status_code)
        response.raw_headers = [(name, value) for name, value in answer.headers.raw if name.lower() != b"date"]
        return response

    return Starlette(routes=[Route(f"{CUT}/{{rest:path}}", passed, methods=["GET", "POST"])], lifespan=lifespan)


async def go_round(visitor: Visitor, home: str) -> None:
    """Every page of the navigation, a language and a message: all inside, all as it looks at the top of a host."""
    page = visitor.page
    links = await page.locator("header nav a").all()
    paths = [str(await link.get_attribute("href")) for link in links]
    assert len(paths) == 9
    for path in paths:
        await visitor.follow(f"header nav a[href='{path}']")
        assert page.url.startswith(home + "/")
        assert await page.evaluate("getComputedStyle(document.body).margin") == "0px", "the style was not loaded"
    await visitor.follow("footer a[lang=zh-CN]")
    assert await page.get_attribute("html", "lang") == "zh-CN"
    assert page.url.startswith(home + "/days")
    cookies = await visitor.context.cookies()
    assert {cookie["path"].rstrip("/") for cookie in cookies} == {home[home.index("/", 8) :]}
    await visitor.goto(home + "/messages?state=failed")
    await visitor.follow("main tbody th a")
    assert page.url.startswith(home + "/messages/")


async def test_mounted_in_another_application(visit: Visit, seeded: Seeded) -> None:
    with mounted(seeded.url) as home:
        visitor = await visit()
        await visitor.goto(home + "/")
        await go_round(visitor, home)


async def test_behind_a_proxy_that_cuts_the_path(
    visit: Visit, seeded: Seeded, start_relay: StartRelay, users: Path
) -> None:
    """The command itself, and a log-in on the way."""
    env = {
        "RELAY_DATABASE_URL": NOWHERE,
        "RELAY_DASHBOARD_DATABASE_URL": seeded.url,
        "RELAY_DASHBOARD_USERS_FILE": str(users),
    }
    relay = start_relay("dashboard", "--port", "0", "--root-path", CUT, env=env)
    target = relay.wait_for_line(r"is at (http://[0-9.:]+)/ops/relay/")[1]
    with served(cutting(target)) as at:
        home = at + CUT
        visitor = await visit()
        await visitor.goto(home + "/keys")
        assert visitor.page.url.startswith(home + "/login?")
        await visitor.log_in("ann", PASSWORD)
        assert visitor.page.url == home + "/keys"
        await go_round(visitor, home)
        await visitor.follow("footer form[action$=logout] button")
        assert visitor.page.url.startswith(home + "/login")
