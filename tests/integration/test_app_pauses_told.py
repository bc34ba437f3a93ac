"""An app key is paused: nobody is told that what waits for it is due without a reason, and what else waits is told."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import Engine

from relay import events, reports
from relay.cli.verbs import relay
from relay.dashboard.concerns import STUCK, Concern, concerns
from relay.dashboard.pages.overview import situation
from relay.database import Database
from relay.message import Answer, Batch, Fault, Refused, Scope
from relay.worker import Until
from tests.fixtures.checked import Check
from tests.fixtures.rows import Rows
from tests.fixtures.scripted import Bench, Phonebook, Scripted, accept

OF_77 = {"a": ("77", "secret"), "b": ("77", "secret")}
IDENTITIES = OF_77 | {"c": ("88", "other")}
OLD = """
insert into relay.outbox (topic, content, account, ordering_key, available_at, created_at)
select 't', '{}', :account, case when n % 2 = 0 then 'k' || n end, now() - interval '10 min', now() - interval '10 min'
from generate_series(1, :count) n
"""
LONG_AGO = "update relay.pause set since = now() - interval '1 hour' where scope like 'app\\:%'"


@pytest.fixture
def rows(engine: Engine, independent: None) -> Rows:
    return Rows(engine)


@pytest.fixture
def run(check: Check) -> Callable[..., str]:
    """What a verb prints, on the database of this test."""

    def run(*arguments: str) -> str:
        result = CliRunner().invoke(relay, arguments)
        assert result.exit_code == 0, result.output
        return result.output

    return run


def refusing_77(batch: Batch) -> Answer:
    if batch.account in OF_77:
        return Refused(Fault.CREDENTIALS, "25", "no", scope=Scope.APP, app_key="77", credential="secret")
    return accept(batch)


def old(rows: Rows, account: str, count: int = 4) -> None:
    """Due for ten minutes, half of them with an ordering key each."""
    rows.run(OLD, account=account, count=count)


def worker(engine: Engine, play: Callable[[Batch], Answer] = refusing_77) -> Bench:
    return Bench(engine, Scripted(play), concurrency=1, directory=Phonebook(dict(IDENTITIES)))


def page_one(engine: Engine) -> dict[str, Concern]:
    with Database(engine).snapshot() as connection:
        return {one.name: one for one in concerns(situation(connection))}


def status(engine: Engine) -> reports.Status:
    with Database(engine).snapshot() as connection:
        return reports.status(connection)


async def test_what_an_app_key_holds_up_is_not_due_without_a_reason(
    rows: Rows, engine: Engine, check: Check, run: Callable[..., str]
) -> None:
    for account in IDENTITIES:
        old(rows, account)
    assert (await worker(engine).drain()).left == 8
    found = status(engine)
    assert (found.due, found.due_paused, found.due_perhaps_paused, found.oldest_free_seconds) == (8, 0, 8, None)
    said = page_one(engine)
    assert set(said) == {"app_pauses_for_credentials"}
    assert said["app_pauses_for_credentials"].values["due"] == 8
    assert re.search(r"due +8, of which 8 that may wait for the pause of app:77\n", run("status"))
    facts = check()
    assert [fact["state"] for fact in facts["backlog"]] == ["ok"]
    assert facts["backlog"][0]["sentence"].endswith("; 8 of them may wait for the pause of an app key")
    (paused,) = facts["pauses"]
    assert paused["sentence"].startswith("app:77 until resumed: ")
    assert paused["sentence"].endswith("; every account that has such an app key waits: 8 due messages may")


async def test_beside_an_app_key_that_is_paused_for_long_what_else_is_stuck_is_told(
    rows: Rows, engine: Engine, check: Check, run: Callable[..., str]
) -> None:
    rows.run("insert into relay.pause (scope, reason, by) values ('app:77', 'leaked', 'ann')")
    rows.run(LONG_AGO)
    rows.run("insert into relay.pause (scope, reason, by) values ('account:d', 'moving', 'ann')")
    for account in (*IDENTITIES, "d"):
        old(rows, account)
    assert (await worker(engine).drain()).done == 4
    old(rows, "c", 6)  # and the worker is gone
    found = status(engine)
    assert (found.due, found.due_paused, found.due_perhaps_paused) == (18, 4, 8)
    assert found.oldest_free_seconds == pytest.approx(600, abs=60)
    said = page_one(engine)
    assert set(said) == {"backlog_no_worker", "app_pauses", "pauses"}
    assert [said[name].values["due"] for name in ("backlog_no_worker", "app_pauses", "pauses")] == [6, 8, 4]
    assert said["backlog_no_worker"].level == STUCK
    waits = "4 of accounts that are paused, and 8 that may wait for the pause of app:77"
    assert f"18, of which {waits}\n" in run("status")
    facts = check()
    (backlog,) = facts["backlog"]
    assert backlog["state"] == "warn"
    told = "18 due, 4 of them of paused accounts, 8 of them may wait for the pause of an app key; the oldest other one"
    assert backlog["sentence"].startswith(told)
    assert [fact["sentence"].partition(" ")[0] for fact in facts["pauses"]] == ["app:77", "account:d"]


async def test_who_is_sent_for_since_has_another_app_key_also_while_others_are_on_their_way(
    rows: Rows, engine: Engine
) -> None:
    """What was claimed right when the key was paused, or never sent, says nothing of its account."""
    rows.add(2, account="c")
    await worker(engine).drain()
    rows.run("insert into relay.pause (scope, reason, by) values ('app:77', 'leaked', 'ann')")
    old(rows, "c")
    assert status(engine).due_perhaps_paused == 4
    rows.run(LONG_AGO)
    assert status(engine).due_perhaps_paused == 0
    rows.run("insert into relay.call (account, worker, message_ids, lease_until) values ('a', 'w', '{99}', now())")
    old(rows, "a")
    assert status(engine).due_perhaps_paused == 4, "a call that is open may be given back unsent"
    rows.run("update relay.pause set until = now() - interval '1 s'")
    found = status(engine)
    assert (found.due_perhaps_paused, found.due) == (0, 8)
    assert found.oldest_free_seconds == pytest.approx(600, abs=60)


async def test_a_message_says_which_pause_it_may_wait_for(rows: Rows, engine: Engine, run: Callable[..., str]) -> None:
    rows.run("insert into relay.pause (scope, reason, by) values ('app:77', 'leaked', 'ann')")
    rows.run(LONG_AGO)
    (of_a,), (of_c,) = rows.add(1, account="a"), rows.add(1, account="c")
    assert (await worker(engine).drain()).done == 1
    (waits_alone,) = rows.add(1, account="c")

    def perhaps(message_id: int) -> list[str]:
        with Database(engine).snapshot() as connection:
            found: Any = reports.message(connection, message_id)
        return [pause.scope for pause in found.perhaps_paused_by]

    assert [perhaps(id_) for id_ in (of_a, of_c, waits_alone)] == [["app:77"], [], []]
    assert "if its account has the app key of app:77: leaked\n" in run("show", str(of_a))
    assert "perhaps paused" not in run("show", str(waits_alone))
    rows.run("insert into relay.pause (scope, reason, by) values ('account:a', 'moving', 'ann')")
    assert perhaps(of_a) == []


async def test_what_a_run_that_ends_waits_for_is_not_a_retry_of_a_paused_app_key(rows: Rows, engine: Engine) -> None:
    rows.run("insert into relay.pause (scope, reason, by) values ('app:77', 'leaked', 'ann')")
    for minutes, account in ((0, "default"), (20, "default"), (60, "c")):
        rows.add(1, account=account, due_in_seconds=60 * minutes)
    once = Bench(engine, Scripted(), directory=Phonebook({"default": ("77", "secret")}))
    await once.drain(Until.ONE_BATCH)
    (told,) = once.told(events.Warned)
    when = re.search(r"3 pending messages.*; the next retry or later time is (.*) UTC; paused: app …77 ", told.reason)
    assert when is not None
    due = datetime.fromisoformat(f"{when[1]}+00:00") - datetime.now(UTC)
    assert timedelta(minutes=59) < due < timedelta(minutes=61)
