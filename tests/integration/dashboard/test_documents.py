"""``/api``: the read models of every page as JSON, by the same rights and with the same refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.dashboard import MARKUP, PHONE, Browse, Browser, Seeded
from tests.fixtures.people import line

LISTS = ("messages", "calls", "failures", "duplicates", "keys", "pauses", "ledger")


@pytest.fixture
def browser(browse: Browse, seeded: Seeded) -> Browser:
    return browse(seeded.url)


def asked(browser: Browser, path: str) -> Any:
    answer = browser.get(f"/api{path}")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    assert PHONE not in answer.text
    assert not {"\u202e", "\u0007", "\u001b"} & set(answer.text)
    return json.loads(answer.text)


def test_every_page_is_a_document_too(browser: Browser, seeded: Seeded) -> None:
    assert {name: len(asked(browser, f"/{name}")["items"]) for name in LISTS} == {
        "messages": 16, "calls": 6, "failures": 1, "duplicates": 1, "keys": 1, "pauses": 2, "ledger": 2,
    }  # fmt: skip
    message = asked(browser, f"/messages/{seeded.ids[7]}")["message"]
    assert (message["id"], message["call_id"], message["topic"]) == (str(seeded.ids[7]), "1", MARKUP)
    came = [one["came"] for one in asked(browser, "/calls/1")["call"]["positions"]]
    assert came == ["done", "done", "retry", "failed"]
    first = asked(browser, "/")
    assert {one["name"] for one in first["concerns"]} == {
        "open_calls", "app_pauses", "pauses_for_credentials", "held", "failed",
    }  # fmt: skip
    assert first["status"]["held"] == 1
    assert first["ages"][-1]["below"] is None
    assert len(asked(browser, "/days")["days"]) == 14
    assert asked(browser, "/codes/27")["code"]["known"] is True


def test_a_list_goes_on_where_it_says(browser: Browser) -> None:
    browser.get("/")
    first = asked(browser, "/messages?state=pending")
    assert (first["older"], first["newer"], first["looked_to"]) == (None, None, None)
    last = first["items"][-1]["id"]
    after = asked(browser, f"/messages?state=pending&newer=[{last}]")
    assert [one["id"] for one in after["items"]] == [one["id"] for one in first["items"][:-1]]
    assert json.loads(after["older"]) == [int(after["items"][-1]["id"])]


@pytest.mark.parametrize(("path", "status"), [("/messages/0", 404), ("/nowhere", 404), ("/messages?state=x", 400)])
def test_what_is_wrong_is_a_document_too(browser: Browser, path: str, status: int) -> None:
    answer = browser.get(f"/api{path}")
    assert (answer.status_code, sorted(json.loads(answer.text))) == (status, ["detail", "error", "hint"])


def test_an_exact_look_up_leads_to_the_document(browser: Browser, seeded: Seeded) -> None:
    answer = browser.get(f"/api/messages?id={seeded.ids[3]}")
    assert (answer.status_code, answer.headers["location"]) == (303, f"/api/messages/{seeded.ids[3]}")


def test_strangers_get_a_refusal_and_nothing_else(browse: Browse, seeded: Seeded, tmp_path: Path) -> None:
    file = tmp_path / "users"
    file.write_text(line())
    for stranger, status in ((browse(seeded.url, peer="10.0.0.7"), 403), (browse(dashboard_users_file=file), 401)):
        for path in ("/", "/messages", f"/messages/{seeded.ids[7]}"):
            answer = stranger.get(f"/api{path}")
            assert (answer.status_code, sorted(json.loads(answer.text))) == (status, ["detail", "error", "hint"])
