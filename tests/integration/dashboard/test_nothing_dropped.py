"""Nothing that is asked for is dropped in silence: what a page cannot do, it says, with the name of what is wrong."""

from __future__ import annotations

import json
from html import unescape

import pytest

from relay.dashboard.languages import TEXTS
from tests.fixtures.acting import SAME
from tests.fixtures.dashboard import Browse, Seeded

TWICE, NOT_WITH = TEXTS["en"]["trouble.asked_twice"], TEXTS["en"]["trouble.not_with"]


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("/messages?state=failed&state=held", TWICE.format(name="state")),
        ("/messages?id=5&id=6", TWICE.format(name="id")),
        ("/?span=hour&span=day", TWICE.format(name="span")),
        ("/ledger?older=[9]&older=[8]", TWICE.format(name="older")),
        ("/act/reveal?id=5&id=6", TWICE.format(name="id")),
        ("/act/retry?state=failed&state=held", TWICE.format(name="state")),
        ("/messages?lang=zh&lang=en", TWICE.format(name="lang")),
        ("/preferences?zone=UTC&zone=UTC", TWICE.format(name="zone")),
        ("/messages?older=[9]&newer=[2]", NOT_WITH.format(name="older", others="newer")),
        ("/ledger?older=[9]&newer=[2]", NOT_WITH.format(name="older", others="newer")),
        ("/messages?id=5&state=failed&topic=t", NOT_WITH.format(name="id", others="state, topic")),
        ("/messages?id=5&older=[9]", NOT_WITH.format(name="id", others="older")),
        ("/messages?request=r&dedupe=d", NOT_WITH.format(name="request", others="dedupe")),
        ("/messages?dedupe=d&account=a&state=done", NOT_WITH.format(name="dedupe", others="state")),
        ("/calls?request=r&state=open", NOT_WITH.format(name="request", others="state")),
        ("/messages?lang=xx", TEXTS["en"]["trouble.no_lang"].format(given="xx", known="en, zh")),
        ("/messages?zone=Mars", TEXTS["en"]["trouble.no_zone"].format(given="Mars")),
        ("/preferences?lang=xx", TEXTS["en"]["trouble.no_lang"].format(given="xx", known="en, zh")),
        ("/preferences?zone=Mars", TEXTS["en"]["trouble.no_zone"].format(given="Mars")),
        ("/messages?topic=%ff", TEXTS["en"]["refused.utf8"]),
        ("/codes/%ff", TEXTS["en"]["refused.utf8"]),
        ("/login?next=%c3", TEXTS["en"]["refused.utf8"]),
    ],
)
def test_what_has_no_effect_is_refused_by_its_name(seeded: Seeded, browse: Browse, path: str, sentence: str) -> None:
    browser = browse(seeded.rows.engine.url.render_as_string(hide_password=False), dashboard_allow_actions=True)
    page = browser.get(path)
    assert page.status_code == 400, page.text
    assert sentence in unescape(page.text)
    if not path.startswith(("/act", "/preferences", "/login")):
        document = browser.get("/api" + path)
        assert (document.status_code, json.loads(document.text)["error"]) == (400, sentence)


@pytest.mark.parametrize(
    "path",
    [
        "/messages?id=&request=&dedupe=&account=&state=failed&key=&topic=&code=&since=&until=",
        "/messages?topic=%ef%bf%bd", "/messages?older=[9]&newer=", "/messages?lang=&zone=", "/act/retry?id=#7&id=#10",
    ],
)  # fmt: skip
def test_what_forms_and_links_send_is_answered(seeded: Seeded, browse: Browse, path: str) -> None:
    browser = browse(seeded.rows.engine.url.render_as_string(hide_password=False), dashboard_allow_actions=True)
    asked = path.replace("#7", str(seeded.ids[7])).replace("#10", str(seeded.ids[10]))
    assert browser.get(asked).status_code == 200


def test_a_form_that_is_not_in_utf8_is_refused(seeded: Seeded, browse: Browse) -> None:
    browser = browse(seeded.rows.engine.url.render_as_string(hide_password=False), dashboard_allow_actions=True)
    kind = {"content-type": "application/x-www-form-urlencoded"}
    answer = browser.send("POST", "/act/pause", content=b"scope=account:a&reason=%ff", headers={**SAME, **kind})
    assert answer.status_code == 400
    assert TEXTS["en"]["trouble.no_form"] in answer.text


def test_the_documents_begin_with_and_without_a_slash(browse: Browse, seeded: Seeded) -> None:
    browser = browse(seeded.url)
    assert (browser.get("/api").status_code, browser.get("/api").headers["location"]) == (303, "/api/")
    stranger = browse(seeded.url, peer="10.0.0.7").get("/api")
    assert (stranger.status_code, "error" in json.loads(stranger.text)) == (403, True)
