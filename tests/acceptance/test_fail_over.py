"""An asynchronous fail-over under load: the standby that takes over lacks what the primary had committed last.

What is lost is lost with its business rows. Nothing is done that the platform did not receive, though ids of messages
and of calls are given out again while their old answers are still on the way.

A sequence writes its log 32 values ahead, so a promoted standby leaves out up to 32 ids: what is lost has to be more
than that before any id comes twice.
"""

from __future__ import annotations

import json
import threading
from collections import Counter

from sqlalchemy import create_engine, make_url, text
from sqlalchemy.pool import NullPool

import relay
from relay.embedded import EmbeddedPostgres
from relay.sessions import make_independent
from tests.acceptance.outbox import TOPIC, Outbox
from tests.fixtures.processes import RelayProcess, StartRelay
from tests.fixtures.proxy import proxied, way_to
from tests.fixtures.standby import Standby, following
from tests.fixtures.strict_platform import Call, Reply, StrictPlatform, honest
from tests.fixtures.waiting import eventually

FLYING = 8  # calls under way on the primary when it goes
SINCE = 60  # messages since: enough for their calls to get the ids of those eight again
ORDER = """
with ordered as (
    insert into orders select n, json_build_object('tid', n, 'since', %s::text)::text
    from generate_series((select 1 + count(*) from orders), (select %s + count(*) from orders)) as n returning content)
insert into relay.outbox (topic, content) select %s, cast(content as json) from ordered
"""
OPEN = "select id, nonce, message_ids from relay.call where settled_at is null order by id"


class Gate(threading.Event):
    """The platform accepts and answers only once the gate is opened, or all is over."""

    def __call__(self, platform: StrictPlatform, call: Call) -> Reply:
        while not self.wait(0.2) and not platform.let_go.is_set():
            pass
        return honest(platform, call)


def test_after_a_fail_over_nothing_is_done_that_was_not_sent(
    own_postgres: EmbeddedPostgres, platform: StrictPlatform, env: dict[str, str], start_relay: StartRelay
) -> None:
    relay.migrate(own_postgres.url())
    primary, old, new = Outbox(own_postgres.url()), Gate(), Gate()
    primary.execute("create table orders (number bigint primary key, content text)")
    now = [own_postgres.url()]
    with following(own_postgres) as standby, proxied(lambda: way_to(make_url(now[0]))) as proxy:
        url = f"postgresql://postgres:{(own_postgres.home / 'password').read_text()}@127.0.0.1:{proxy.port}/postgres"
        _assert_told_apart(standby)
        settings = env | {"RELAY_DATABASE_URL": url, "RELAY_BATCH_SIZE": "1"}
        settings |= {"RELAY_TMC_TIMEOUT_SECONDS": "50", "RELAY_LEASE_SECONDS": "120"}
        survivor = start_relay("run", env=settings | {"RELAY_CONCURRENCY": str(FLYING)})
        flying = _fall_behind(primary, standby, platform, old)
        own_postgres.stop("immediate")
        standby.promote()
        now[0], platform.otherwise = standby.url(), new
        proxy.cut()
        after = Outbox(standby.url())
        newcomer = start_relay("run", env=settings | {"RELAY_CONCURRENCY": str(SINCE)})
        _order(after, SINCE, "new")
        eventually(lambda: after.open_calls() == SINCE, deadline_seconds=30)
        before = after.select(OPEN)
        assert flying <= {id_ for id_, _, _ in before}, "no id came twice: this proves nothing"
        assert flying <= {id_ for _, _, ids in before for id_ in ids}
        old.set()
        eventually(lambda: flying <= _told_of(survivor), deadline_seconds=30)
        assert after.select(OPEN) == before
        new.set()
        eventually(after.finished, deadline_seconds=30)
        _assert_agreed(after, platform)
        for worker in (survivor, newcomer):
            worker.terminate()
            assert worker.wait() == 0, worker.report()


def _fall_behind(primary: Outbox, standby: Standby, platform: StrictPlatform, gate: Gate) -> set[int]:
    """Messages that the standby has, more than 32 that it has not, and calls that fly; the ids of these calls."""
    _order(primary, 20, "kept")
    eventually(primary.finished, deadline_seconds=30)
    behind = primary.scalar("select pg_current_wal_lsn()::text")
    eventually(lambda: standby.execute(f"select pg_last_wal_replay_lsn() >= '{behind}'") == [(True,)])
    standby.fall_behind()
    _order(primary, 40, "lost")
    eventually(primary.finished, deadline_seconds=30)
    platform.otherwise = gate
    _order(primary, FLYING, "lost")
    eventually(lambda: len(platform.calls) == 20 + 40 + FLYING, deadline_seconds=30)
    flying = primary.select("select id, message_ids[1] from relay.call where settled_at is null")
    assert {id_ for id_, _ in flying} == {id_ for _, id_ in flying}  # one sequence as far as the other
    return {id_ for id_, _ in flying}


def _assert_told_apart(standby: Standby) -> None:
    """Also where transactions are serializable by default, which no standby can do."""
    serializable = {"options": "-c default_transaction_isolation=serializable"}
    engine = create_engine(standby.url(), poolclass=NullPool, connect_args=serializable)
    make_independent(engine)
    with engine.connect() as connection:
        assert connection.scalar(text("select pg_is_in_recovery()")) is True


def _order(outbox: Outbox, count: int, since: str) -> None:
    outbox.execute(ORDER, since, count, TOPIC)


def _told_of(worker: RelayProcess) -> set[int]:
    """The calls that this worker says it has settled, or lost."""
    lines = [json.loads(line) for line in list(worker.stderr) if line.startswith("{")]
    return {line["call_id"] for line in lines if line["event"] in ("call", "call.lost")}


def _assert_agreed(outbox: Outbox, platform: StrictPlatform) -> None:
    rows, accepted = outbox.rows(), Counter(platform.contents)
    assert [row.content for row in rows] == [
        content for (content,) in outbox.select("select content from orders order by number")
    ]
    assert Counter(json.loads(row.content)["since"] for row in rows) == {"kept": 20, "new": SINCE}
    assert {row.status for row in rows} == {"done"}
    assert {row.content: accepted[row.content] for row in rows if accepted[row.content] != 1} == {}
    assert platform.violations == []
