"""An asynchronous fail-over under load: the standby that takes over lacks what the primary had committed last.

What is lost is lost with its business rows. Nothing is done that the platform did not receive, though ids of messages
and of calls are given out again while their old answers are still on the way.
"""

from __future__ import annotations

import json
import threading
from contextlib import suppress

import psycopg
from sqlalchemy import make_url

import relay
from relay.embedded import EmbeddedPostgres
from tests.acceptance.outbox import TOPIC, Outbox
from tests.fixtures.processes import StartRelay
from tests.fixtures.proxy import proxied, way_to
from tests.fixtures.standby import following
from tests.fixtures.strict_platform import StrictPlatform, later
from tests.fixtures.waiting import eventually

WORKERS = 2


class Shop(threading.Thread):
    """Orders with their messages, one transaction each, as fast as it goes; whatever happens to the database."""

    def __init__(self, conninfo: str) -> None:
        super().__init__(daemon=True)
        self.committed: list[int] = []
        self.ending = threading.Event()
        self._conninfo = conninfo

    def run(self) -> None:
        number = 0
        while not self.ending.is_set():
            with suppress(psycopg.OperationalError), psycopg.connect(self._conninfo, connect_timeout=2) as connection:
                while not self.ending.wait(0.004):
                    number += 1
                    content = json.dumps({"tid": number, "status": "X_PACKAGED"})
                    connection.execute("insert into orders values (%s, %s)", (number, content))
                    connection.execute("insert into relay.outbox (topic, content) values (%s, %s)", (TOPIC, content))
                    connection.commit()
                    self.committed.append(number)


def test_after_a_fail_over_nothing_is_done_that_was_not_sent(
    own_postgres: EmbeddedPostgres, platform: StrictPlatform, env: dict[str, str], start_relay: StartRelay
) -> None:
    relay.migrate(own_postgres.url())
    primary = Outbox(own_postgres.url())
    primary.execute("create table orders (number bigint primary key, content text)")
    platform.otherwise = later(0.3)
    now = [own_postgres.url()]
    with following(own_postgres) as standby, proxied(lambda: way_to(make_url(now[0]))) as proxy:
        url = f"postgresql://postgres:{(own_postgres.home / 'password').read_text()}@127.0.0.1:{proxy.port}/postgres"
        settings = env | {"RELAY_DATABASE_URL": url, "RELAY_BATCH_SIZE": "2", "RELAY_CONCURRENCY": "16"}
        workers = [start_relay("run", env=settings) for _ in range(WORKERS)]
        shop = Shop(url)
        shop.start()
        calls = "select count(*) from relay.call"
        eventually(lambda: primary.scalar(calls) > 50, deadline_seconds=30)
        standby.fall_behind()
        before, ordered = primary.scalar(calls), len(shop.committed)
        eventually(lambda: primary.scalar(calls) > before + 60, deadline_seconds=30)
        eventually(lambda: len(shop.committed) > ordered + 80, deadline_seconds=30)
        own_postgres.stop("immediate")
        standby.promote()
        now[0] = standby.url()
        proxy.cut()
        after, count = Outbox(standby.url()), len(shop.committed)
        eventually(lambda: len(shop.committed) > count + 200, deadline_seconds=30)
        shop.ending.set()
        shop.join()
        eventually(after.finished, deadline_seconds=60)
        _assert_true(after, platform, shop)
        for worker in workers:
            worker.terminate()
            assert worker.wait() == 0, worker.report()


def _assert_true(outbox: Outbox, platform: StrictPlatform, shop: Shop) -> None:
    accepted = set(platform.contents)
    orders = {content for (content,) in outbox.select("select content from orders")}
    rows = outbox.rows()
    assert {row.content for row in rows} == orders
    lost = [number for number in shop.committed if json.dumps({"tid": number, "status": "X_PACKAGED"}) not in orders]
    assert len(lost) > 40, "the standby was not behind: this proves nothing"
    assert {row.status for row in rows} == {"done"}
    assert [row.content for row in rows if row.content not in accepted] == [], "done, and never sent"
    assert platform.violations == []
