"""On Chinese pages a reason of the relay's own is Chinese, with what is stored beside it; a person's stays as it is."""

from __future__ import annotations

import html5lib
import pytest

from relay.reasons import OF_PAUSES, THROTTLED
from tests.fixtures.acting import Shop, said

CHINESE = {"accept-language": "zh"}
REFUSED = "credentials refused: Invalid session (27)"
PAUSE = """
insert into relay.pause (scope, until, reason, error_code, by)
values (:scope, now() + cast(:lasting as interval), :reason, :code, 'w-1')
"""


def small(text: str) -> list[str]:
    """What stands small on a page in English."""
    tree = html5lib.parse(text, namespaceHTMLElements=False)
    return ["".join(one.itertext()) for one in tree.iter("small") if one.get("lang") == "en"]


def test_a_pause_of_the_relay_tells_why_in_chinese_wherever_it_is_shown(shop: Shop) -> None:
    (id_,) = shop.rows.add(1, account="shop")
    shop.rows.run(PAUSE, scope="account:shop", lasting=None, reason=REFUSED, code="27")
    browser = shop.browser()
    why = "凭证被拒绝：SessionKey 无效：已过期、授权已取消，或属于其他应用"
    for path in ("/", "/pauses", f"/messages/{id_}", "/act/resume?scope=account:shop", "/act/pause?scope=account:shop"):
        page = browser.get(path, **CHINESE)
        assert why in said(page), path
        assert set(small(page.text)) == {REFUSED}, path
        english = browser.get(path)
        assert REFUSED in said(english), path
        assert (small(english.text), why in english.text) == ([], False), path
    assert f"最早一个的原因：{why}" in said(browser.get("/", **CHINESE))
    shop.rows.run("delete from relay.pause")
    assert why in said(browser.get("/pauses?kind=ended", **CHINESE))


@pytest.mark.parametrize("reason", OF_PAUSES, ids=lambda one: one.begins)
def test_each_of_them_also_without_a_code_or_with_one_nobody_knows(shop: Shop, reason: object) -> None:
    assert reason in OF_PAUSES
    for code in (None, "what-is-this"):
        shop.rows.run("delete from relay.pause")
        stored = reason.written(said="平台说", account="'shop'", why="no such file")  # type: ignore[attr-defined]
        shop.rows.run(PAUSE, scope="account:shop", lasting="1 hour", reason=stored, code=code)
        words = said(shop.browser().get("/pauses", **CHINESE))
        assert f"{reason.zh} {stored} " in words  # type: ignore[attr-defined]


def test_what_a_person_wrote_stays_as_it_is(shop: Shop) -> None:
    (id_,) = shop.failed()
    browser = shop.browser()
    shop.rows.run(PAUSE, scope="account:shop", lasting=None, reason="maintenance until the evening", code=None)
    shop.rows.run("select relay.retry(:ids, 'a worker started', 'ann', null, null)", ids=[id_])
    for path, words in (("/", "maintenance"), ("/pauses", "maintenance"), ("/ledger", "a worker started")):
        page = browser.get(path, **CHINESE)
        assert words in said(page)
        assert small(page.text) == [], path


def test_the_ledger_tells_in_chinese_what_the_relay_did_by_itself(shop: Shop) -> None:
    shop.rows.run("select relay.record_start('w-1', '1', '{}')")
    page = shop.browser().get("/ledger", **CHINESE)
    assert "worker 已启动 a worker started" in said(page)
    assert small(page.text) == ["a worker started"]


def test_words_of_the_platform_that_are_no_english_are_not_called_english(shop: Shop) -> None:
    shop.rows.run(PAUSE, scope="app:1", lasting=None, reason=THROTTLED.written(said="调用次数超限"), code="7")
    page = shop.browser().get("/pauses", **CHINESE)
    assert "throttled by the platform: 调用次数超限" in said(page)
    assert small(page.text) == []
