"""Acting where something is in the way: a lock, a time-out, a database that is gone, a pooler, settings of a role."""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

import relay
from relay.assembly.dashboard import ACTING_THREADS
from relay.dashboard.languages import TEXTS
from relay.embedded import EmbeddedPostgres
from tests.fixtures import hostility
from tests.fixtures.acting import SAME, Shop, apply, form, said
from tests.fixtures.dashboard import Browse
from tests.fixtures.database import Server
from tests.fixtures.pooler import needs_pgbouncer, pgbouncer
from tests.fixtures.processes import StartRelay
from tests.fixtures.rows import Rows
from tests.fixtures.waiting import eventually

FAIL = "update relay.outbox set status = 'failed', finished_at = now(), error_code = 'isv.x'"


def test_who_keeps_a_message_locked_is_named_and_nothing_is_changed(
    shop: Shop, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.acting.LOCK_SECONDS", 0.2)
    ids = shop.failed(2)
    browser = shop.browser(database_url)
    preview = browser.get("/act/retry?state=failed")
    with shop.rows.engine.begin() as connection:
        connection.execute(text("select from relay.outbox where id = :id for update"), {"id": ids[1]})
        answer = apply(browser, preview)
    assert answer.status_code == 503
    assert TEXTS["en"]["trouble.locked_acting"] in said(answer)
    assert "no message is retried, nothing was changed" in said(answer)
    assert shop.states(ids) == dict.fromkeys(ids, "failed")
    assert "2 messages are to be sent again." in said(apply(browser, preview)), "the same form, sent once more"


def test_who_waits_for_a_lock_keeps_no_page_from_anybody(shop: Shop, database_url: str) -> None:
    ids = shop.failed(2)
    browser = shop.browser(database_url)
    preview = browser.get("/act/retry?state=failed")
    waiting = "select 1 from pg_stat_activity where application_name = 'relay-dashboard' and wait_event_type = 'Lock'"
    with ThreadPoolExecutor(5) as people, shop.rows.engine.begin() as connection:
        connection.execute(text("select from relay.outbox where id = any (:ids) for update"), {"ids": ids})
        acts = [people.submit(apply, browser, preview) for _ in range(5)]
        eventually(lambda: len(shop.rows.read(waiting)) == ACTING_THREADS)
        assert browser.get("/pauses").status_code == 200
        assert not any(act.done() for act in acts)
    assert sorted("2 messages are to be sent again." in said(act.result()) for act in acts) == [*[False] * 4, True]


def test_an_act_that_takes_too_long_is_ended_whole(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.operators.statements.RETRY", "select pg_sleep(20)")
    monkeypatch.setattr("relay.assembly.dashboard.ACTING_TIME_OUT", "50ms")
    ids = shop.failed()
    browser = shop.browser()
    answer = apply(browser, browser.get("/act/retry?state=failed"))
    assert answer.status_code == 503
    assert TEXTS["en"]["trouble.slow_acting"] in said(answer)
    assert (shop.states(ids), shop.ledger()) == ({ids[0]: "failed"}, [])


def test_where_the_database_is_gone_the_ledger_tells(own_postgres: EmbeddedPostgres, browse: Browse) -> None:
    relay.migrate(own_postgres.url())
    rows = Rows(create_engine(own_postgres.url(), poolclass=NullPool))
    rows.add(2)
    rows.run(FAIL)
    browser = browse(own_postgres.url(), dashboard_allow_actions=True)
    preview = browser.get("/act/discard?state=failed")
    own_postgres.stop()
    away = apply(browser, preview)
    assert (away.status_code, away.headers["retry-after"]) == (503, "5")
    assert TEXTS["en"]["trouble.away_acting"] in said(away)
    own_postgres.start()
    assert "2 messages are discarded." in said(apply(browser, preview))


@needs_pgbouncer
def test_behind_a_pooler_people_act_and_nothing_is_left_to_the_next_one(
    own_postgres: EmbeddedPostgres, browse: Browse
) -> None:
    relay.migrate(own_postgres.url())
    rows = Rows(create_engine(own_postgres.url(), poolclass=NullPool))
    rows.add(2)
    rows.run(FAIL)
    folder = Path(tempfile.gettempdir()) / f"relay-pooler-{uuid4().hex[:12]}"  # short: it holds a socket
    with pgbouncer(own_postgres.url(), folder, size=1) as url:
        browser = browse(url, dashboard_allow_actions=True)
        assert "2 messages are to be sent again." in said(apply(browser, browser.get("/act/retry?code=isv.x")))
        assert "It is paused." in said(apply(browser, browser.get("/act/pause?scope=account:default")))
        with create_engine(url, poolclass=NullPool).connect() as connection:
            for setting in ("statement_timeout", "lock_timeout"):
                assert connection.scalar(text(f"show {setting}")) == "0"
            assert connection.scalar(text("show application_name")) != "relay-dashboard"
        browser.close()


def test_whatever_is_set_on_the_role_or_the_database_people_act(
    postgres: Server, database_url: str, browse: Browse
) -> None:
    engine = create_engine(database_url, poolclass=NullPool)
    Rows(engine).add(2)
    Rows(engine).run(FAIL)
    hostility.put_on(postgres.admin_url(engine.url.database or ""))
    browser = browse(database_url, dashboard_allow_actions=True)
    assert "2 messages are discarded." in said(apply(browser, browser.get("/act/discard?code=isv.x")))
    assert "It is paused." in said(apply(browser, browser.get("/act/pause?scope=account:a"), minutes="15"))
    assert "It is resumed." in said(apply(browser, browser.get("/act/resume?scope=account:a")))
    assert "The ledger has it that you looked." in said(apply(browser, browser.get("/act/reveal?id=1")))


def test_the_command_lets_people_act_where_it_is_told_to(
    shop: Shop, start_relay: StartRelay, database_url: str
) -> None:
    shop.failed(2)
    for flags, status in (((), 404), (("--allow-actions",), 200)):
        env = {"RELAY_DATABASE_URL": database_url, "RELAY_DASHBOARD_DATABASE_URL": shop.roles.url("operator")}
        process = start_relay("dashboard", "--port", "0", *flags, env=env)
        found = process.wait_for_line(r"The dashboard is at (\S+)/ ")
        preview = httpx.get(f"{found[1]}/act/retry?state=failed")
        assert preview.status_code == status
    path, fields = form(preview)
    typed = {**fields, "reason": "r", "actor": "ann"}
    assert httpx.post(f"{found[1]}{path}", data=typed).status_code == 403, "no page of the dashboard's"
    assert "2 messages are to be sent again." in said(httpx.post(f"{found[1]}{path}", data=typed, headers=SAME))
    assert [row.actor for row in shop.ledger()] == ["ann"]
