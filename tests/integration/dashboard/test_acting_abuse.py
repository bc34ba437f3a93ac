"""What somebody sends on purpose to act: from another site, without the right, by hand, too large, once more."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from relay.dashboard.actions.reasons import KNOWN
from relay.dashboard.languages import TEXTS
from relay.errors import ConfigurationError
from relay.reports import Rights
from tests.fixtures.acting import HEADER, SAME, Shop, apply, form, post, said
from tests.fixtures.dashboard import HOSTILE, MARKUP, Browse
from tests.fixtures.people import line
from tests.integration.dashboard.test_pages import document, elements, foreign, labelled

ACTS = ("retry", "discard", "pause", "resume", "reveal")
PREVIEWS = (
    "/act/retry?state=failed", "/act/discard?state=failed", "/act/retry?id=999", "/act/pause", "/act/pause?scope=app:1",
    "/act/pause?scope=account:default", "/act/resume?scope=account:paused", "/act/reveal?id=#",
)  # fmt: skip
ASKED_WRONG = (
    "/act/discard?code=a&code=b",
    "/act/retry", "/act/retry?id=x", "/act/retry?id=0", "/act/retry?id=1&id=-2", "/act/retry?id=9223372036854775808",
    "/act/retry?id=1&state=failed", "/act/retry?state=nope", "/act/retry?stat=failed", "/act/retry?since=x",
    "/act/discard?topic=%00", "/act/pause?scope=shop", "/act/pause?scope=account:", "/act/pause?kind=x&name=y",
    "/act/resume", "/act/resume?scope=app:%0a", "/act/reveal", "/act/reveal?id=x", "/act/reveal?id=1&reason=r",
)  # fmt: skip


def test_a_page_of_what_can_be_done_is_sound_in_both_languages(shop: Shop, database_url: str) -> None:
    (id_,) = shop.failed(topic=MARKUP, key=MARKUP, account=MARKUP)
    shop.rows.run("insert into relay.pause (scope, reason, by) values ('account:paused', :said, :said)", said=HOSTILE)
    browser = shop.browser(database_url)
    said_in = {}
    for path in (*PREVIEWS, "/messages", "/keys", "/pauses", "/failures", "/duplicates", f"/messages/{id_}"):
        for language in ("en", "zh"):
            answer = browser.get(path.replace("#", str(id_)), **{"accept-language": language})
            assert answer.status_code == 200, (path, answer.text)
            tree = document(answer.text)
            said_in[language] = "".join(tree.itertext())
            assert len(list(elements(tree, "h1"))) == 1
            assert all(list(elements(table, "caption")) for table in elements(tree, "table"))
            for field in elements(tree, "input", "select", "textarea"):
                assert field.get("type") == "hidden" or labelled(tree, field), path
            ids = [one.get("id") for one in tree.iter() if one.get("id")]
            assert len(ids) == len(set(ids))
            assert not list(elements(tree, "style", "img"))
            assert [bool(one.text) for one in elements(tree, "script")] == [False]
            assert not re.search("[\u202e\u0007\u001b]", answer.text)
        assert said_in["en"] != said_in["zh"]
        assert not foreign(tree), path


def test_where_nobody_may_act_there_is_nothing_to_act_with(shop: Shop) -> None:
    """Whatever the login may: neither a button nor a path."""
    (id_,) = shop.failed()
    reading = shop.browser(dashboard_allow_actions=False)
    for path in ("/", "/messages", "/failures", "/pauses", f"/messages/{id_}", "/codes/27"):
        text = reading.get(path).text
        assert "/act/" not in text
        assert 'type="checkbox"' not in text
        assert "This page only reads." in text
    for act in ACTS:
        assert reading.get(f"/act/{act}?id={id_}").status_code == 404
        assert post(reading, f"/act/{act}", pinned=f"{id_}.1", reason="r").status_code == 404
        assert shop.browser().send("POST", f"/api/act/{act}", headers=SAME).status_code == 404


def test_a_login_that_only_reads_is_told_what_to_grant(shop: Shop) -> None:
    ids = shop.failed()
    reading, acting = shop.browser(shop.roles.url("dashboard")), shop.browser()
    path, fields = form(acting.get("/act/retry?state=failed"))
    typed = {**fields, "reason": "r", "actor": "a"}
    assert "/act/" not in reading.get("/messages?state=failed").text
    paused = {"scope": "account:a", "seen": "", "minutes": "", "reason": "r", "actor": "a"}
    refusals = [
        reading.get("/act/retry?state=failed"), post(reading, path, **typed), post(reading, "/act/discard", **{
            name: value for name, value in typed.items() if name != "per_second"}),
        reading.get("/act/pause"), post(reading, "/act/pause", **paused),
    ]  # fmt: skip
    for answer in refusals:
        assert answer.status_code == 403, said(answer)
        assert f'grant relay_operator to "{shop.roles.login("dashboard")}";' in said(answer)
        assert "nothing was changed" in said(answer)
    assert shop.states(ids) == dict.fromkeys(ids, "failed")
    assert shop.ledger() == []


def test_what_postgresql_refuses_is_told_whatever_was_known_of_rights(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A right that was taken away meanwhile: the truth is the refusal."""
    (id_,) = shop.failed()
    login = shop.roles.login("dashboard")
    monkeypatch.setattr("relay.reports.rights", lambda _: Rights(login, frozenset(ACTS)))
    path, fields = form(shop.browser().get("/act/retry?state=failed"))
    reading = shop.browser(shop.roles.url("dashboard"))
    typed = {"reason": "r", "actor": "a"}
    for answer in (
        reading.get("/act/discard?state=failed"),
        post(reading, path, **fields | typed),
        post(reading, path, **fields | {"reason": "", "actor": "a"}),
        post(reading, "/act/pause", scope="account:a", seen="", minutes="", **typed),
        post(reading, "/act/resume", scope="account:a", seen="2026-01-01T00:00:00+00:00", **typed),
        post(reading, "/act/reveal", id=str(id_), **typed),
    ):
        assert answer.status_code == 403, said(answer)
        assert f'grant relay_operator to "{login}";' in said(answer) or f"relay show {id_} --reveal" in said(answer)
    assert (shop.states([id_]), shop.ledger()) == ({id_: "failed"}, [])


