"""Pages that refresh by themselves: what they cost, how old they are, when they ask again, and what they never do.

What the script does with the answers is tested in a browser; here is what it is told.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from datetime import datetime, tzinfo
from enum import Enum
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.pool import NullPool

import relay
from relay import reports
from relay.assembly.dashboard import THREADS
from relay.dashboard.languages import TEXTS
from relay.dashboard.pages.overview import KEPT_SECONDS
from relay.dashboard.refreshing import FIRST_SECONDS, HEADER, LIST, SHARE, Answers
from relay.embedded import EmbeddedPostgres
from tests.fixtures.acting import HEADER as OF_A_PROXY
from tests.fixtures.acting import Shop, apply
from tests.fixtures.dashboard import Browse, Browser, Seeded, seed
from tests.fixtures.people import line
from tests.fixtures.statements import counting

SCRIPT = Path(relay.__file__).parent / "dashboard" / "static" / "dashboard.js"
LIVE = {HEADER: "1"}
INSERT = "insert into relay.outbox (topic, content) values ('a new topic', '{}')"


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """Of a database of this test alone, with something of everything."""
    made = create_engine(database_url, poolclass=NullPool)
    seed(made)
    yield made
    made.dispose()


@pytest.fixture
def browser(engine: Engine, browse: Browse) -> Browser:
    return browse(engine.url.render_as_string(hide_password=False))


async def sent(browser: Browser, path: str, **headers: str) -> httpx.Response:
    """By a person of its own, with the cookies of nobody."""
    transport = httpx.ASGITransport(browser.app, client=("127.0.0.1", 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        return await client.get(path, headers=headers)


def every(answer: httpx.Response) -> float | None:
    """What the page is told; None: it does not refresh."""
    found = re.search(r'id="live-every" data-live data-every="([0-9.]+)"', answer.text)
    return float(found[1]) if found else None


def at_most(answer: httpx.Response) -> float | None:
    found = re.search(r'data-at-most="([0-9.]+)"', answer.text)
    return float(found[1]) if found else None


PEOPLE = [
    {"accept-language": language, "cookie": f"relay_zone={zone}"}
    for language in ("en", "zh-CN", "de")
    for zone in ("Asia/Shanghai", "UTC", "Europe/Berlin")
]


def test_twenty_open_tabs_cost_one_reading_whatever_language_and_zone(
    engine: Engine, browse: Browse, browser: Browser
) -> None:
    url = engine.url.render_as_string(hide_password=False)
    with counting(Engine) as alone:
        assert browse(url).get("/", **LIVE).status_code == 200
    people = (PEOPLE * 3)[:20]

    async def all_at_once() -> Sequence[httpx.Response]:
        return await asyncio.gather(*(sent(browser, "/", **LIVE, **one) for one in people))

    with counting(Engine) as seen:
        answers = asyncio.run(all_at_once())
    assert [answer.status_code for answer in answers] == [200] * 20
    assert seen == alone
    assert {answer.headers["content-language"] for answer in answers} == {"en", "zh"}
    moments = {re.search(r"<time datetime=\"([^\"]+)\">", answer.text.partition('id="live"')[2]) for answer in answers}
    assert len({one and one[1] for one in moments}) == 1
    shown = {re.search(r"<time [^>]*>([0-9: -]+)", answer.text.partition('id="live"')[2]) for answer in answers}
    assert len({one and one[1] for one in shown}) == 3, "the same moment, in three zones"


def test_a_person_reads_afresh_and_leaves_it_to_the_tabs_that_are_open(engine: Engine, browser: Browser) -> None:
    assert "a new topic" not in browser.get("/messages", **LIVE).text
    with engine.begin() as connection:
        connection.execute(text(INSERT))
    assert "a new topic" not in browser.get("/messages", **LIVE).text, "it is as young as it has to be"
    assert "a new topic" in browser.get("/messages").text
    with counting(Engine) as seen:
        assert "a new topic" in browser.get("/messages", **LIVE).text
    assert seen == []
    assert KEPT_SECONDS <= 1.0, "numbers of page one are for a burst of reloads alone"


def test_what_was_asked_is_one_page_and_anything_else_is_another(browser: Browser) -> None:
    for first, second, reads in (
        ("/messages?state=failed&topic=x", "/messages?topic=x&state=failed&key=", False),
        ("/messages?state=failed", "/messages?state=pending", True),
        ("/calls", "/calls?state=open", True),
    ):
        browser.get(first, **LIVE)
        with counting(Engine) as seen:
            browser.get(second, **LIVE)
        assert bool(seen) is reads, second


def test_a_window_of_time_is_read_in_the_zone_of_whoever_asks(browser: Browser) -> None:
    """What was read for one viewer is given to no other who means something else by the same words."""
    path = "/messages?since=2026-01-01T00:00"
    told = {
        zone: browser.get(path, **LIVE, cookie=f"relay_zone={zone}").text for zone in ("UTC", "Asia/Shanghai", "UTC")
    }
    for zone, offset in (("UTC", "+00:00"), ("Asia/Shanghai", "+08:00")):
        assert f"timestamptz &#39;2026-01-01T00:00:00{offset}" in told[zone]
        assert "dedupe" in told[zone]


@pytest.mark.parametrize(
    ("path", "least"),
    [
        ("/", 5), ("/?span=day", 5), ("/messages", 15), ("/messages?state=failed", 15), ("/messages/#3", 15),
        ("/messages/#7", 15), ("/messages/#1", None), ("/calls", 15), ("/calls?state=open", 15),
        ("/calls?older=[4]", None), ("/calls?older=[5]", 15), ("/calls?request=req-1", None), ("/calls?request=x", 15),
        ("/calls/1", None), ("/calls/4", 5), ("/failures", 15), ("/duplicates", 15), ("/keys", 15), ("/pauses", 15),
        ("/pauses?kind=ended", 15), ('/pauses?kind=ended&older=["2030-01-01T00:00:00%2B00:00","x"]', None),
        ("/ledger", 15), ("/ledger?older=[2]", None), ("/days", 60), ("/codes/27", None), ("/nowhere", None),
        ("/messages/999999", None), ("/messages?state=x", None),
    ],
)  # fmt: skip
def test_what_may_change_refreshes_and_what_stays_does_not(
    seeded: Seeded, browse: Browse, path: str, least: float | None
) -> None:
    browser = browse(seeded.url)
    asked = re.sub(r"#(\d+)", lambda found: str(seeded.ids[int(found[1])]), path)
    for headers in ({}, LIVE):
        answer = browser.get(asked, **headers)
        told = every(answer)
        assert (told is None) == (least is None), told
        assert told is None or told >= (least or 0)
        assert answer.headers["cache-control"] == "no-store"
        assert ('id="live"' in answer.text) == (told is not None)
        assert at_most(answer) is None


def test_what_takes_long_is_asked_seldom(engine: Engine, browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = reports.ledger

    def slow(connection: Connection, *arguments: Any) -> Any:
        connection.execute(text("select pg_sleep(0.5)"))
        return asked(connection, *arguments)

    quick = every(browser.get("/ledger"))
    monkeypatch.setattr(reports, "ledger", slow)
    told = [every(browser.get("/ledger")) for _ in range(2)]
    assert quick is not None
    assert told[1] is not None
    assert quick < told[1]
    assert told[1] >= 0.5 * SHARE
    browser.get("/messages")
    others = every(browser.get("/messages"))
    assert others is not None
    assert others < told[1], "of this page alone"


def test_while_postgresql_is_away_a_page_asks_again(own_postgres: EmbeddedPostgres, browse: Browse) -> None:
    relay.migrate(own_postgres.url())
    browser = browse(own_postgres.url())
    told = every(browser.get("/messages"))
    assert told is not None
    assert LIST <= told <= FIRST_SECONDS * SHARE
    own_postgres.stop()
    for headers in ({}, LIVE):
        away = browser.get("/keys", **headers)
        assert (away.status_code, every(away), at_most(away)) == (503, 5.0, 30.0)
        assert TEXTS["en"]["trouble.again"] in away.text
        assert 'id="live-as-of"' not in away.text, "it shows nothing that was true at some moment"
    own_postgres.start()
    told = every(browser.get("/keys", **LIVE))
    assert told is not None
    assert LIST <= told <= FIRST_SECONDS * SHARE


def test_trouble_is_told_to_all_who_waited_and_kept_for_nobody(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many tabs are open, a slow statement runs once; and nobody asks for it again soon."""
    monkeypatch.setattr("relay.assembly.dashboard.TIME_OUT", "200ms")
    with monkeypatch.context() as slow:
        slow.setattr("relay.reports.past._LEDGER", "select pg_sleep(20)")

        async def all_at_once() -> Sequence[httpx.Response]:
            return await asyncio.gather(*(sent(browser, "/ledger", **LIVE) for _ in range(10)))

        with counting(Engine) as seen:
            answers = asyncio.run(all_at_once())
        assert sum("pg_sleep" in one for one in seen) == 1
        assert {(one.status_code, every(one), at_most(one)) for one in answers} == {(503, 60.0, 600.0)}
        assert TEXTS["en"]["trouble.slow_whole"] in answers[0].text
        assert every(browser.get("/ledger")) is None, "whoever asks it as a person is to ask for less"
    assert browser.get("/ledger", **LIVE).status_code == 200


