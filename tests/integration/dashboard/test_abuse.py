"""What somebody sends on purpose: addresses made by hand, texts that would be code where they are pasted, and sizes."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
from collections import Counter
from collections.abc import Coroutine, Iterator
from html import unescape
from itertools import islice, product
from pathlib import Path
from threading import Event
from typing import Any
from urllib.parse import quote, unquote, urlencode

import httpx
import pytest
from click.testing import CliRunner
from starlette.requests import Request

from relay.cli.verbs import relay
from relay.dashboard import create_app
from relay.dashboard.access import Access, access
from relay.dashboard.entrance import MOST_JUDGED_OF_ONE
from relay.dashboard.pages.message import MOST_SHOWN
from relay.dashboard.people import People
from relay.dashboard.sessions import TRIES_OF_ADDRESS
from relay.dashboard.visit import command, literal
from relay.settings import load
from tests.fixtures.dashboard import Browse, Browser, Seeded
from tests.fixtures.people import line

LISTS = ("/messages", "/calls", "/duplicates", "/keys", "/pauses", "/pauses?kind=ended", "/ledger")
TIMES = (
    "0001-01-01", "9999-12-31T23:58", "2026-W01-1", "20261126T12", "2026-11-26T12:00:00,5", "x", "-1", "infinity",
    "2026-11-26T12:00:00+23:59:59.999999", "2026-11-26T12:00:00.000000+15:59", "0001-01-01T00:00:00+00:00", "\ud800",
)  # fmt: skip
POSITIONS = (
    "[", "{}", "[null]", "[true]", "[1.5]", "[-9223372036854775808]", '["\\ud800"]', '["\\ud800","a"]', '["a\\u0000"]',
    '["a","\\udfff"]', "[[1]]", *(json.dumps([time, *more]) for time in TIMES for more in ((), ("a",), (1, 1))),
)  # fmt: skip
HOSTILE = (
    "x<account>", "'; drop table relay.outbox; --", "\\'; drop table relay.outbox; --", "{schema}<since>", "\\", "a\nb",
    "$(touch x)`touch x`", "a'b\"c", "\x1b[31m\u202e\r\u2028", "-x",
)  # fmt: skip


@pytest.fixture(scope="module")
def browser(seeded: Seeded) -> Iterator[Browser]:
    made = Browser(create_app(load(database_url=seeded.url, schema="relay")))
    yield made
    made.close()


def test_no_position_or_time_made_by_hand_is_an_error_of_ours(browser: Browser) -> None:
    """All are told to be wrong, but for those that are right."""
    asked = [f"{path}{'&' if '?' in path else '?'}older={quote(one)}" for path, one in product(LISTS, POSITIONS)]
    asked += [f"/messages?{name}={quote(one, errors='replace')}" for name, one in product(("since", "until"), TIMES)]
    statuses = {path: browser.get(path).status_code for path in asked}
    assert {path: status for path, status in statuses.items() if status not in (200, 400)} == {}
    timed = {path for path, status in statuses.items() if status == 200 and re.match("/dup|.*ended", path)}
    assert {unquote(path).partition('["')[2][:22] for path in timed} == {
        "2026-11-26T12:00:00.00",
        "0001-01-01T00:00:00+00",
    }
    for path in ('/keys?older=["\\ud800","a"]', '/pauses?newer=["\\ud800"]', "/messages?since=0001-01-01",
                 "/messages?until=9999-12-31T23:58", '/pauses?kind=ended&older=["2026-W01-1","a"]',
                 '/duplicates?newer=["2026-11-26T12:00:00+23:59:59.999999",1,1]'):  # fmt: skip
        assert browser.get(path).status_code == 400, path


def copied(text: str) -> list[str]:
    """The command and the SQL of a page, as they are copied from it."""
    return [unescape(found) for found in re.findall(r"<pre><code>(.*?)</code></pre>", text, re.DOTALL)]


def test_what_is_copied_from_a_page_does_what_it_says(browser: Browser, seeded: Seeded) -> None:
    """Under either way of reading backslashes; a shell gets each value as one word."""
    for first, second in zip(HOSTILE, HOSTILE[::-1], strict=True):
        asked = {"topic": first, "account": second, "key": first, "code": second, "since": "2020-01-01"}
        line, sql = copied(browser.get("/messages?" + urlencode(asked)).text)
        words = subprocess.run(
            ["bash", "-c", f"printf '%s\\0' {line}"], capture_output=True, check=True
        ).stdout.decode().split("\0")  # fmt: skip
        assert words[:-1] == ["relay", "list", "--topic", first, "--account", second, "--key", first, "--error", second]
        with seeded.rows.engine.connect() as connection:
            for conforming in ("on", "off"):
                connection.exec_driver_sql(f"set standard_conforming_strings = {conforming}")
                assert connection.exec_driver_sql(sql.replace("%", "%%")).all() == []
                told = connection.exec_driver_sql(f"select {literal(first)}".replace("%", "%%")).scalar()
                assert told == first
    assert command("explain", "-x") == "relay explain -- -x"


def test_a_content_of_brackets_stays_as_small_as_it_is(browser: Browser, seeded: Seeded) -> None:
    deep = f'{{"a":{"[" * 900}{",".join("1" * 30_000)}{"]" * 900}}}'
    for content, shown in ((deep, "[[[[[[1, 1, 1"), ('{"a":{"b":1}}', '  "b')):
        insert = "insert into relay.outbox (topic, content) values ('t', cast(:content as json)) returning id"
        text = unescape(browser.get(f"/messages/{seeded.rows.one(insert, content=content)}").text)
        assert shown in text
        assert len(text) < MOST_SHOWN + 20_000


def asks(peer: str, *headers: tuple[str, str]) -> Request:
    lines = [(name.encode(), value.encode()) for name, value in headers]
    return Request({"type": "http", "client": (peer, 1), "headers": lines, "method": "GET", "path": "/"})


@pytest.mark.parametrize(
    "host", ["[::1]evil", "127.0.0.1:80:90", "[::1", "localhost:x", "a@localhost", "localhost,b", ""]
)
def test_a_name_that_is_none_is_not_this_machine(host: str) -> None:
    assert getattr(Access().who(asks("127.0.0.1", ("host", host))), "key", None) == "refused.host"
    assert Access().who(asks("127.0.0.1", ("host", "[::1]:80"))) is None


def test_what_came_through_a_proxy_is_refused_while_nobody_is_configured(browser: Browser) -> None:
    """A proxy on this machine would open the pages to whoever reaches the proxy."""
    for header in ("x-forwarded-for", "forwarded", "x-real-ip", "via", "x-forwarded-server", "cf-connecting-ip"):
        answer = browser.get("/", **{header: "192.0.2.1"})
        assert answer.status_code == 403
        assert "no people are configured" in answer.text


@pytest.mark.parametrize(
    ("site", "mode", "dest", "status"),
    [
        ("cross-site", "no-cors", "image", 403), ("same-site", "no-cors", "script", 403),
        ("cross-site", "navigate", "iframe", 403), ("cross-site", "cors", "empty", 403),
        ("cross-site", "navigate", "document", 200), ("same-site", "navigate", "document", 200),
        ("same-origin", "cors", "empty", 200), ("none", "navigate", "document", 200),
    ],
)  # fmt: skip
def test_a_page_of_another_site_leads_here_and_loads_nothing(
    browser: Browser, site: str, mode: str, dest: str, status: int
) -> None:
    """Whoever opens that page on this machine needs no cookie here: it could have the database read all day."""
    said = {"sec-fetch-site": site, "sec-fetch-mode": mode, "sec-fetch-dest": dest}
    assert browser.get("/messages?topic=x", **said).status_code == status


def test_a_proxy_of_ipv4_is_known_on_a_socket_of_both_kinds() -> None:
    named = ("x-user", "ann")
    for proxies in ("127.0.0.0/8", "::ffff:127.0.0.0/104"):
        asked = access(load(dashboard_user_header="X-User", dashboard_trusted_proxies=proxies))
        assert asked.who(asks("::ffff:127.0.0.1", named)) == "ann"
        assert asked.who(asks("127.0.0.1", named)) == "ann"
        assert asked.who(asks("::ffff:128.0.0.1", named)) != "ann"
        said = ("x-forwarded-for", "10.9.9.9, 192.0.2.7, 127.0.0.2")
        assert asked.origin(asks("::ffff:127.0.0.1", said)) == "192.0.2.7"
        assert asked.origin(asks("192.0.2.8", said)) == "192.0.2.8"
        assert asked.origin(asks("2001:db8::1")) == "2001:db8::/64"


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Event:
    """A password is looked at until this is set; none is right but ``right``."""
    go_on = Event()

    def is_right(_: object, __: str, password: str) -> bool:
        assert go_on.wait(30)
        return password == "right"

    monkeypatch.setattr(People, "is_right", is_right)
    return go_on


def test_a_burst_of_guesses_waits_for_nobody_and_locks_nobody_else_out(
    browse: Browse, tmp_path: Path, slow: Event
) -> None:
    """Those that would queue are told to come again; the rest are no more than the tries of one address."""
    (tmp_path / "users").write_text(line())
    app = browse(dashboard_users_file=tmp_path / "users").app

    async def tried(peer: str, name: str, password: str = "wrong") -> int:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app, client=(peer, 1)), base_url="http://x") as one:
            sent = {"name": name, "password": password}
            answer = await one.post("/login", data=sent, headers={"sec-fetch-site": "same-origin"})
            assert answer.status_code != 429 or int(answer.headers["retry-after"]) > 0
            return answer.status_code

    async def all_of(*tries: Coroutine[Any, Any, int]) -> list[int]:
        begun = [asyncio.ensure_future(one) for one in tries]
        for answered in islice(asyncio.as_completed(begun), len(begun) - MOST_JUDGED_OF_ONE):
            await answered
        slow.set()
        return await asyncio.gather(*begun)

    statuses = asyncio.run(all_of(*(tried("192.0.2.1", "ann") for _ in range(40))))
    assert Counter(statuses) == {401: MOST_JUDGED_OF_ONE, 429: 40 - MOST_JUDGED_OF_ONE}
    for name in range(TRIES_OF_ADDRESS):
        asyncio.run(tried("192.0.2.1", f"n{name}"))
    assert asyncio.run(tried("192.0.2.1", "zoe", "right")) == 429
    assert asyncio.run(tried("192.0.2.2", "ann", "right")) == 303, "elsewhere nobody is locked out"


def test_a_file_that_is_not_there_is_no_loop_and_has_its_style(
    browse: Browse, browser: Browser, seeded: Seeded, tmp_path: Path
) -> None:
    (tmp_path / "users").write_text(line())
    asked = browse(seeded.url, dashboard_users_file=tmp_path / "users").get("/static/nope")
    assert asked.headers["location"] == "/login?next=%2Fstatic%2Fnope"
    for path in ("/static/nope", "/static/%00", "/static/" + "x" * 400):
        answer = browser.get(path)
        assert answer.status_code == 404, path
        assert 'href="/static/dashboard.css?' in answer.text


MANY = """
insert into relay.pause (scope, reason, by)
    select 'account:' || n || repeat('x', 450), repeat('r', 900), 'b' from generate_series(1, 1500) n;