def test_who_is_no_actor_looks_on(shop: Shop, browse: Browse, tmp_path: Path) -> None:
    shop.failed()
    browser = shop.browser(**HEADER, dashboard_actors="ann, 李雷 ,bob")
    assert "/act/" in browser.get("/messages?state=failed", **{"x-user": "ann"}).text
    path, fields = form(browser.get("/act/retry?state=failed", **{"x-user": "ann"}))
    for name in ("eve", "Ann", "ann, bob"):
        assert "/act/" not in browser.get("/messages?state=failed", **{"x-user": name}).text
        answer = browser.send("POST", path, data=fields | {"reason": "r"}, headers={**SAME, "x-user": name})
        assert answer.status_code == 403
        assert "RELAY_DASHBOARD_ACTORS names who may" in said(answer)
        assert browser.get("/act/retry?state=failed", **{"x-user": name}).status_code == 403
    assert browser.send("POST", path, data=fields, headers=SAME).status_code == 403, "nobody says who it is"
    assert shop.ledger() == []
    with pytest.raises(ConfigurationError, match="nobody has to say who it is"):
        browse(dashboard_allow_actions=True, dashboard_actors="ann")
    with pytest.raises(ConfigurationError, match="names nobody"):
        browse(dashboard_allow_actions=True, dashboard_actors=" , ", **HEADER)  # of a template without its names
    li = {**SAME, "x-user": "李雷".encode()}
    assert browser.send("POST", path, data=fields | {"reason": "r"}, headers=li).status_code == 200
    assert [row.actor for row in shop.ledger()] == ["李雷"]
    assert browser.send("GET", "/", headers={"x-user": "李雷".encode("gbk")}).status_code == 403, "no UTF-8"


