"""Throttles and refused credentials: who is left alone, for how long, and that nobody else waits for it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from relay import events
from relay.message import Answer, Answered, Batch, Fault, Refused, Result, Scope
from relay.worker import Until
from relay.worker.waiting import Waiting
from tests.fixtures.rows import Rows
from tests.fixtures.scripted import Bench, Phonebook, Scripted, accept
from tests.fixtures.waiting import eventually_async


@pytest.fixture
def rows(engine: Engine) -> Rows:
    return Rows(engine)


class NeedsCredentials(Scripted):
    needs_credentials = True


def refusing(account: str, **refusal: Any) -> Callable[[Batch], Answer]:
    """Refuses whatever this account produces; accepts the rest."""
    return lambda batch: Refused(**refusal) if batch.account == account else accept(batch)


async def test_a_refused_credential_pauses_its_account_and_a_drain_ends_without_it(rows: Rows, engine: Engine) -> None:
    rows.add(60, account="a")
    rows.add(60, account="b")
    producer = Scripted(refusing("a", fault=Fault.CREDENTIALS, code="27", message="late", credential="old"))
    bench = Bench(engine, producer, concurrency=1, directory=Phonebook({"a": ("77", "old"), "b": ("77", "other")}))
    report = await bench.drain()
    assert (report.done, report.left) == (60, 60)
    (pause,) = report.pauses
    assert (pause.scope, pause.seconds_left, pause.error_code, pause.fingerprint) == ("account:a", None, "27", "old")
    assert [batch.account for batch in producer.calls].count("a") == 1
    assert rows.one("select max(attempts) from relay.outbox where account = 'a'") == 0
    assert bench.told(events.Paused) == [events.Paused("account:a", None, "credentials refused: late", "27")]


async def test_a_refused_app_pauses_all_its_accounts_and_no_other(rows: Rows, engine: Engine) -> None:
    for account in ("a", "b", "c"):
        rows.add(120, account=account)
    identities = {"a": ("77", "secret-1"), "b": ("77", "secret-1"), "c": ("88", "secret-2")}
    refused = {"fault": Fault.CREDENTIALS, "code": "25", "scope": Scope.APP, "app_key": "77", "credential": "secret-1"}
    producer = Scripted(lambda batch: Refused(**refused) if batch.account in "ab" else accept(batch))  # type: ignore[arg-type]
    report = await Bench(engine, producer, concurrency=1, directory=Phonebook(identities)).drain()
    assert (report.done, report.left) == (120, 240)
    assert [pause.scope for pause in report.pauses] == ["app:77"]
    assert sum(batch.account in "ab" for batch in producer.calls) == 1


async def test_accounts_of_one_app_differ_in_their_sessions_and_that_lifts_no_pause(rows: Rows, engine: Engine) -> None:
    rows.add(120, account="b")
    identities = {"a": ("77", "session-a"), "b": ("77", "session-b"), "default": ("77", "session-d")}
    refused = {"fault": Fault.CREDENTIALS, "code": "25", "scope": Scope.APP, "app_key": "77", "credential": "session-b"}
    producer = Scripted(refusing("b", **refused))
    bench = Bench(engine, producer, concurrency=1, directory=Phonebook(identities))
    report = await bench.drain()
    assert (report.left, bench.told(events.PauseLifted)) == (120, [])
    assert len(producer.calls) == 1


async def test_another_credential_lifts_the_pause_of_an_account(rows: Rows, engine: Engine) -> None:
    rows.add(10)
    book = Phonebook({"default": ("77", "old")})

    def session(_: Batch) -> Answer:
        if book.identities["default"][1] == "new":
            return accept(_)
        return Refused(Fault.CREDENTIALS, "27", app_key="77", credential="old")

    bench = Bench(engine, Scripted(session), directory=book)

    async def paused() -> bool:
        return bool(bench.told(events.Paused))

    async def done() -> bool:
        return rows.counts() == {"done": 10}

    async with bench.running():
        await eventually_async(paused)
        book.identities["default"] = ("77", "new")
        await eventually_async(done)
    assert bench.told(events.PauseLifted) == [events.PauseLifted("account:default")]
    assert rows.read("select * from relay.pause") == []
    assert rows.one("select array_agg(distinct attempts) from relay.outbox") == [1]


async def test_another_secret_lifts_the_pause_of_an_app_also_after_a_restart(rows: Rows, engine: Engine) -> None:
    rows.add(10)
    refusal = Refused(Fault.CREDENTIALS, "25", scope=Scope.APP, app_key="77", credential="old")
    first = Bench(engine, Scripted(lambda _: refusal), directory=Phonebook({"default": ("77", "old")}))
    assert (await first.drain()).left == 10
    second = Bench(engine, Scripted(), directory=Phonebook({"default": ("77", "new")}))
    report = await second.drain()
    assert (report.done, report.left) == (10, 0)
    assert second.told(events.PauseLifted) == [events.PauseLifted("app:77")]


async def test_a_credential_that_was_missing_lifts_the_pause_when_it_is_there(rows: Rows, engine: Engine) -> None:
    rows.add(10)
    assert (await Bench(engine, NeedsCredentials(), directory=Phonebook()).drain()).left == 10
    assert (await Bench(engine, NeedsCredentials(), directory=Phonebook()).drain()).left == 10
    assert (await Bench(engine, Scripted(), directory=Phonebook({"default": ("77", "f")})).drain()).done == 10


async def test_a_producer_that_needs_no_credentials_ends_the_pause_of_one_that_does(rows: Rows, engine: Engine) -> None:
    rows.add(10)
    assert (await Bench(engine, NeedsCredentials(), directory=Phonebook()).drain()).left == 10
    says_so_itself = Scripted(lambda _: Refused(Fault.CREDENTIALS, "relay.no_credentials"))
    assert (await Bench(engine, says_so_itself, directory=Phonebook()).drain()).left == 10
    assert len(says_so_itself.calls) == 1
    bench = Bench(engine, Scripted(), directory=Phonebook())
    assert (await bench.drain()).done == 10
    assert bench.told(events.PauseLifted) == [events.PauseLifted("account:default")]


async def test_a_pause_for_no_credentials_ends_when_nothing_of_its_account_waits(rows: Rows, engine: Engine) -> None:
    rows.add(3, account="gone")
    rows.add(2, account="gone too", key="k")
    rows.add(2, account="waits", key="k")
    rows.add(1, account="stays")
    assert (await Bench(engine, NeedsCredentials(), directory=Phonebook()).drain()).left == 8
    rows.run(
        "update relay.outbox set status = 'failed', error_code = 'relay.discarded', finished_at = now() "
        "where account like 'gone%'"
    )
    rows.run(
        "insert into relay.pause (scope, reason, error_code, credential, by) select scope, 'r', code, credential, 'w' "
        r"from (values ('account\:refused', '27', 'old'), ('account\:never', 'relay.no_credentials', 'none'), "
        r"('account\:by a person', null, null)) as v (scope, code, credential)"
    )
    bench = Bench(engine, NeedsCredentials(), directory=Phonebook())
    assert bench.store.unknown_accounts("gone", 2) == ({"gone too": "none", "never": "none"}, {}, "never")
    await bench.drain()
    left = rows.read("select scope from relay.pause order by scope")
    assert [scope for (scope,) in left] == ["account:by a person", "account:refused", "account:stays", "account:waits"]
    lifted = [event.scope for event in bench.told(events.PauseLifted)]
    assert lifted == ["account:gone", "account:gone too", "account:never"]
    rows.add(1, account="gone")
    report = await Bench(engine, NeedsCredentials(), directory=Phonebook()).drain()
    assert (len(report.pauses), report.left) == (5, 4)


async def test_a_throttle_ends_by_itself_and_costs_no_attempt(rows: Rows, engine: Engine) -> None:
    rows.add(10)
    producer = Scripted()

    def first_throttled(batch: Batch) -> Answer:
        if len(producer.calls) == 1:
            return Refused(Fault.THROTTLED, "7", "accesscontrol.x", pause_seconds=0.3)
        return accept(batch)

    producer.play = first_throttled
    report = await Bench(engine, producer).drain()
    assert (report.done, report.retry, len(producer.calls)) == (10, 10, 2)
    assert rows.one("select array_agg(distinct attempts) from relay.outbox") == [1]
    gap = "select max(claimed_at) - min(settled_at) >= interval '0.3 second' from relay.call"
    assert rows.one(gap) is True


async def test_a_throttled_account_does_not_hold_up_another(rows: Rows, engine: Engine) -> None:
    rows.add(200, account="a")
    rows.add(200, account="b")
    bench = Bench(engine, Scripted(refusing("a", fault=Fault.THROTTLED, code="7", pause_seconds=3600.0)))

    async def b_is_done() -> bool:
        done = rows.one("select count(*) from relay.outbox where account = 'b' and status = 'done'")
        return bool(done == 200)

    async with bench.running():
        await eventually_async(b_is_done)
    assert rows.one("select count(*) from relay.outbox where account = 'a' and status = 'pending'") == 200


async def test_an_index_alone_that_is_throttled_waits_alone(rows: Rows, engine: Engine) -> None:
    rows.add(3)

    def second_throttled(batch: Batch) -> Answer:
        if len(batch) == 3:
            ok, wait = Result(), Result(Fault.THROTTLED, "7", pause_seconds=0.2)
            return Answered((ok, wait, ok))
        return accept(batch)

    report = await Bench(engine, Scripted(second_throttled)).drain()
    assert (report.done, report.retry, report.pauses) == (3, 1, ())
    assert rows.read("select * from relay.pause") == []


async def test_held_messages_are_left_and_the_drain_ends(rows: Rows, engine: Engine) -> None:
    rows.add(3)
    rows.run("update relay.outbox set available_at = 'infinity' where id = (select min(id) from relay.outbox)")
    report = await Bench(engine, Scripted()).drain()
    assert (report.done, report.left, report.pauses) == (2, 1, ())


async def test_a_pause_by_hand_is_heeded_while_running(rows: Rows, engine: Engine) -> None:
    producer = Scripted()
    rows.run("insert into relay.pause (scope, reason, by) values ('app:77', 'sale', 'me')")
    bench = Bench(engine, producer, directory=Phonebook({"default": ("77", "f")}))
    rows.add(5)
    async with bench.running():
        rows.add(5, account="other")

        async def other_done() -> bool:
            return rows.counts().get("done") == 5

        await eventually_async(other_done)
        assert {batch.account for batch in producer.calls} == {"other"}
        rows.run("delete from relay.pause")

        async def all_done() -> bool:
            return rows.counts() == {"done": 10}

        await eventually_async(all_done)


async def test_the_pace_of_an_app_is_kept_by_the_whole_fleet(rows: Rows, engine: Engine) -> None:
    rows.add(12)
    book = Phonebook({"default": ("77", "f")})
    benches = [
        Bench(engine, Scripted(), name=name, directory=book, batch_size=1, concurrency=4, calls_per_second=20.0)
        for name in "ab"
    ]
    await asyncio.gather(*(bench.drain() for bench in benches))
    assert rows.counts() == {"done": 12}
    span = "select extract(epoch from max(sent_at) - min(sent_at)) from relay.call where outcome = 'ok'"
    assert float(rows.one(span)) >= 11 / 20 * 0.8


async def test_trouble_with_credentials_is_told_once_and_when_it_is_over(rows: Rows, engine: Engine) -> None:
    rows.add(100, account="a")
    directory = Phonebook({"a": ("77", "x")}, trouble="RELAY_ACCOUNTS_DIR cannot be read")

    def mended(batch: Batch) -> Answer:
        directory.trouble = None
        return accept(batch)

    bench = Bench(engine, Scripted(mended), concurrency=1, directory=directory)
    await bench.drain()
    assert bench.told(events.AccountsTroubled) == [events.AccountsTroubled("RELAY_ACCOUNTS_DIR cannot be read")]


async def test_a_run_that_ends_by_itself_says_what_it_waits_for(
    rows: Rows, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows.add(2, account="shop")
    rows.run("insert into relay.pause (scope, until, reason, by) values ('account:shop', now() + '1 hour', 'r', 'ann')")
    once = Bench(engine, Scripted())
    await once.drain(Until.ONE_BATCH)
    (told,) = once.told(events.Warned)
    assert re.fullmatch(
        r"2 pending messages, none to be sent now; paused: account:shop until \d{4}-.* UTC", told.reason
    )
    monkeypatch.setattr(Waiting.__init__, "__kwdefaults__", {"tell_seconds": 0.0})

    def freed(event: object) -> None:
        if isinstance(event, events.Warned):
            rows.run("delete from relay.pause")

    drain = Bench(engine, Scripted(), observers=[freed])
    assert (await drain.drain()).done == 2
    assert [told.reason.partition(" until")[0] for told in drain.told(events.Warned)] == [
        "2 pending messages, none to be sent now; paused: account:shop"
    ]
    nothing = Bench(engine, Scripted())
    await nothing.drain(Until.ONE_BATCH)
    assert nothing.told(events.Warned) == []


@pytest.mark.usefixtures("independent")
async def test_a_run_that_ends_by_itself_says_when_the_next_retry_is(rows: Rows, engine: Engine) -> None:
    """Of what is not paused and not held, and of an ordering key that of its head alone."""
    soon, head, behind, paused, held = (rows.add(key=key, account=account)[0] for key, account in _WAITING)
    rows.run("insert into relay.pause (scope, until, reason, by) values ('account:ill', now() + '1 hour', 'r', 'ann')")

    async def told(**minutes: int) -> str:
        for name, id_ in {"soon": soon, "head": head}.items():
            rows.run(f"update relay.outbox set available_at = now() + '{minutes[name]} min' where id = {id_}")
        bench = Bench(engine, Scripted())
        await bench.drain(Until.ONE_BATCH)
        (warned,) = bench.told(events.Warned)
        return warned.reason

    rows.run("update relay.outbox set available_at = now() + '1 min' where id = any (:ids)", ids=[behind, paused])
    rows.run("update relay.outbox set available_at = 'infinity' where id = :id", id=held)
    for minutes in ({"soon": 20, "head": 60}, {"soon": 60, "head": 20}):
        when = re.search(
            r"5 pending messages.*; the next retry or later time is (.*) UTC; paused: ", await told(**minutes)
        )
        assert when is not None
        due = datetime.fromisoformat(f"{when[1]}+00:00") - datetime.now(UTC)
        assert timedelta(minutes=19) < due < timedelta(minutes=21)
    rows.run("delete from relay.pause")
    rows.run("update relay.outbox set available_at = 'infinity'")
    once = Bench(engine, Scripted())
    await once.drain(Until.ONE_BATCH)
    (warned,) = once.told(events.Warned)
    assert "; a person is waited for; relay list --status pending" in warned.reason


_WAITING = [(None, "shop"), ("k", "shop"), ("k", "shop"), (None, "ill"), (None, "shop")]