def test_a_refresh_that_hangs_holds_up_no_person(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    """All others of the same page wait for the one; what people ask themselves has threads of its own."""
    hangs, go_on, reads = threading.Event(), threading.Event(), []
    asked = reports.ledger

    def stuck(*arguments: Any) -> Any:
        reads.append(arguments)
        hangs.set()
        assert go_on.wait(30)
        return asked(*arguments)

    monkeypatch.setattr(reports, "ledger", stuck)

    async def run() -> Sequence[httpx.Response]:
        refreshes = [asyncio.ensure_future(sent(browser, "/ledger", **LIVE)) for _ in range(3 * THREADS)]
        assert await asyncio.to_thread(hangs.wait, 10)
        persons = await asyncio.gather(*(sent(browser, "/messages") for _ in range(2 * THREADS)))
        assert not any(one.done() for one in refreshes)
        go_on.set()
        return [*persons, *await asyncio.gather(*refreshes)]

    assert {answer.status_code for answer in asyncio.run(run())} == {200}
    assert len(reads) == 1


def test_what_is_left_for_others_are_values(seeded: Seeded, browse: Browse, monkeypatch: pytest.MonkeyPatch) -> None:
    """No connection, nothing that is read later, and nothing that one viewer could change for another."""
    made: list[Answers] = []
    begin = Answers.__init__

    def noted(self: Answers, *arguments: Any) -> None:
        made.append(self)
        begin(self, *arguments)

    monkeypatch.setattr(Answers, "__init__", noted)
    browser = browse(seeded.url)
    for path in ("/", "/messages", f"/messages/{seeded.ids[7]}", "/calls", "/calls/1", "/failures", "/duplicates",
                 "/keys", "/pauses", "/pauses?kind=ended", "/ledger", "/days"):  # fmt: skip
        assert browser.get(path).status_code == 200
    for answers in made:
        for question, answer in answers._known.items():
            assert plain(answer), (question, answer)


def plain(value: Any) -> bool:
    if value is None or isinstance(value, str | int | float | bool | datetime | tzinfo | Enum):
        return True
    if is_dataclass(value) and not isinstance(value, type):
        return all(plain(getattr(value, one.name)) for one in fields(value))
    if isinstance(value, dict):
        return all(plain(one) for pair in value.items() for one in pair)
    return isinstance(value, tuple | list) and all(plain(one) for one in value)


def test_a_session_that_ended_is_told_by_a_status(browse: Browse, seeded: Seeded, tmp_path: Path) -> None:
    """The script follows no redirect: another site's page, or a log-in, is not put into this one."""
    (tmp_path / "users").write_text(line())
    ended = browse(seeded.url, dashboard_users_file=tmp_path / "users").get("/", **LIVE)
    assert (ended.status_code, ended.headers["location"]) == (303, "/login?next=%2F")
    stranger = browse(seeded.url, peer="10.0.0.7").get("/", **LIVE)
    assert stranger.status_code == 403
    for answer in (ended, stranger, browse(dashboard_users_file=tmp_path / "users").get("/login")):
        assert every(answer) is None
        assert answer.headers["cache-control"] == "no-store"


def test_what_one_may_do_is_each_ones_own_though_one_reading_is_for_all(shop: Shop) -> None:
    shop.failed(2)
    browser = shop.browser(**OF_A_PROXY, dashboard_actors="ann")
    for first, second in (("ann", "bob"), ("bob", "ann")):
        browser.get("/messages", **{"x-user": first})
        with counting(Engine) as seen:
            told = {name: browser.get("/messages", **LIVE, **{"x-user": name}).text for name in (first, second)}
        assert not [one for one in seen if "read_outbox" in one]
        assert ["selecting" in told[name] for name in ("ann", "bob")] == [True, False]
        assert ["/act/" in told[name] for name in ("ann", "bob")] == [True, False]


def test_a_preview_and_what_was_done_never_refresh(shop: Shop) -> None:
    ids = shop.failed(2)
    browser = shop.browser()
    for path in ("/act/retry?state=failed", f"/act/discard?id={ids[0]}", "/act/pause", f"/act/reveal?id={ids[0]}"):
        for headers in ({}, LIVE):
            assert every(browser.get(path, **headers)) is None
    assert every(apply(browser, browser.get("/act/retry?state=failed"))) is None


def test_documents_are_read_afresh_whatever_header_they_are_asked_with(engine: Engine, browser: Browser) -> None:
    before = browser.get("/api/messages", **LIVE).json()["items"]
    with engine.begin() as connection:
        connection.execute(text(INSERT))
    assert len(browser.get("/api/messages", **LIVE).json()["items"]) == len(before) + 1


def test_the_script_makes_no_code_of_what_it_is_given() -> None:
    source = SCRIPT.read_text()
    for forbidden in (r"innerHTML", r"outerHTML", r"insertAdjacentHTML", r"\beval\b", r"document\.write", r"Function\(",
                      r"\.style\b", r"\bon\w+\s*=", r"localStorage", r"https?:", r"import\(",
                      r"\bnode\.id\b"):  # fmt: skip
        assert not re.search(forbidden, source), forbidden
    assert len(source.splitlines()) <= 170


def test_what_the_script_looks_for_is_on_the_page(browser: Browser) -> None:
    source, page = SCRIPT.read_text(), browser.get("/").text
    ids = set(re.findall(r'\bat\("([\w-]+)"', source)) | set(re.findall(r'\bsay\("([\w-]+)"', source))
    assert len(ids) > 6
    assert {one for one in ids if f'id="{one}"' not in page} == {"trouble"}
    assert 'id="trouble"' in browser.get("/nowhere").text
    said = set(re.findall(r"live\.dataset\.(\w+)", source))
    assert {one for one in said if not re.search(rf'data-{one}="[^"]+"', page)} == set()
    assert page.count(" data-say") == 1
    regions = re.findall(r"<[^>]* data-live[^>]*>", page)
    assert len(regions) > 4
    assert all(" id=" in one for one in regions)
    assert page.count('role="status"') == 2, "numbers are told to nobody who did not ask"


def test_lists_keep_no_status_that_would_be_read_out_again(seeded: Seeded, browse: Browse) -> None:
    browser: Browser = browse(seeded.url)
    regions: Callable[[str], str] = lambda path: browser.get(path).text.partition('id="live"')[0]  # noqa: E731
    for path in ("/", "/messages", "/messages?topic=x", f"/messages/{seeded.ids[6]}", f"/messages/{seeded.ids[12]}"):
        assert 'role="status"' not in regions(path)
