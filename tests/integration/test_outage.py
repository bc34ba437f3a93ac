"""What the tables know about an outage: how long a message has been tried, and in which calls it was blamed."""

from __future__ import annotations

import random
from itertools import count

import pytest
from sqlalchemy import Engine

from relay import events, reports
from relay.message import ACCEPTED, Answer, Answered, Batch, Fault, Refused, Result, Scope
from relay.outcomes import EXHAUSTED, History, Policy
from relay.store import ClaimLimits, Store
from relay.tmc import read_answer
from tests.fixtures.rows import Rows
from tests.fixtures.scripted import Bench, Phonebook, Scripted, accept
from tests.fixtures.waiting import eventually_async

DAY = 86_400.0
PATIENT = Policy(max_attempts=2, retry_base_seconds=0.0, outage_seconds=2 * DAY)
BUSY = Result(Fault.PROVIDER, "isp.service-unavailable", "busy")
AWAY: dict[str, Answer] = {
    "provider": Refused(Fault.PROVIDER, "relay.http_503", http_status=503),
    "unknown": Refused(Fault.UNKNOWN, "relay.unreadable_answer", message="an HTML page", http_status=200),
}


@pytest.fixture
def rows(engine: Engine) -> Rows:
    return Rows(engine)


@pytest.fixture
def store(engine: Engine) -> Store:
    return Store(engine, worker="w", lease_seconds=60)


def tried_before(rows: Rows, id_: int, *days_ago: float, outcome: str = "rejected") -> None:
    """Attempts of that message this long ago, each in a call of that outcome, the oldest first."""
    rows.run("update relay.outbox set attempts = attempts + :n where id = :id", n=len(days_ago), id=id_)
    for days in days_ago:
        rows.run(
            "with c as (insert into relay.call (account, worker, message_ids, lease_until, settled_at, outcome)"
            " values ('default', 'w', array[:id]::bigint[], now(), now(), :outcome) returning id)"
            " insert into relay.attempt (message_id, call_id, result_index, outcome, error_code, at)"
            " select :id, id, 0, 'retry', 'x', now() - make_interval(secs => :seconds) from c",
            id=id_,
            outcome=outcome,
            seconds=days * DAY,
        )


@pytest.mark.parametrize("kind", AWAY)
async def test_a_platform_that_is_away_ends_no_message_however_often_it_was_asked(
    rows: Rows, engine: Engine, kind: str
) -> None:
    rows.add(3)
    calls = count(1)
    platform = Scripted(lambda batch: AWAY[kind] if next(calls) <= 4 else accept(batch))
    report = await Bench(engine, platform, policy=PATIENT).drain()
    assert (report.done, report.failed) == (3, 0)
    assert rows.one("select array_agg(distinct attempts) from relay.outbox") == [5]
    assert rows.one("select count(*) from relay.attempt") == 12


async def test_an_outage_that_lasts_too_long_ends_a_message_and_keeps_the_last_reason(
    rows: Rows, engine: Engine
) -> None:
    (id_,) = rows.add(1)
    tried_before(rows, id_, 2.01)
    report = await Bench(engine, Scripted(lambda _: AWAY["provider"]), policy=PATIENT).drain()
    assert (report.done, report.failed) == (0, 1)
    assert rows.message(id_).error_code == EXHAUSTED


async def test_only_what_is_blamed_ends_while_its_neighbours_go_through(rows: Rows, engine: Engine) -> None:
    poison, *_ = rows.add(6)

    def busy_with_one(batch: Batch) -> Answer:
        return Answered(tuple(BUSY if message.id == poison else ACCEPTED for message in batch.messages))

    platform = Scripted(busy_with_one)
    bench = Bench(engine, platform, policy=PATIENT)
    tried_before(rows, poison, 0.5, outcome="partial")
    report = await bench.drain()
    assert (report.done, report.failed) == (5, 1)
    assert rows.message(poison).error_code == EXHAUSTED


def test_the_tables_tell_blame_from_outage_and_a_persons_retry_begins_anew(rows: Rows, store: Store) -> None:
    blamed, away, retried, new = rows.add(4)
    tried_before(rows, blamed, 3.0, 1.0, outcome="partial")
    tried_before(rows, away, 2.0, 1.0)
    tried_before(rows, away, 0.5, outcome="unknown")
    tried_before(rows, retried, 9.0, 8.0, outcome="partial")
    rows.run("update relay.outbox set attempts = 0 where id = :id", id=retried)  # as relay retry does
    tried_before(rows, retried, 0.25)
    tried = store.histories([blamed, away, retried, new])
    assert new not in tried
    assert {id_: (each.attempts, each.blamed, round(each.seconds / DAY, 2)) for id_, each in tried.items()} == {
        blamed: (2, 2, 3.0),
        away: (3, 0, 2.0),
        retried: (1, 0, 0.25),
    }
    assert isinstance(tried[away], History)


def test_a_worker_that_dies_over_a_message_again_and_again_ends_it_by_time(rows: Rows, store: Store) -> None:
    young, old = rows.add(2)
    tried_before(rows, young, 0.5, 0.4, 0.3)
    tried_before(rows, old, 2.5, 0.4, 0.3)
    store.claim(ClaimLimits(slots=1))
    rows.run("update relay.call set lease_until = now() - interval '1 second' where settled_at is null")
    (settlement,) = store.recover(PATIENT, random.Random(1))
    assert [(v.message_id, v.final) for v in settlement.verdicts] == [(young, False), (old, True)]
    assert rows.message(young).status == "pending"
    assert (rows.message(old).status, rows.message(old).error_code) == ("failed", EXHAUSTED)