insert into relay.call (account, worker, message_ids, lease_until)
    select 'default', 'w' || n || repeat('y', 900), '{16}', now() + interval '1 hour' from generate_series(1, 1500) n;
insert into relay.attempt (message_id, call_id, result_index, outcome, error_code)
    select 16, id, 0, 'retry', 'isp.x' from relay.call where worker like '%yyy';
insert into relay.outbox (topic, content, ordering_key, available_at, attempts, error_code, error_message)
    select 't', '{}', 'long ' || n, now() + interval '1 hour', 1, 'isp.x', repeat('z', 99000)
    from generate_series(1, 20) n
"""


def test_no_list_is_longer_than_a_page(seeded: Seeded, browse: Browse) -> None:
    """However many pauses, workers and calls there are, and however long their names."""
    id_ = seeded.ids[16]
    for statement in MANY.replace("16", str(id_)).split(";\n"):
        seeded.rows.run(statement)
    fresh = browse(seeded.url)
    sizes = {path: len(fresh.get(path).content) for path in ("/", f"/messages/{id_}", "/calls", "/pauses", "/keys")}
    assert max(sizes.values()) < 250_000, sizes
    first, message = fresh.get("/").text, fresh.get(f"/messages/{id_}").text
    assert "and 1,492 more" in first
    assert "and 1,45" in first
    assert "The newest 100 calls; there are more." in message
    env = {"RELAY_DATABASE_URL": seeded.rows.engine.url.render_as_string(hide_password=False)}
    shown = CliRunner().invoke(relay, ["show", str(id_)], env=env)
    assert "The newest 100 only; there are more" in shown.stdout
    assert len(shown.stdout) < 400_000
