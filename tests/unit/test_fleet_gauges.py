"""What waits, as a scrape shows it: bounded whatever accounts are called, and absent where nobody knows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from prometheus_client import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as plain

from relay.gauges import AccountBacklog, Backlog, Gauged
from relay.observers.fleet import NAMED_SECONDS, FleetGauges
from relay.observers.metrics import Metrics
from relay.worker import Options
from relay.worker.gauging import Gauging

FOUND = Backlog(
    accounts=(AccountBacklog("shop", 5, 2, 1), AccountBacklog("small", 1)),
    oldest_due_seconds=90.5,
    blocked_keys=3,
    open_calls=4,
    lapsed_calls=1,
    messages_in_flight=170,
    pauses={("account", "person"): 2, ("app", "throttled"): 1},
    archive_lag_seconds=12.0,
)
READ = replace(FOUND, archive_lag_seconds=None)
Samples = dict[tuple[str, tuple[str, ...]], float]


def shown(gauged: Gauged, *, accounts: int = 20, archiving: bool = True) -> Samples:
    metrics = Metrics(archiving=archiving)
    metrics.show_fleet(lambda: gauged, accounts=accounts)
    text, modern = generate_latest(metrics.registry).decode(), generate_openmetrics(metrics.registry).decode()
    families = [list(plain(text)), list(openmetrics(modern))]
    assert len(families[0]) == len(families[1]) == len({family.name for family in families[1]})
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in families[0]
        for sample in family.samples
    }


def backlog(samples: Samples, state: str = "due") -> dict[str, float]:
    """Account → messages."""
    return {
        labels[0]: value for (name, labels), value in samples.items() if name == "relay_backlog_messages"
        if labels[1] == state
    }  # fmt: skip


def test_everything_that_was_read_is_shown() -> None:
    seen = shown(Gauged(True, FOUND, 3.5))
    assert (backlog(seen), backlog(seen, "held")) == (
        {"shop": 5, "small": 1, "other": 0},
        {"shop": 1, "small": 0, "other": 0},
    )
    assert (seen["relay_backlog_up", ()], seen["relay_backlog_age_seconds", ()]) == (1, 3.5)
    assert (seen["relay_backlog_oldest_due_seconds", ()], seen["relay_backlog_exact", ()]) == (90.5, 1)
    assert (seen["relay_open_calls", ("leased",)], seen["relay_open_calls", ("lapsed",)]) == (3, 1)
    assert (seen["relay_messages_in_flight", ()], seen["relay_backlog_blocked_keys", ()]) == (170, 3)
    assert seen["relay_pauses_in_force", ("person", "account")] == 2
    assert seen["relay_archive_lag_seconds", ()] == 12


@pytest.mark.parametrize("gauged", [Gauged(up=False), Gauged(up=False, backlog=None, age_seconds=9)])
def test_what_nobody_knows_is_absent_and_does_not_stand_still(gauged: Gauged) -> None:
    seen = shown(gauged)
    assert [name for name, _ in seen if name.startswith(("relay_backlog", "relay_open", "relay_archive"))] == [
        "relay_backlog_up"
    ]
    assert seen["relay_backlog_up", ()] == 0


def test_without_archiving_there_is_no_lag() -> None:
    assert ("relay_archive_lag_seconds", ()) not in shown(Gauged(True, FOUND, 0), archiving=False)


def test_the_largest_accounts_are_named_and_no_name_breaks_the_page() -> None:
    hostile = 'a"} 1\nrelay_backlog_up 7\n\\\u202e' + "x" * 200
    accounts = [
        AccountBacklog(hostile, 900),
        AccountBacklog("other", 800),  # counted with the others
        AccountBacklog(None, 5000),
        *(AccountBacklog(f"shop-{n:05}", n) for n in range(500)),
    ]
    seen = shown(Gauged(True, Backlog(accounts=tuple(accounts)), 0), accounts=3)
    named = backlog(seen)
    (odd,) = set(named) - {"other", "shop-00499"}
    assert (named["shop-00499"], named["other"]) == (499, 5800 + sum(range(499)))
    assert named[odd] == 900
    assert (len(odd), odd.isprintable(), seen["relay_backlog_up", ()]) == (64, True, 1)


def test_no_account_is_named_where_none_is_to_be() -> None:
    assert backlog(shown(Gauged(True, FOUND, 0), accounts=0)) == {"other": 6}


def test_names_that_are_others_at_each_scrape_make_no_series_without_end() -> None:
    """Who was shown has its place for an hour; the messages of the others are counted all the same."""
    seconds, found = 0.0, [AccountBacklog("shop", 1000)]
    fleet = FleetGauges(
        lambda: Gauged(True, Backlog(accounts=tuple(found))), accounts=3, archiving=False, clock=lambda: seconds
    )

    def named() -> dict[str, float]:
        (messages,) = [metric for metric in fleet.collect() if metric.name == "relay_backlog_messages"]
        return {one.labels["account"]: one.value for one in messages.samples if one.labels["state"] == "due"}

    assert named() == {"shop": 1000, "other": 0}
    seen: list[str] = []
    for scrape in range(1000):
        seconds += 5
        found[1:] = [AccountBacklog(f"made-up-{scrape}-{n}", 10) for n in range(5)]
        shown_now = named()
        assert (shown_now.pop("shop"), sum(shown_now.values()), len(shown_now) <= 3) == (1000, 50, True)
        seen += set(shown_now) - {"other"}
    assert len(seen) == len(set(seen))
    hours = 1000 * 5 / NAMED_SECONDS
    assert 14 <= len(seen) <= 14 * (hours + 1)
    seconds += NAMED_SECONDS
    found[:] = [AccountBacklog(f"new-{n}", 10) for n in range(3)]
    assert set(named()) == {"new-0", "new-1", "new-2", "other"}


class Asked:
    """A store whose answers come when they are let go; ``clock`` is what the test says."""

    def __init__(self) -> None:
        self.questions = 0
        self.answer: Callable[[], Backlog] = lambda: READ
        self.lag: float | None = 100.0
        self.seconds = 0.0
        self.counting = self
        self.cut_off = lambda _: None

    def backlog(self) -> Backlog:
        self.questions += 1
        return self.answer()

    def finished_seconds(self, *, failed_holds: bool) -> float | None:
        return self.lag


@pytest.fixture
def asked() -> Asked:
    return Asked()


@pytest.fixture
async def gauging(asked: Asked) -> Any:
    store: Any = asked
    made = Gauging(store, Options(), clock=lambda: asked.seconds)
    yield made
    made.close()


async def test_however_many_scrape_the_database_is_asked_once_in_five_seconds(asked: Asked, gauging: Gauging) -> None:
    assert gauging.shown() == Gauged(up=False)
    await asyncio.gather(*(gauging.look() for _ in range(20)))
    asked.seconds = 4.9
    await gauging.look()
    assert (asked.questions, gauging.shown().age_seconds) == (1, 4.9)
    asked.seconds = 5.0
    await gauging.look()
    assert (asked.questions, gauging.shown().age_seconds) == (2, 0)


async def test_a_question_that_takes_long_rests_long_and_what_is_old_goes(asked: Asked, gauging: Gauging) -> None:
    def slowly() -> Backlog:
        asked.seconds += 1.0
        return READ

    asked.answer = slowly
    await gauging.look()
    asked.seconds = 20.9
    await gauging.look()
    assert (asked.questions, gauging.shown().backlog) == (1, READ)
    asked.seconds = 60.1
    assert gauging.shown() == Gauged(up=False)


async def test_no_answer_takes_the_numbers_away_at_once(asked: Asked, gauging: Gauging) -> None:
    await gauging.look()
    assert gauging.shown().up

    def away() -> Backlog:
        raise OSError("gone")

    asked.answer, asked.seconds = away, 5.0
    await gauging.look()
    assert gauging.shown() == Gauged(up=False)
    asked.answer, asked.seconds = lambda: READ, 10.0
    await gauging.look()
    assert gauging.shown() == Gauged(True, READ)


async def test_how_far_the_archive_lags_is_asked_seldom_and_may_fail_alone(asked: Asked) -> None:
    store: Any = asked
    gauging = Gauging(store, Options(archive_after=timedelta(seconds=40)), clock=lambda: asked.seconds)
    seen = []
    for asked.seconds, asked.lag in ((0, 100.0), (30, 20.0), (60, 20.0), (120, None)):
        await gauging.look()
        found = gauging.shown().backlog
        seen.append(found and found.archive_lag_seconds)
    assert seen == [60, 60, 0, None]
    gauging.close()