def closed(rows: Rows, outcome: str, *, seconds_ago: float = 1.0, code: str = "relay.unreadable_answer") -> None:
    rows.run(
        "insert into relay.call (account, worker, message_ids, lease_until, settled_at, outcome, http_status,"
        " error_code, error_message) values ('default', 'w', array[1]::bigint[], now(),"
        " now() - make_interval(secs => :seconds), :outcome, 200, :code, 'an HTML page')",
        outcome=outcome,
        seconds=seconds_ago,
        code=code,
    )


def test_status_tells_when_the_last_calls_all_came_to_nothing(rows: Rows, engine: Engine) -> None:
    def trouble() -> reports.Trouble | None:
        with engine.connect() as connection:
            return reports.status(connection).trouble

    closed(rows, "ok", seconds_ago=60)
    for seconds in (50, 40, 30, 20):
        closed(rows, "unknown", seconds_ago=seconds)
    assert trouble() is None, "so few may be chance"
    closed(rows, "rejected", seconds_ago=10, code="relay.http_503")
    closed(rows, "released")
    found = trouble()
    assert found is not None
    assert (found.calls, found.http_status, found.error_code, found.error_message) == (
        *(5, 200),
        *("relay.http_503", "an HTML page"),
    )
    closed(rows, "partial")
    assert trouble() is None


def test_calls_that_were_split_and_calls_of_long_ago_are_no_trouble(rows: Rows, engine: Engine) -> None:
    for _ in range(6):
        closed(rows, "unknown", seconds_ago=3600)
    for _ in range(6):
        closed(rows, "rejected")
    rows.run(
        "insert into relay.call (account, worker, message_ids, lease_until, parent_id)"
        " select 'default', 'w', message_ids, now() + interval '1 minute', id"
        " from relay.call where outcome = 'rejected'"
    )
    with engine.connect() as connection:
        assert reports.trouble(connection) is None


async def test_an_anti_bot_page_slows_the_worker_down_and_shows_in_status(rows: Rows, engine: Engine) -> None:
    page = b"<html><head><title>Slide to verify</title></head></html>"
    answer = read_answer(200, page, count=1, request_bytes=0, content_type="text/html")
    rows.add(400)
    platform = Scripted(lambda batch: answer)
    bench = Bench(engine, platform, policy=Policy(outage_seconds=DAY), concurrency=2)
    async with bench.running():
        await eventually_async(lambda: _at_least(platform, 7))
        assert bench.worker._limits.calls <= 1
        assert bench.worker._limits.messages == 5
    assert rows.one("select count(*) from relay.outbox where status = 'failed'") == 0
    with engine.connect() as connection:
        found = reports.trouble(connection)
    assert found is not None
    assert found.error_message == 'an HTML page titled "Slide to verify" (text/html, 56 bytes)'


async def _at_least(platform: Scripted, calls: int) -> bool:
    return len(platform.calls) >= calls


@pytest.mark.parametrize(
    ("fault", "code", "scope", "paused"),
    [
        (Fault.CREDENTIALS, "27", Scope.ACCOUNT, "account:default"),
        (Fault.CREDENTIALS, "25", Scope.APP, "app:77"),
        (Fault.OURS, "30", Scope.APP, "app:77"),
    ],
)
async def test_a_credential_refused_index_by_index_pauses_and_keeps_the_messages(
    rows: Rows, engine: Engine, fault: Fault, code: str, scope: Scope, paused: str
) -> None:
    rows.add(3)
    refused = Result(fault, code, "no", scope=scope)
    platform = Scripted(lambda batch: Answered((refused,) * len(batch), app_key="77", credential="c0ffee"))
    bench = Bench(engine, platform, directory=Phonebook({"default": ("77", "c0ffee")}))
    async with bench.running():
        await eventually_async(lambda: _told(bench))
    assert [event.scope for event in bench.told(events.Paused)] == [paused]
    assert len(platform.calls) == 1
    assert rows.one("select array_agg(distinct (status, attempts)::text) from relay.outbox") == ["(pending,0)"]


async def _told(bench: Bench) -> bool:
    return bool(bench.told(events.Paused))


async def test_one_message_refused_for_its_credential_stops_no_neighbour(rows: Rows, engine: Engine) -> None:
    odd, *_ = rows.add(4)
    refused = Result(Fault.CREDENTIALS, "27", "no")

    def all_but_one(batch: Batch) -> Answer:
        return Answered(tuple(refused if message.id == odd else ACCEPTED for message in batch.messages))

    bench = Bench(engine, Scripted(all_but_one), directory=Phonebook({"default": ("77", "c0ffee")}))
    async with bench.running():
        await eventually_async(lambda: _done(rows, 3))
    assert bench.told(events.Paused) == []
    assert (rows.message(odd).status, rows.message(odd).attempts, rows.message(odd).error_code) == ("pending", 0, "27")


async def _done(rows: Rows, count: int) -> bool:
    return bool(rows.one("select count(*) from relay.outbox where status = 'done'") == count)
