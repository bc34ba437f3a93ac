"""No text makes a page large, whatever column it stands in: the tables bound what applications and workers write,
and not what was there before, nor what their owner writes.
"""

from __future__ import annotations

import re

import pytest
from sqlalchemy import Engine, Text, create_engine, text
from sqlalchemy.pool import NullPool

from relay import windows
from tests.fixtures.acting import Shop, apply, said
from tests.fixtures.dashboard import message_ids, seed
from tests.integration.dashboard.test_pages import PAGES

MEGABYTE, INDEXED = 1_000_000, 60_000  # the second is what an index takes of letters that are all alike
MOST_BYTES = 300_000
# A closed list of words each, or none of the table's own texts.
CLOSED = {"status", "outcome", "ended", "content_sha256"}
IN_AN_INDEX = {"account", "ordering_key", "dedupe_key", "scope", "request_id", "error_code", "app_key"}


def texts() -> dict[str, list[str]]:
    """Table → its columns that hold text, of all that people read through windows."""
    found = {}
    for window in windows._metadata.sorted_tables:
        named = [column.name for column in window.c if type(column.type) is Text and column.name not in CLOSED]
        found[window.name.removeprefix("read_")] = named
    return found


@pytest.fixture
def swollen(shop: Shop, superuser: Engine, database_url: str) -> dict[int, int]:
    """Something of everything, with a megabyte in each of its texts; ids of its messages."""
    engine = create_engine(database_url, poolclass=NullPool)
    seed(engine)
    with engine.connect() as connection:
        ids = message_ids(connection)
    with superuser.begin() as connection:
        connection.execute(text("set local session_replication_role = replica"))  # no trigger has a say
        for table, columns in texts().items():
            for column in columns:
                size = INDEXED if column in IN_AN_INDEX else MEGABYTE
                swell = f'"{column}" = concat(left("{column}", 12), repeat(:x, {size}))'
                connection.execute(text(f"update relay.{table} set {swell}"), {"x": "x"})
    engine.dispose()
    return ids


def test_no_page_is_large_for_a_large_text(shop: Shop, swollen: dict[int, int]) -> None:
    assert sum(map(len, texts().values())) > 40
    browser = shop.browser()
    for path in (*PAGES, "/messages/#6", "/messages/#10", "/act/retry?state=failed", "/act/discard?state=pending"):
        for language in ("en", "zh"):
            page = browser.get(
                re.sub(r"#(\d+)", lambda one: str(swollen[int(one[1])]), path), **{"accept-language": language}
            )
            assert page.status_code == 200, path
            assert len(page.content) < MOST_BYTES, path
            assert not re.search(r"x{2001}", page.text), path
            assert max(map(len, re.findall(r'(?:href|value)="([^"]*)"', page.text))) < 10_000, path


def test_what_is_cut_says_so_and_names_the_sql_that_gives_all(
    shop: Shop, swollen: dict[int, int], database_url: str
) -> None:
    id_ = swollen[10]
    browser = shop.browser(database_url)
    more = "… and 998,012 more characters: the SQL at the end of this page gives all."  # of a megabyte and twelve
    for path, sql in ((f"/messages/{id_}", f"audit_message where id = {id_}"), ("/calls/6", "audit_call where id = 6")):
        page = said(browser.get(path))
        assert "more characters: the SQL at the end of this page gives all." in page, path
        assert sql in page, path
    shop.rows.run("update relay.outbox set error_message = repeat('x', 1000012) where id = :id", id=id_)
    assert more in said(browser.get(f"/messages/{id_}"))
    revealed = apply(browser, browser.get(f"/act/reveal?id={id_}"))
    assert "870,012 more characters: the SQL at the end" in said(revealed)
    assert f"relay.attempt where message_id = {id_}" in said(revealed)
    assert len(revealed.content) < MOST_BYTES


def test_the_preview_of_a_pause_is_small_too(shop: Shop, swollen: dict[int, int]) -> None:
    browser = shop.browser()
    shop.rows.run("delete from relay.pause where scope not like 'account:%'")
    shop.rows.run("update relay.pause set scope = 'account:shop'")
    for verb in ("pause", "resume"):
        preview = browser.get(f"/act/{verb}?scope=account:shop")
        assert len(preview.content) < MOST_BYTES
        assert "audit_pause where scope = 'account:shop'" in said(preview)
    assert apply(browser, preview).status_code == 200
    assert shop.rows.one("select count(*) from relay.pause") == 0
    assert swollen
