"""What a scrape shows: counted from events, in a text Prometheus can read, with labels from closed lists."""

from __future__ import annotations

import dataclasses

import httpx
import pytest
from prometheus_client import generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from relay import __version__, events
from relay.observers.metrics import Metrics
from relay.observers.probes import probes
from tests.unit.test_logs import EVERY, SETTLED


def scraped(metrics: Metrics) -> dict[tuple[str, tuple[str, ...]], float]:
    """(sample, label values) → value, as a Prometheus server would read them."""
    text = generate_latest(metrics.registry).decode()
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def told(*heard: events.Event) -> dict[tuple[str, tuple[str, ...]], float]:
    metrics = Metrics(archiving=True)
    for event in heard:
        metrics(event)
    return scraped(metrics)


def test_before_anything_happened_a_scrape_can_be_read() -> None:
    seen = told()
    assert seen["relay_build_info", (__version__,)] == 1.0
    assert (
        seen["relay_lingering_transactions", ("session",)] == seen["relay_lingering_transactions", ("prepared",)] == 0
    )
    assert seen["relay_calls_lost_total", ()] == 0.0


def test_when_a_counter_was_made_is_not_told() -> None:
    assert [name for name, _ in told(SETTLED) if name.endswith("_created")] == []


def test_every_event_is_taken_and_the_exposition_parses() -> None:
    assert told(*(event for event, _ in EVERY))


def test_calls_and_outcomes_are_counted_apart() -> None:
    seen = told(
        SETTLED,
        dataclasses.replace(SETTLED, outcome="partial", messages=6, done=1, retry=2, failed=3),
        dataclasses.replace(SETTLED, outcome="released", done=0, duration_ms=None, producer="spool"),
        events.LeasesRecovered(2, 9),
    )
    calls = {labels: value for (name, labels), value in seen.items() if name == "relay_calls_total"}
    outcomes = {labels: value for (name, labels), value in seen.items() if name == "relay_message_outcomes_total"}
    assert calls == {("ok", "tmc"): 1, ("partial", "tmc"): 1, ("released", "spool"): 1}
    assert outcomes == {("done", "tmc"): 3, ("retry", "tmc"): 2, ("failed", "tmc"): 3, ("unknown", "unknown"): 9}
    assert seen["relay_leases_recovered_total", ()] == 2


def test_a_call_that_was_never_made_has_no_duration_and_no_size() -> None:
    seen = told(SETTLED, dataclasses.replace(SETTLED, outcome="released", duration_ms=None))
    assert seen["relay_call_duration_seconds_count", ()] == 1
    assert seen["relay_call_duration_seconds_sum", ()] == pytest.approx(0.031)
    assert seen["relay_batch_messages_sum", ()] == 2


def test_the_rest_is_counted_where_it_happens() -> None:
    seen = told(
        events.Claimed(1, 2, 3, 0.5),
        events.CallLost(1),
        events.Paused("app:77", None, "why", "27"),
        events.DatabaseLost("settle", "x"),
        events.DatabaseLost("claim", "x"),
        events.DatabaseRefused("extend", "x"),
        events.CallRefused(7, "shop", 2, "x", 0.1),
        events.Archived(1000, 3, 20),
    )
    assert (seen["relay_database_refused_total", ("settle",)], seen["relay_database_refused_total", ("extend",)]) == (
        1,
        1,
    )
    assert seen["relay_messages_expired_total", ()] == 3
    assert seen["relay_claim_duration_seconds_sum", ()] == 0.5
    assert seen["relay_calls_lost_total", ()] == 1
    assert seen["relay_pauses_total", ()] == 1
    assert seen["relay_messages_archived_total", ()] == 1000
    assert (seen["relay_database_lost_total", ("settle",)], seen["relay_database_lost_total", ("claim",)]) == (1, 1)


def test_who_keeps_messages_locked_is_a_gauge_of_two_kinds() -> None:
    seen = told(events.LocksSeen(sessions=2, prepared=1), events.LocksSeen(sessions=0, prepared=3))
    kinds = {labels: value for (name, labels), value in seen.items() if name == "relay_lingering_transactions"}
    assert kinds == {("session",): 0, ("prepared",): 3}


def test_the_last_success_moves_with_accepted_messages_alone() -> None:
    name = ("relay_last_success_timestamp_seconds", ())
    assert told(dataclasses.replace(SETTLED, outcome="rejected", done=0))[name] == 0
    assert told(SETTLED)[name] > 1.7e9


def test_what_cannot_happen_is_not_there() -> None:
    names = {name for name, _ in scraped(Metrics())}
    assert not names & {"relay_messages_archived_total", "relay_wakeup_listening", "relay_backlog_up"}
    listens = [True]
    metrics = Metrics(archiving=True, listening=lambda: listens[0], producers=["tmc"])
    metrics(events.Archived(3, 1, 1))
    seen = scraped(metrics)
    assert (seen["relay_messages_archived_total", ()], seen["relay_wakeup_listening", ()]) == (3, 1)
    assert seen["relay_calls_total", ("rejected", "tmc")] == 0  # a rate needs a beginning
    listens[0] = False
    assert scraped(metrics)["relay_wakeup_listening", ()] == 0


def test_no_name_id_or_code_of_anybody_is_a_label() -> None:
    metrics = Metrics()
    for account in ("shop-1", "shop-2"):
        metrics(dataclasses.replace(SETTLED, account=account, error_code="isv.secret", request_id="r-77", retry=1))
        metrics(events.Paused(f"account:{account}", 1.0, "isv.secret", "isv.secret"))
    text = generate_latest(metrics.registry).decode()
    assert not [word for word in ("shop-", "isv.", "r-77") if word in text]


def test_two_workers_in_one_process_do_not_share_counts() -> None:
    first, second = Metrics(), Metrics()
    first(events.CallLost(1))
    assert scraped(first)["relay_calls_lost_total", ()] == 1
    assert scraped(second)["relay_calls_lost_total", ()] == 0


@pytest.mark.parametrize(
    ("path", "trouble", "status"), [("/livez", "", 200), ("/livez", "hangs", 503), ("/readyz", "down", 503)]
)
async def test_a_probe_says_what_is_wrong(path: str, trouble: str, status: int) -> None:
    async def probe() -> str:
        return trouble

    app = probes(Metrics().registry, alive=probe, ready=probe)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://relay") as client:
        answer = await client.get(path)
        metrics = await client.get("/metrics")
        modern = await client.get("/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})
    assert (answer.status_code, answer.json()) == (status, {"ok": not trouble, "reason": trouble})
    assert metrics.headers["content-type"].startswith("text/plain")
    assert "relay_calls_lost_total" in metrics.text
    assert modern.headers["content-type"].startswith("application/openmetrics-text")
    units = {family.name: family.unit for family in openmetrics(modern.text)}
    assert (units["relay_call_duration_seconds"], units["relay_calls"]) == ("seconds", "")
