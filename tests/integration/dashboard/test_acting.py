"""What people do on the pages, by a login that may: look first, then exactly that, once, and in the ledger."""

from __future__ import annotations

import re
import threading
import time
from datetime import timedelta

import html5lib
import pytest

from tests.fixtures.acting import HEADER, SAME, Shop, apply, form, forms, post, said
from tests.fixtures.dashboard import Browser

CALL_OF_ALL = """
insert into relay.call (account, worker, message_ids, lease_until)
select 'default', 'w', array_agg(id), now() from relay.outbox returning id
"""
FAILED_IN_IT = """
insert into relay.attempt (message_id, call_id, result_index, outcome, error_code)
select id, :call, 0, 'failed', 'isv.x' from relay.outbox where error_code is not null
"""


def test_what_failed_by_a_code_is_retried_from_a_preview(shop: Shop) -> None:
    ids, others = shop.failed(3, "isv.x"), shop.failed(2, "isv.y")
    browser = shop.browser()
    preview = browser.get("/act/retry?state=failed&code=isv.x")
    assert "3 messages would be sent again." in said(preview)
    assert "Retry 3 messages" in said(preview)
    assert shop.ledger() == []
    done = apply(browser, preview, reason="the platform was mended", actor="ann")
    assert "3 messages are to be sent again." in said(done)
    assert shop.states(ids + others) == dict.fromkeys(ids, "pending") | dict.fromkeys(others, "failed")
    (row,) = shop.ledger()
    assert (row.action, row.actor, row.reason, row.message_ids) == ("retry", "ann", "the platform was mended", ids)
    assert row.selection["stated"] == {"via": "dashboard", "state": "failed", "code": "isv.x"}
    assert f"/ledger?older=%5B{row.id + 1}%5D" in done.text
    assert f'<th scope="row">{row.id}</th>' in browser.get(f"/ledger?older=[{row.id + 1}]").text


def ticked(browser: Browser, path: str) -> list[str]:
    """The rows of a list that can be ticked."""
    tree = html5lib.parse(browser.get(path).text, namespaceHTMLElements=False)
    (found,) = (one for one in tree.iter("form") if one.get("class") == "selecting")
    assert {one.get("formaction") for one in found.iter("button")} == {"/act/retry", "/act/discard"}
    return [one.get("value") for one in found.iter("input") if one.get("name") == "id"]


def test_rows_of_a_list_are_ticked_and_what_cannot_be_done_is_told(shop: Shop) -> None:
    failed, held, pending = shop.failed(2), shop.held(2, key="k"), shop.rows.add(2)
    browser = shop.browser()
    rows = ticked(browser, "/messages")
    assert sorted(map(int, rows)) == sorted(failed + held + pending)
    assert sorted(map(int, ticked(browser, "/duplicates"))) == held
    assert ticked(browser, "/keys") == [str(held[0])]
    preview = browser.get("/act/retry?" + "&".join(f"id={one}" for one in rows))
    words = said(preview)
    assert "4 messages would be sent again." in words
    assert "May arrive twice 2" in words
    assert "Ordering keys among them 1" in words
    assert f"it is pending already 2 {pending[0]} {pending[1]}" in words
    assert "4 messages are to be sent again." in said(apply(browser, preview))
    (row,) = shop.ledger()
    assert row.selection["stated"] == {"via": "dashboard", "ids": sorted(failed + held)}


def test_a_held_message_that_the_platform_has_is_discarded_from_page_one(shop: Shop) -> None:
    (id_,) = shop.held()
    browser = shop.browser()
    assert "/act/retry?state=held" in browser.get("/").text
    assert "Send again…" in browser.get("/duplicates").text
    assert "/act/discard?state=held" in browser.get("/").text
    assert f"/act/discard?id={id_}" in browser.get(f"/messages/{id_}").text
    assert "1 message is discarded." in said(apply(browser, browser.get("/act/discard?state=held")))
    assert shop.rows.one("select error_code from relay.outbox where id = :id", id=id_) == "relay.discarded"
    assert "/act/" not in re.sub(r"/act/reveal\S*", "", browser.get("/messages?state=held").text)


def test_what_somebody_discarded_or_archived_is_no_part_of_all_that_fit(shop: Shop) -> None:
    kept, gone = shop.failed(2), shop.failed(3, "relay.discarded")
    browser = shop.browser()
    assert "2 messages would be sent again." in said(browser.get("/act/retry?state=failed"))
    assert "2 messages would be sent again." in said(browser.get("/act/retry?topic=t"))
    assert "3 messages would be sent again." in said(browser.get("/act/retry?state=failed&code=relay.discarded"))
    assert "2 messages would be discarded." in said(browser.get("/act/discard?topic=t"))
    assert set(kept).isdisjoint(gone)


