"""What a worker tells Prometheus and Kubernetes, and that it works without."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import httpx
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

import relay
from relay.embedded import EmbeddedPostgres
from tests.acceptance.outbox import Outbox, assert_reconciled, numbered
from tests.acceptance.patience import eventually
from tests.fixtures.processes import StartRelay
from tests.fixtures.strict_platform import StrictPlatform, answer_when_let_go, cut_after_storing, honest


def get(port: int, path: str) -> httpx.Response:
    return httpx.get(f"http://127.0.0.1:{port}{path}", timeout=10)


def samples(port: int) -> dict[str, float]:
    """Name with labels -> value."""
    text = get(port, "/metrics").text
    return {name: float(value) for name, value in re.findall(r"^([a-z_]+(?:\{.*\})?) (\S+)$", text, re.MULTILINE)}


def test_metrics_add_up(
    outbox: Outbox, platform: StrictPlatform, env: dict[str, str], start_relay: StartRelay, free_port: int
) -> None:
    outbox.insert(numbered(120))
    platform.script.extend([honest, cut_after_storing])
    platform.refuses = lambda content: "isv.odd" if content == numbered(7)[-1] else None
    worker = start_relay("run", env={**env, "RELAY_METRICS_PORT": str(free_port)})
    worker.wait_for_line('"worker.started".*"producer": "tmc"')
    eventually(outbox.finished)

    eventually(lambda: samples(free_port).get('relay_message_outcomes_total{outcome="done",producer="tmc"}') == 119)

    seen = samples(free_port)
    assert seen['relay_message_outcomes_total{outcome="failed",producer="tmc"}'] == 1
    assert seen['relay_message_outcomes_total{outcome="unknown",producer="tmc"}'] == sum(
        outbox.attempts("unknown").values()
    )
    assert seen["relay_call_duration_seconds_count"] == len(platform.calls)
    assert seen["relay_claim_duration_seconds_count"] >= 1
    assert [get(free_port, path).status_code for path in ("/livez", "/readyz")] == [200, 200]
    worker.terminate()
    assert worker.wait() == 0
    assert_reconciled(outbox, platform)


def test_a_lost_database_makes_it_unready_not_dead(
    own_postgres: EmbeddedPostgres, env: dict[str, str], start_relay: StartRelay, free_port: int
) -> None:
    relay.migrate(own_postgres.url())
    env |= {"RELAY_DATABASE_URL": own_postgres.url(), "RELAY_METRICS_PORT": str(free_port)}
    worker = start_relay("run", env=env)
    worker.wait_for_line('"worker.started"')
    assert get(free_port, "/readyz").status_code == 200
    own_postgres.stop()

    eventually(lambda: get(free_port, "/readyz").status_code == 503)
    assert get(free_port, "/readyz").json()["ok"] is False
    assert get(free_port, "/livez").status_code == 200

    own_postgres.start()
    try:
        eventually(lambda: get(free_port, "/readyz").status_code == 200)
    except httpx.HTTPError as error:
        raise AssertionError(worker.report()) from error
    worker.terminate()
    assert worker.wait() == 0, worker.report()


def test_what_kubernetes_says_of_a_service_and_a_host_that_is_none_of_ours_cost_a_warning(
    outbox: Outbox, env: dict[str, str], start_relay: StartRelay, free_port: int
) -> None:
    linked = start_relay("run", "--drain", env={**env, "RELAY_METRICS_PORT": "tcp://10.0.0.1:9464"})
    elsewhere = {"RELAY_METRICS_PORT": str(free_port), "RELAY_METRICS_HOST": "203.0.113.7"}
    unserved = start_relay("run", "--drain", env={**env, **elsewhere})
    assert linked.wait() == 0
    linked.wait_for_line(
        r'"warning".*"reason": "RELAY_METRICS_PORT comes from a Kubernetes service.*enableServiceLinks: false'
    )
    assert unserved.wait() == 0
    unserved.wait_for_line(f'"warning".*"reason": "cannot listen on 203.0.113.7 port {free_port} .*RELAY_METRICS_HOST')


def test_the_second_worker_on_a_host_works_without_a_port(
    outbox: Outbox, platform: StrictPlatform, env: dict[str, str], start_relay: StartRelay, free_port: int
) -> None:
    env |= {"RELAY_METRICS_PORT": str(free_port), "RELAY_TMC_TIMEOUT_SECONDS": "15", "RELAY_LEASE_SECONDS": "20"}
    outbox.insert(numbered(50))
    platform.script.append(answer_when_let_go)
    first = start_relay("run", "--concurrency", "1", env=env)
    eventually(lambda: platform.waiting)
    outbox.insert(numbered(50, "for the second"))

    second = start_relay("run", env=env)

    second.wait_for_line(f'"warning".*"reason": "port {free_port} is taken.*RELAY_METRICS_PORT')
    eventually(lambda: outbox.statuses() == {"done": 50, "pending": 50})
    assert get(free_port, "/livez").status_code == 200  # of the first
    platform.let_go.set()
    for worker in (first, second):
        worker.terminate()
        assert worker.wait() == 0, worker.report()
    assert outbox.statuses() == {"done": 100}
    assert_reconciled(outbox, platform)


def test_what_waits_is_shown_by_every_worker_and_by_none_without_the_database(
    own_postgres: EmbeddedPostgres, env: dict[str, str], start_relay: StartRelay, free_port: int
) -> None:
    relay.migrate(own_postgres.url())
    engine = create_engine(own_postgres.url(), poolclass=NullPool)
    with engine.begin() as connection:
        relay.add(connection, "t", {}, account="shop", available_at=datetime.now(UTC) + timedelta(hours=1))
    worker = start_relay(
        "run", env={**env, "RELAY_DATABASE_URL": own_postgres.url(), "RELAY_METRICS_PORT": str(free_port)}
    )
    worker.wait_for_line('"worker.started"')
    waiting = 'relay_backlog_messages{account="shop",state="waiting"}'
    eventually(lambda: samples(free_port).get(waiting) == 1)
    seen = samples(free_port)
    assert (seen["relay_backlog_up"], seen["relay_backlog_exact"]) == (1, 1)
    assert seen["relay_wakeup_listening"] == 1
    assert seen['relay_calls_total{outcome="ok",producer="tmc"}'] == 0
    own_postgres.stop()
    eventually(lambda: samples(free_port)["relay_backlog_up"] == 0)
    assert waiting not in samples(free_port)
    own_postgres.start()
    eventually(lambda: samples(free_port).get(waiting) == 1)
    worker.terminate()
    assert worker.wait() == 0, worker.report()