def test_who_has_logged_out_meanwhile_changes_nothing(shop: Shop, tmp_path: Path) -> None:
    ids = shop.failed()
    (tmp_path / "users").write_text(line())
    browser = shop.browser(dashboard_users_file=tmp_path / "users", dashboard_actors="ann")
    assert post(browser, "/login", name="ann", password="correct horse").headers["location"] == "/"
    path, fields = form(browser.get("/act/retry?state=failed"))
    session = dict(browser.cookies)
    post(browser, "/logout")
    browser.cookies.update(session)
    answer = post(browser, path, **fields | {"reason": "r"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=%2F&undone=1")
    assert "nothing was done. Log in" in said(browser.get("/login?next=%2F&undone=1"))
    assert "什么也没有做" in browser.get("/login?next=%2F&undone=1", **{"accept-language": "zh"}).text
    assert "This page only reads." not in said(browser.get("/login"))
    assert browser.get("/act/retry?state=failed").headers["location"] == "/login?next=%2Fact%2Fretry%3Fstate%3Dfailed"
    assert (shop.states(ids), shop.ledger()) == ({ids[0]: "failed"}, [])


def test_a_preview_that_is_asked_wrongly_says_so(shop: Shop, database_url: str) -> None:
    browser = shop.browser(database_url)
    assert {path: browser.get(path).status_code for path in ASKED_WRONG} == dict.fromkeys(ASKED_WRONG, 400)


def test_what_is_no_form_of_ours_changes_nothing(shop: Shop) -> None:
    """A table of attacks: each is refused with its status, and nothing has happened after all of them."""
    ids = shop.failed(2)
    browser = shop.browser()
    path, fields = form(browser.get("/act/retry?state=failed"))
    whole = {**fields, "reason": "r", "actor": "a"}
    pinned = whole["pinned"]
    form_type = {"content-type": "application/x-www-form-urlencoded", **SAME}
    attacks: list[tuple[int, dict[str, Any]]] = [
        (403, {"data": whole}),
        (403, {"data": whole, "headers": {"sec-fetch-site": "cross-site"}}),
        (403, {"data": whole, "headers": {"sec-fetch-site": "same-site"}}),
        (403, {"data": whole, "headers": {"origin": "https://evil.example"}}),
        (403, {"data": whole, "headers": {"origin": "null"}}),
        (403, {"data": whole, "headers": {"origin": "null", "host": ""}}),
        (403, {"data": whole, "headers": {"origin": "http://["}}),
        (415, {"json": whole, "headers": SAME}),
        (415, {"files": {"pinned": pinned.encode()}, "data": {"reason": "r"}, "headers": SAME}),
        (415, {"content": b"", "headers": SAME}),
        (400, {"content": b"\xff\xfe", "headers": form_type}),
        (400, {"content": urlencode(whole) + "&reason=other", "headers": form_type}),
        (400, {"content": urlencode(whole) + "&a=1" * 50, "headers": form_type}),
        (413, {"content": "pinned=" + "1.1+" * 300_000, "headers": form_type}),
        *(
            (400, {"data": {**whole, **changed}, "headers": SAME})
            for changed in (
                {"pinned": ""}, {"pinned": "1"}, {"pinned": "x.1"}, {"pinned": "1.x"}, {"pinned": "-1.1"},
                {"pinned": "0.1"}, {"pinned": pinned + " " + pinned}, {"pinned": pinned + " "}, {"pinned": "1.1,2.2"},
                {"pinned": "99999999999999999999.1"}, {"pinned": "1.99999999999999999999"}, {"pinned": "١.1"},
                {"pinned": " ".join(f"{n}.1" for n in range(1, 5_002))}, {"pinned": pinned + "\0"},
                {"reason": ""}, {"reason": "\n \t"}, {"reason": "x" * 2_001}, {"reason": "a\0b"},
                {"actor": ""}, {"actor": "a\nb"}, {"actor": "\u202ea"}, {"actor": "x" * 201}, {"per_second": "-1"},
                {"ids": "1"}, {"verb": "discard"}, {"id": "1"}, {"state": "x" * 1_001},
            )
        ),
    ]  # fmt: skip
    for status, request in attacks:
        answer = browser.send("POST", path, **request)
        assert answer.status_code == status, (request, answer.text)
        assert answer.headers["cache-control"] == "no-store"
        assert "This page only reads." not in answer.text
    for method in ("PUT", "DELETE", "PATCH"):
        assert browser.send(method, path, headers=SAME).status_code == 405
    assert shop.states(ids) == dict.fromkeys(ids, "failed")
    assert shop.ledger() == []
    assert "2 messages are to be sent again." in said(post(browser, path, **whole))


@pytest.mark.parametrize("verb", ["retry", "discard"])
def test_the_filters_of_a_form_are_read_as_those_of_a_list(shop: Shop, verb: str) -> None:
    """With a reason they would stand in the ledger, without one on the page; a time is kept with its zone."""
    ids = shop.failed()
    browser = shop.browser()
    path, fields = form(browser.get(f"/act/{verb}?state=failed&since=2026-01-01T08:00"))
    for wrong in (
        {"state": "nope"}, {"state": "x" * 1_001}, {"since": "garbage"}, {"until": "0001-01-01"}, {"until": "infinity"},
        {"topic": "x" * 1_001}, {"code": "a\0"},
    ):  # fmt: skip
        (name,) = wrong
        assert browser.get(f"/act/{verb}?{urlencode(wrong)}").status_code == 400, name
        for reason in ("r", ""):
            answer = post(browser, path, **{**fields, **wrong, "reason": reason, "actor": "a"})
            assert (answer.status_code, name in said(answer)) == (400, True), (name, answer.text)
    assert (shop.states(ids), shop.ledger()) == (dict.fromkeys(ids, "failed"), [])
    post(browser, f"{path}?zone=Asia/Shanghai", **{**fields, "since": "2026-01-01T08:00", "reason": "r", "actor": "a"})
    assert shop.ledger()[0].selection["stated"] == {
        "via": "dashboard", "state": "failed", "since": "2026-01-01T08:00:00+08:00"
    }  # fmt: skip


def test_versions_made_up_by_hand_change_nothing(shop: Shop) -> None:
    ids = shop.failed(2)
    browser = shop.browser()
    path, fields = form(browser.get("/act/discard?state=failed"))
    made_up = re.sub(r"\.(\d+)", lambda found: f".{int(found[1]) + 1}", fields["pinned"])
    answer = post(browser, path, **{**fields, "pinned": made_up, "reason": "r", "actor": "a"})
    assert "Nothing was changed." in said(answer)
    assert shop.states(ids) == dict.fromkeys(ids, "failed")
    for version in ("9223372036854775807", "-9223372036854775807"):
        assert post(
            browser, path, **{**fields, "pinned": f"{ids[0]}.{version}", "reason": "r", "actor": "a"}
        ).is_success
    assert [row.count for row in shop.ledger()] == [0, 0, 0]


def test_markup_in_a_reason_and_a_name_is_text(shop: Shop) -> None:
    (id_,) = shop.failed()
    browser = shop.browser()
    preview = browser.get("/act/discard?state=failed")
    mistyped = apply(browser, preview, reason=MARKUP, actor="")
    assert MARKUP not in mistyped.text
    assert form(mistyped)[1]["reason"].strip() == MARKUP
    apply(browser, preview, reason=HOSTILE, actor=MARKUP)
    assert shop.ledger()[0].reason == HOSTILE
    for path in ("/ledger", f"/messages/{id_}", "/act/retry?code=relay.discarded"):
        text = browser.get(path).text
        assert text.count("<script") == 1, "ours"
        assert not re.search("[\u202e\u0007\u001b]", text)
    assert MARKUP in said(browser.get("/ledger"))


def test_pauses_sent_by_hand_are_read_with_care(shop: Shop) -> None:
    browser = shop.browser()
    whole = {"scope": "account:a", "seen": "", "minutes": "15", "reason": "r", "actor": "a"}
    for changed in (
        {"minutes": "0"}, {"minutes": "-5"}, {"minutes": "1.5"}, {"minutes": "999999999"}, {"minutes": "x"},
        {"scope": ""}, {"scope": "a"}, {"scope": "account:\n"}, {"seen": "yesterday"}, {"seen": "2026-01-01"},
        {"seen": "infinity"}, {"until": "1"}, {"reason": ""},
    ):  # fmt: skip
        assert post(browser, "/act/pause", **{**whole, **changed}).status_code == 400, changed
    assert post(browser, "/act/resume", scope="account:a", seen="", reason="r", actor="a").status_code == 400
    assert (shop.rows.one("select count(*) from relay.pause"), shop.ledger()) == (0, [])


def test_every_reason_of_the_database_is_known_in_both_languages() -> None:
    golden = Path(__file__).parents[2] / "golden" / "functions"
    told = re.findall(r"'(it[ s][^']*|there is no such message)'", "".join(
        one.read_text() for name in ("why_not", "lock_messages", "retry", "discard") for one in golden.glob(f"{name}*")
    ))  # fmt: skip
    assert len(told) >= 10
    unknown = {one for one in told if not one.startswith(tuple(KNOWN))}
    of_redacting = {"it is pending and would be sent without its content; discard it first"}
    assert unknown == of_redacting, "relay/dashboard/actions/reasons.py"
    assert all(key in texts for key in KNOWN.values() for texts in TEXTS.values())


def test_a_name_that_no_page_is_asked_under_is_told_with_the_nearest(shop: Shop) -> None:
    browser = shop.browser()
    for path, said_of_it in (
        ("/messages?stat=failed", "did you mean “state”?"), ("/?spam=hour", "did you mean “span”?"),
        ("/ledger?page=2", "it knows: older, newer."), ("/days?x=1", "it knows: -."), ("/api/calls?stat=open", "state"),
    ):  # fmt: skip
        answer = browser.get(path)
        assert answer.status_code == 400, path
        assert said_of_it in said(answer)
    assert browser.get("/messages?lang=zh").headers["content-language"] == "zh"
    assert "lang%3Dzh" not in browser.get("/messages?lang=zh&state=done").text, "another language can be chosen"