def test_no_button_stands_for_more_than_its_row(shop: Shop) -> None:
    """What failed without a code has none in its address: it would be everything that failed."""
    shop.failed(3)
    shop.failed(2, None)
    browser = shop.browser()
    for path in ("/failures", "/"):
        links = re.findall(r'href="/act/(?:retry|discard)\?([^"]*)"', browser.get(path).text)
        assert set(links) == {"state=failed&amp;code=isv.x"}, path
    call = shop.rows.one(CALL_OF_ALL)
    shop.rows.run(FAILED_IN_IT, call=call)
    preview = re.findall(r'href="(/act/retry\?id=[^"]*)"', browser.get(f"/calls/{call}").text)[0].replace("&amp;", "&")
    assert preview.count("id=") == 3


def test_page_one_knows_at_once_what_was_done_here(shop: Shop) -> None:
    shop.failed(2)
    browser = shop.browser()
    assert "/act/retry?state=failed" in browser.get("/").text
    apply(browser, browser.get("/act/retry?state=failed"))
    assert "/act/retry?state=failed" not in browser.get("/", **{"x-relay-live": "1"}).text, "in another tab"
    assert "/act/retry?state=failed" not in browser.get("/").text


def test_what_a_person_discarded_is_no_failure_of_the_last_hour(shop: Shop) -> None:
    """Neither in the sentence of page one nor in its number."""
    shop.failed(3)
    browser = shop.browser()
    number = "failed, last hour (not discarded)"
    assert f"{number} 3 " in said(browser.get("/"))
    apply(browser, browser.get(f"/act/discard?id={shop.failed()[0]}"))
    assert f"{number} 3 " in said(browser.get("/"))
    apply(browser, browser.get("/act/discard?state=failed"))
    assert f"{number} 0 " in said(browser.get("/"))
    assert "最近一小时失败（不含人工关闭） 0 " in said(browser.get("/", **{"accept-language": "zh"}))


def test_a_rate_spreads_what_is_sent_again(shop: Shop) -> None:
    first, *_, last = shop.failed(11)
    browser = shop.browser()
    preview = browser.get("/act/retry?state=failed")
    for wrong in ("0", "-1", "nan", "inf", "1e9", "x", "1_000"):
        answer = apply(browser, preview, per_second=wrong)
        assert answer.status_code == 400
        assert "That is no rate" in answer.text
        assert form(answer)[1]["per_second"] == wrong
    apply(browser, preview, per_second="2")
    assert shop.rows.message(last).available_at - shop.rows.message(first).available_at == timedelta(seconds=5)
    assert shop.ledger()[0].selection["per_second"] == 2


def test_what_was_typed_is_kept_and_nothing_is_done_without_a_reason(shop: Shop) -> None:
    shop.failed(2)
    browser = shop.browser()
    preview = browser.get("/act/retry?state=failed")
    answer = apply(browser, preview, reason="  ", actor="ann", per_second="3")
    assert answer.status_code == 400
    assert "Say why" in answer.text
    assert form(answer)[1] == form(preview)[1] | {"actor": "ann", "per_second": "3"}
    nobody = apply(browser, preview, reason="so\nthat", actor="")
    assert nobody.status_code == 400
    assert form(nobody)[1]["reason"].strip() == "so\nthat"
    assert shop.ledger() == []
    apply(browser, nobody, reason="so\r\nthat\r\n" + "x" * 1_990, actor="ann")
    assert shop.ledger()[0].reason == "so\nthat\n" + "x" * 1_990, "lines as they were typed"


def test_a_form_with_a_mistake_counts_what_is_still_as_it_was_seen(shop: Shop) -> None:
    ids = shop.failed(3)
    browser = shop.browser()
    preview = browser.get("/act/retry?state=failed")
    apply(browser, browser.get(f"/act/discard?id={ids[0]}"))
    answer = apply(browser, preview, reason="")
    assert answer.status_code == 400
    assert "Retry 2 messages" in said(answer)
    assert f"it has changed since you looked: look again 1 {ids[0]}" in said(answer)


def test_who_acts_on_this_machine_is_asked_once(shop: Shop) -> None:
    shop.failed(1, "a")
    shop.failed(1, "b")
    browser = shop.browser()
    preview = browser.get("/act/retry?code=a")
    assert "@" in form(preview)[1]["actor"], "the user at the host, as on the command line"
    answer = apply(browser, preview, actor="安娜 <b>")
    assert "HttpOnly" in answer.headers["set-cookie"]
    assert form(browser.get("/act/retry?code=b"))[1]["actor"] == "安娜 <b>"


