"""One account with a dead session and one with an endless backlog cost the others no time (promise 7)."""

from __future__ import annotations

import pytest

from tests.acceptance.outbox import Outbox
from tests.fixtures.processes import StartRelay
from tests.fixtures.waiting import eventually

DEAD, GREEDY = 100_000, 300_000
SMALL_ACCOUNTS, EACH = 99, 10
DONE = "select count(*) from relay.outbox where status = 'done' and account like %s"
# The same by the calls, which are few: to count among 400,000 messages again and again takes the worker's time.
SETTLED = "select coalesce(sum(cardinality(message_ids)), 0) from relay.call where outcome = 'ok' and account like %s"


def fill(outbox: Outbox) -> None:
    outbox.execute("create table shop (name text primary key, app_key text, app_secret text, session text)")
    outbox.execute(
        """
        insert into shop select name, '10000001', 'sandbox-secret-not-a-secret',
            case name when 'dead' then 'a session that has ended' else 'sandbox-session-0001' end
        from (select 'dead' as name union all select 'greedy'
              union all select 'small-' || n from generate_series(1, %s) n) names
        """,
        SMALL_ACCOUNTS,
    )
    for account, count in (
        ("'dead'", DEAD),
        ("'greedy'", GREEDY),
        ("'small-' || 1 + mod(n, 99)", SMALL_ACCOUNTS * EACH),
    ):
        outbox.execute(
            "insert into relay.outbox (account, topic, content) "
            f"select {account}, 'taobao_jds_TradeTrace', '{{\"tid\": 1}}' from generate_series(1, %s) n",
            count,
        )


@pytest.mark.timeout(300)
@pytest.mark.usefixtures("path_of_the_user")
def test_promise_7_one_bad_account_and_one_greedy_one_cost_the_others_no_time(
    start_relay: StartRelay, outbox: Outbox
) -> None:
    fill(outbox)
    router = start_relay("sandbox", "--port", "0").wait_for_line(r"RELAY_TMC_URL=(\S+)", "stdout")[1]
    env = {
        "RELAY_DATABASE_URL": outbox.url,
        "RELAY_TMC_URL": router,
        "RELAY_ACCOUNTS_QUERY": "select name as account, app_key, app_secret, session from shop "
        "where name = any(:accounts)",
        "RELAY_METRICS_PORT": "0",
    }
    worker = start_relay("run", env=env)
    eventually(lambda: outbox.scalar(SETTLED, "small-%") == SMALL_ACCOUNTS * EACH, deadline_seconds=120)
    assert outbox.scalar(DONE, "greedy") < 5_000
    assert outbox.scalar(DONE, "small-%") == SMALL_ACCOUNTS * EACH
    assert outbox.scalar("select count(*) from relay.pause where scope = 'account:dead' and until is null") == 1
    assert outbox.scalar("select max(attempts) from relay.outbox where account = 'dead'") == 0

    # The pause lifts itself as soon as the session is another one.
    outbox.execute("update shop set session = 'sandbox-session-0001' where name = 'dead'")
    eventually(lambda: outbox.scalar(SETTLED, "dead"), deadline_seconds=30)
    assert outbox.scalar(DONE, "dead") > 0
    worker.terminate()
    assert worker.wait() == 0
