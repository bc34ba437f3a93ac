"""Everything that can go wrong at once: faults of the platform, SIGKILLs, restarts of PostgreSQL, a pooler between.

6,000 messages, half of them with one of 400 ordering keys; two workers. Afterwards the ledger must add up.
"""

from __future__ import annotations

import signal
import tempfile
import time
from pathlib import Path
from uuid import uuid4

import pytest

import relay
from relay.embedded import EmbeddedPostgres
from tests.acceptance.ledger import assert_ledger
from tests.acceptance.outbox import Outbox
from tests.fixtures.accepted import accepted_contents
from tests.fixtures.pooler import needs_pgbouncer, pgbouncer
from tests.fixtures.processes import RelayProcess, StartRelay
from tests.fixtures.waiting import eventually

MESSAGES = 6_000
KEYS = 400
DEADLINE_SECONDS = 120
KILL_EVERY_SECONDS = 2.5
KILLS = 12  # on a machine that is slow enough, killing on would never let anybody finish
FAULTS = (
    *("slow=0.03", "throttle=1@1.5%", "down@1.5%", "cut-before@2%", "cut-after@3%", "http-502@2%"),
    *("refuse-batch=WHOLE", "refuse=ALONE", "refuse-later=FLAKY@50%"),
)


def mark(number: int) -> str:
    if number % 600 == 0:
        return "WHOLE"
    if number % 100 == 50:
        return "ALONE"
    return "FLAKY" if number % 50 == 7 else "plain"


def fill(outbox: Outbox) -> set[int]:
    """Insert the messages; the tids that the platform will refuse for good."""
    outbox.execute(
        """
        insert into relay.outbox (topic, content, ordering_key)
        select 'taobao_jds_TradeTrace', json_build_object('tid', n, 'mark',
                case when mod(n, 600) = 0 then 'WHOLE' when mod(n, 100) = 50 then 'ALONE'
                     when mod(n, 50) = 7 then 'FLAKY' else 'plain' end),
            case when mod(n, 2) = 0 then 'key-' || mod(n / 2, %s) end
        from generate_series(1, %s) n
        """,
        KEYS,
        MESSAGES,
    )
    return {number for number in range(1, MESSAGES + 1) if mark(number) in ("WHOLE", "ALONE")}


@pytest.fixture
def sandbox(start_relay: StartRelay) -> str:
    process = start_relay("sandbox", "--port", "0", *(word for fault in FAULTS for word in ("--fault", fault)))
    return process.wait_for_line(r"RELAY_TMC_URL=(http://\S+)/router/rest", "stdout")[1]


def variables(url: str, sandbox: str) -> dict[str, str]:
    return {
        "RELAY_DATABASE_URL": url,
        "RELAY_TMC_URL": f"{sandbox}/router/rest",
        "RELAY_TMC_APP_KEY": "10000001",
        "RELAY_TMC_APP_SECRET": "sandbox-secret-not-a-secret",
        "RELAY_TMC_SESSION": "sandbox-session-0001",
        "RELAY_TMC_TIMEOUT_SECONDS": "2",
        "RELAY_LEASE_SECONDS": "4",
        "RELAY_RETRY_MAX_SECONDS": "2",
        "RELAY_MAX_ATTEMPTS": "40",
        "RELAY_METRICS_PORT": "0",
    }


def run_with_kills(
    start_relay: StartRelay, outbox: Outbox, env: dict[str, str], restarts: dict[int, EmbeddedPostgres]
) -> list[RelayProcess]:
    """Two workers until nothing is pending, one killed every few seconds, a dozen times; the two that are left."""
    workers = [start_relay("run", env=env), start_relay("run", env=env)]
    deadline = time.monotonic() + DEADLINE_SECONDS
    kills = 0
    while not _over(outbox, KILL_EVERY_SECONDS):
        assert time.monotonic() < deadline, outbox.statuses()
        if kills == KILLS:
            continue
        victim = kills % 2
        workers[victim].wait_for_line("worker.started|^error: ")  # on a slow machine nobody would ever get so far
        workers[victim].kill()
        workers[victim] = start_relay("run", env=env)
        if kills in restarts:
            restarts[kills].restart(mode="immediate")
        kills += 1
    return workers


def _over(outbox: Outbox, seconds: float) -> bool:
    """Whether everything ended within this many seconds."""
    try:
        return eventually(outbox.finished, deadline_seconds=seconds)
    except AssertionError:
        return False


def assert_clean_end(outbox: Outbox, workers: list[RelayProcess], sandbox: str, refused: set[int]) -> None:
    for worker in workers:
        worker.wait_for_line("worker.started")
        worker.send_signal(signal.SIGTERM)
    assert [worker.wait() for worker in workers] == [0, 0], "\n".join(worker.report()[-3000:] for worker in workers)
    eventually(lambda: outbox.open_calls() == 0, deadline_seconds=10)
    assert_ledger(outbox, accepted_contents(sandbox), refused)


@pytest.mark.timeout(180)
def test_faults_and_kills_lose_nothing(start_relay: StartRelay, outbox: Outbox, sandbox: str) -> None:
    refused = fill(outbox)
    workers = run_with_kills(start_relay, outbox, variables(outbox.url, sandbox), {})
    assert_clean_end(outbox, workers, sandbox, refused)


@pytest.mark.timeout(180)
def test_and_with_postgresql_restarted_three_times(
    start_relay: StartRelay, own_postgres: EmbeddedPostgres, sandbox: str
) -> None:
    relay.migrate(own_postgres.url())
    outbox = Outbox(own_postgres.url())
    refused = fill(outbox)
    restarts = dict.fromkeys((0, 1, 2), own_postgres)
    workers = run_with_kills(start_relay, outbox, variables(own_postgres.url(), sandbox), restarts)
    assert_clean_end(outbox, workers, sandbox, refused)


@pytest.mark.timeout(180)
@needs_pgbouncer
def test_and_through_a_pooler_in_transaction_mode(
    start_relay: StartRelay, own_postgres: EmbeddedPostgres, sandbox: str
) -> None:
    relay.migrate(own_postgres.url())
    outbox = Outbox(own_postgres.url())
    refused = fill(outbox)
    folder = Path(tempfile.gettempdir()) / f"relay-pooler-{uuid4().hex[:12]}"  # short: it holds a socket
    with pgbouncer(own_postgres.url(), folder) as url:
        workers = run_with_kills(start_relay, outbox, variables(url, sandbox), {})
        for worker in workers:  # before they are stopped: the last one may have been started a moment ago
            worker.wait_for_line("wakeup.unavailable.*a pooler is in between")
        assert_clean_end(outbox, workers, sandbox, refused)
        stubborn = start_relay("run", env={**variables(url, sandbox), "RELAY_WAKEUP": "notify"})
        assert stubborn.wait() == 78, stubborn.report()