def test_who_has_logged_in_acts_by_that_name_alone(shop: Shop) -> None:
    shop.failed()
    browser = shop.browser(**HEADER)
    ann = {**SAME, "x-user": "ann"}
    path, fields = form(browser.get("/act/retry?state=failed", **ann))
    assert "actor" not in fields
    forged = browser.send("POST", path, data=fields | {"reason": "r", "actor": "bob"}, headers=ann)
    assert (forged.status_code, shop.ledger()) == (400, [])
    assert browser.send("POST", path, data=fields | {"reason": "r"}, headers=ann).status_code == 200
    assert [row.actor for row in shop.ledger()] == ["ann"]


def test_who_came_first_is_told_to_who_came_second(shop: Shop) -> None:
    """The one retries what the other discarded meanwhile, and learns of it; the ledger has both."""
    ids = shop.failed(3)
    browser = shop.browser()
    preview, other = browser.get("/act/retry?state=failed"), browser.get(f"/act/discard?id={ids[0]}")
    apply(browser, other, actor="bob")
    answer = apply(browser, preview, actor="ann")
    assert "2 messages are to be sent again." in said(answer)
    assert f"it has changed since you looked: look again 1 {ids[0]}" in said(answer)
    assert shop.states(ids) == {ids[0]: "failed", ids[1]: "pending", ids[2]: "pending"}
    assert [(row.actor, row.action, row.message_ids) for row in shop.ledger()] == [
        ("bob", "discard", ids[:1]), ("ann", "retry", ids[1:]),
    ]  # fmt: skip


def test_a_form_that_is_sent_again_does_nothing_twice(shop: Shop) -> None:
    ids = shop.failed(2)
    browser = shop.browser()
    preview = browser.get("/act/retry?state=failed")
    apply(browser, preview)
    shop.rows.run("update relay.outbox set status = 'failed', finished_at = now() where id = any (:ids)", ids=ids)
    again = apply(browser, preview)
    assert "Nothing was changed." in said(again)
    assert "it has changed since you looked: look again 2" in said(again)
    assert shop.states(ids) == dict.fromkeys(ids, "failed")
    assert [row.count for row in shop.ledger()] == [2, 0], "that somebody tried is in the ledger, too"


def test_two_people_at_once_do_each_message_once(shop: Shop) -> None:
    ids = shop.failed(200)
    browsers = {name: shop.browser(**HEADER) for name in ("ann", "bob")}
    sent = {name: form(one.get("/act/retry?state=failed", **{"x-user": name})) for name, one in browsers.items()}
    begin, answers = threading.Barrier(2), {}

    def press(name: str) -> None:
        path, fields = sent[name]
        begin.wait(30)
        headers = {**SAME, "x-user": name}
        answers[name] = browsers[name].send("POST", path, data=fields | {"reason": f"by {name}"}, headers=headers)

    people = [threading.Thread(target=press, args=(name,)) for name in browsers]
    for one in people:
        one.start()
    for one in people:
        one.join(60)
    assert {answer.status_code for answer in answers.values()} == {200}
    rows = shop.ledger()
    assert {row.actor for row in rows} == {"ann", "bob"}
    assert sorted(id_ for row in rows for id_ in row.message_ids or ()) == ids
    assert sum(row.count for row in rows) == 200
    assert any("Was left alone" in said(answer) for answer in answers.values())


def test_a_preview_of_very_many_is_bounded_and_says_so(shop: Shop) -> None:
    ids = shop.failed(20_000)
    browser = shop.browser()
    began = time.process_time()
    preview = browser.get("/act/retry?state=failed")
    assert time.process_time() - began < 2
    assert "5,000 messages would be sent again." in said(preview)
    assert "There are more: at most 5,000 messages at once" in said(preview)
    assert len(preview.content) < 300_000
    assert "5,000 messages are to be sent again." in said(apply(browser, preview))
    assert set(shop.states(ids[:5_000]).values()) == {"pending"}
    assert set(shop.states(ids[5_000:]).values()) == {"failed"}


