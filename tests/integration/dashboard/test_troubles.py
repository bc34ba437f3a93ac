"""What keeps a page from being read is told with its cause and what to do: a lock with who holds it."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from relay.dashboard.languages import TEXTS
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
