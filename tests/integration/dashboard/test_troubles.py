"""What keeps a page from being read is told with its cause and what to do: a lock with who holds it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html import unescape

import httpx
import pytest
from sqlalchemy import text

from relay.dashboard.languages import TEXTS
from relay.dashboard.languages.causes_zh import CAUSES
from relay.dashboard.trouble import cause, page_of
from relay.database_errors import Kind
from relay.errors import RelayError
from relay.holders import Holder, InTheWay
from tests.fixtures.acting import SAME
from tests.fixtures.dashboard import Browse, Seeded

LOCK = "lock table relay.outbox, relay.pause, relay.call in access exclusive mode"
SLOW = "select pg_sleep(20)"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.assembly.dashboard.LOCK_TIME_OUT", "200ms")


def test_who_holds_a_lock_is_named_with_what_ends_it(seeded: Seeded, browse: Browse) -> None:
    """By the login that may only look on, on pages that can be narrowed and on those that cannot."""
    browser = browse(seeded.url)
    with seeded.rows.engine.begin() as connection:
        connection.execute(text(LOCK))
        pid = connection.scalar(text("select pg_backend_pid()"))
        for path in ("/", "/messages?state=failed", "/pauses", "/messages/1"):
            page = browser.get(path)
            assert (page.status_code, page.headers["retry-after"]) == (503, "5"), path
            assert TEXTS["en"]["trouble.locked"] in page.text, path
            assert f"process {pid}, role " in page.text
            assert "; this page was not read" in page.text
            assert f"<code>select pg_terminate_backend({pid});</code>" in page.text
            told = browser.get("/api" + path).json()
            assert told["error"] == TEXTS["en"]["trouble.locked"]
            assert told["command"] == f"select pg_terminate_backend({pid});"
            assert f"pg_terminate_backend({pid})" in told["hint"]
    assert browser.get("/").status_code == 200


@pytest.mark.parametrize(
    ("path", "statement", "key"),
    [("/ledger", "relay.reports.past._LEDGER", "slow_whole"), ("/messages", "relay.reports.search._LINES", "slow")],
)
def test_what_is_slow_is_told_apart_from_what_waits(
    seeded: Seeded, browse: Browse, monkeypatch: pytest.MonkeyPatch, path: str, statement: str, key: str
) -> None:
    monkeypatch.setattr(statement, SLOW)
    monkeypatch.setattr("relay.assembly.dashboard.TIME_OUT", "300ms")
    answer = browse(seeded.url).get(path)
    assert answer.status_code == 503
    assert TEXTS["en"][f"trouble.{key}"] in answer.text
    assert "pg_terminate_backend" not in answer.text


def english_left(page: httpx.Response) -> list[str]:
    """Paragraphs of the answer that a page in Chinese says in English, but for what is marked as the original."""
    answer = page.text.partition('<section class="answer')[2].partition("</section>")[0]
    said = re.findall(r"<(?:p|h1)[^>]*>(.*?)</(?:p|h1)>", re.sub(r'<p lang="en"><small>.*?</small></p>', "", answer))
    assert said
    return [one for one in said if not re.search("[一-鿿]", one)]


def original(page: httpx.Response) -> str:
    return unescape(" ".join(re.findall(r'<p lang="en"><small>(.*?)</small></p>', page.text)))


def test_a_lock_is_told_in_chinese_with_the_original_beside(seeded: Seeded, browse: Browse) -> None:
    with seeded.rows.engine.begin() as connection:
        connection.execute(text(LOCK))
        pid = connection.scalar(text("select pg_backend_pid()"))
        page = browse(seeded.url).get("/?lang=zh")
    assert english_left(page) == []
    assert f"进程 {pid}，角色 " in page.text
    assert f"<code>select pg_terminate_backend({pid});</code>" in page.text
    assert f"process {pid}, role " in original(page)


def test_a_server_that_is_away_is_told_in_chinese(browse: Browse) -> None:
    page = browse().get("/messages?lang=zh")
    assert english_left(page) == []
    assert CAUSES[Kind.REFUSED] in page.text
    assert "Cannot reach PostgreSQL" in original(page)
    assert "Check RELAY_DATABASE_URL" in original(page)
    assert "<small>Cannot" not in browse().get("/messages?lang=en").text


def test_a_missing_right_and_missing_tables_are_told_in_chinese(
    stranger_url: str, browse: Browse, empty_url: str
) -> None:
    page = browse(stranger_url).get("/messages?lang=zh")
    assert english_left(page) == []
    assert CAUSES[Kind.NO_RIGHT] in page.text
    assert "permission denied" in original(page)
    missing = browse(empty_url).get("/?lang=zh")
    assert english_left(missing) == []
    assert CAUSES[Kind.MISSING] in missing.text


def errors(of: type[RelayError] = RelayError) -> Iterator[type[RelayError]]:
    yield of
    for one in of.__subclasses__():
        yield from errors(one)


def test_each_error_that_a_page_can_show_has_a_chinese_sentence() -> None:
    assert set(CAUSES) == set(Kind)
    assert all(re.search("[一-鿿]", said) for said in CAUSES.values())
    for one in set(errors()) - {InTheWay}:
        shown = page_of(one("what is wrong"), slow=False, narrows=False, posted=False, refreshes=False)
        assert shown.values["cause"] in CAUSES, one
    named = {one.__name__: cause(one("what is wrong")) for one in set(errors()) - {InTheWay}}
    assert named["RelayError"] == Kind.OTHER
    assert named["UnreachableError"] == Kind.LOST
    assert named["SchemaError"] == Kind.MISSING
    assert named["ConfigurationError"] == Kind.SETTING


def test_who_prepared_a_transaction_is_told_with_what_rolls_it_back() -> None:
    """Strangers choose its name: what is copied does what it says."""
    holder = Holder("1/1", None, "ann", "", None, "it's\u202e", 5.0, None, "me")
    shown = page_of(InTheWay([holder]), slow=False, narrows=False, posted=True, refreshes=False)
    assert shown.values["command"] == "rollback prepared E'it''s\\u202e';"
    gone = page_of(InTheWay([]), slow=False, narrows=False, posted=False, refreshes=False)
    assert (gone.values["command"], gone.values["cause"], gone.values["holder"]) == ("", Kind.LOCKED, {})


@pytest.mark.parametrize(
    ("method", "path", "headers", "status", "key"),
    [
        ("PUT", "/", {}, 405, "method"),
        ("POST", "/messages", SAME, 405, "method"),
        ("POST", "/messages", {}, 403, "site"),
        ("GET", "/", {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}, 403, "site"),
        ("GET", "/?topic=" + "x" * 9_000, {}, 414, "long"),
    ],
)
def test_refusals_speak_the_language_of_who_is_refused(
    browse: Browse, method: str, path: str, headers: dict[str, str], status: int, key: str
) -> None:
    browser = browse()
    for language in ("en", "zh"):
        answer = browser.send(method, path, headers={**headers, "accept-language": f"{language}-CN"})
        assert (answer.status_code, answer.text.strip()) == (status, TEXTS[language][f"refused.{key}"])
        assert answer.headers["content-language"] == language
        assert (answer.headers.get("allow") is not None) == (status == 405)
    told = browser.send(method, "/api" + path, headers={**headers, "accept-language": "zh"})
    assert told.status_code == status
    assert json.loads(told.text)["error"] == TEXTS["en"][f"refused.{key}"]