def test_an_account_is_paused_and_resumed_as_it_was_looked_at(shop: Shop) -> None:
    shop.rows.add(3, account="shop <1>")
    browser = shop.browser()
    assert "/act/pause" in browser.get("/pauses").text
    form_of = browser.get("/act/pause?kind=account&name=shop+%3C1%3E")
    assert "Messages that wait in this account 3" in said(form_of)
    assert "It is paused." in said(apply(browser, form_of, minutes="60", actor="ann"))
    first = browser.get("/act/resume?scope=account:shop+%3C1%3E")
    assert "account:shop <1>" in said(browser.get("/"))
    stale = apply(browser, form_of, minutes="15", actor="bob")
    assert "somebody paused or resumed it meanwhile" in said(stale)
    assert f"Row {shop.ledger()[-1].id} of the ledger" in said(stale)
    again = browser.get("/act/pause?scope=account:shop+%3C1%3E")
    assert "It is paused." in said(apply(browser, again, reason="longer", minutes=""))
    late = apply(browser, first)
    assert "somebody paused or resumed it meanwhile" in said(late), "it is another pause"
    assert f"Row {shop.ledger()[-1].id} of the ledger" in said(late)
    assert "It is resumed." in said(apply(browser, browser.get("/act/resume?scope=account:shop+%3C1%3E")))
    assert forms(browser.get("/act/resume?scope=account:shop+%3C1%3E")) == []
    rows = [(row.action, row.actor, "left_alone_why" in row.selection) for row in shop.ledger()]
    assert [row[0] for row in rows] == ["pause", "pause", "pause", "resume", "resume"]
    assert [row[2] for row in rows] == [False, True, False, True, False], "who came too late is in the ledger, too"
    assert rows[1] == ("pause", "bob", True)
    assert "it has changed since you looked" in said(browser.get("/ledger"))


def test_pauses_of_page_one_lead_to_their_resume(shop: Shop) -> None:
    shop.rows.run(
        "insert into relay.pause (scope, reason, error_code, by) values ('account:a', 'session', '27', 'w'), "
        "('app:123', 'too many', '7', 'w')"
    )
    browser = shop.browser()
    for path in ("/", "/pauses"):
        text = browser.get(path).text
        assert "/act/resume?scope=account%3Aa" in text
        assert "/act/resume?scope=app%3A123" in text


def test_who_replaces_the_pause_of_a_credential_is_told_that_it_no_longer_ends_by_itself(shop: Shop) -> None:
    shop.rows.run(
        "insert into relay.pause (scope, reason, error_code, credential, by) values "
        "('account:a', 'session', '27', 'f', 'w'), ('account:b', 'moving', null, null, 'ann')"
    )
    browser = shop.browser()
    replaced = "a new credential would end that one by itself"
    assert replaced in said(browser.get("/act/pause?scope=account:a"))
    assert replaced not in said(browser.get("/act/pause?scope=account:b"))
    assert replaced not in said(browser.get("/act/resume?scope=account:a"))


def test_a_content_is_shown_once_the_ledger_has_it(shop: Shop, database_url: str) -> None:
    """By its owner alone; whoever lacks that right is told what to type."""
    (id_,) = shop.rows.add(content='{"phone": "13812345678", "b": "<script>"}')
    owner = shop.browser(database_url)
    assert f"/act/reveal?id={id_}" in owner.get(f"/messages/{id_}").text
    preview = owner.get(f"/act/reveal?id={id_}")
    assert "13812345678" not in preview.text
    answer = apply(owner, preview, reason="a customer asked", actor="ann")
    assert '{"phone": "13812345678", "b": "<script>"}' in said(answer)
    assert "<script>" not in answer.text
    assert answer.headers["cache-control"] == "no-store"
    (row,) = shop.ledger()
    assert (row.action, row.actor, row.reason, row.message_ids) == ("reveal", "ann", "a customer asked", [id_])
    operator = shop.browser()
    assert "/act/reveal" not in operator.get(f"/messages/{id_}").text
    for refused in (operator.get(f"/act/reveal?id={id_}"), post(operator, "/act/reveal", id=str(id_),
                                                               reason="r", actor="a")):  # fmt: skip
        assert refused.status_code == 403
        assert f"relay show {id_} --reveal --reason ..." in said(refused)
        assert "13812345678" not in refused.text
    assert len(shop.ledger()) == 1


@pytest.mark.parametrize("name", ["𠮷" * 200, "ann", "安娜 (ops)"], ids=("longest", "plain", "Chinese"))
def test_the_name_that_an_application_gives_is_kept_whole(shop: Shop, name: str) -> None:
    """The longest in characters is the longest in bytes, too, and the ledger takes it."""
    browser = shop.browser(user=lambda _: f" {name} ")
    done = apply(browser, browser.get("/act/pause?scope=account:shop"))
    assert done.status_code == 200
    assert [row.actor for row in shop.ledger()] == [name]
    assert shop.rows.one("select by from relay.pause") == name
