"""A worker holds the keys of failed messages: whoever asks why later ones wait is told of the failed one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from click.testing import CliRunner
from sqlalchemy import Engine

from relay import reports
from relay.cli.verbs import relay
from relay.dashboard.concerns import STUCK, Concern, concerns
from relay.dashboard.pages.overview import situation
from relay.database import Database
from relay.message import Answer, Batch, Fault, Refused
from tests.fixtures.checked import Check
from tests.fixtures.dashboard import Browse, Browser, parsed
from tests.fixtures.rows import Rows
from tests.fixtures.scripted import Bench, Scripted, accept

OLD = """
insert into relay.outbox (topic, content, account, ordering_key, available_at, created_at)
values (:topic, '{}', :account, :key, now() - interval '10 min', now() - interval '10 min') returning id
"""

TRIED = (
    """insert into relay.call (account, worker, message_ids, lease_until, settled_at, outcome)
    values ('default', 'w', array[cast(:id as bigint)], now(), now(), 'partial')""",
    """insert into relay.attempt (message_id, call_id, result_index, outcome, error_code, retry_at)
    select :id, max(id), 0, 'retry', 'isp.x', now() from relay.call""",
)


@pytest.fixture
def rows(engine: Engine, independent: None) -> Rows:
    return Rows(engine)


@pytest.fixture
def show(check: Check) -> Callable[[int], str]:
    """What ``relay show`` prints of a message of this test."""

    def show(message_id: int) -> str:
        result = CliRunner().invoke(relay, ["show", str(message_id)])
        assert result.exit_code == 0, result.output
        return result.output

    return show


def old(rows: Rows, key: str | None = None, topic: str = "t", account: str = "default") -> int:
    """Due for as long as page one calls stuck."""
    return int(rows.read(OLD, topic=topic, account=account, key=key)[0].id)


def bad(rows: Rows, *keys: str) -> list[int]:
    """Three messages of each key, of which the platform refuses the first."""
    return [old(rows, key, topic) for key in keys for topic in ("bad", "t", "t")]


def refusing(batch: Batch) -> Answer:
    """A call with a bad message, which is split until it is alone."""
    if any(message.topic == "bad" for message in batch.messages):
        return Refused(Fault.CONTENT, "41", "isv.invalid-parameter", "no")
    return accept(batch)


def worked(rows: Rows, *, holds: bool = True) -> None:
    """A worker of this setting did what it may."""
    asyncio.run(Bench(rows.engine, Scripted(refusing), failed_holds=holds).drain())


def page_one(engine: Engine) -> dict[str, Concern]:
    with Database(engine).snapshot() as connection:
        return {one.name: one for one in concerns(situation(connection)) if one.level == STUCK}


def page(browser: Browser, path: str, language: str = "en") -> str:
    answer = browser.get(path, **{"accept-language": language})
    assert answer.status_code == 200, answer.text
    return answer.text


def test_page_one_and_the_check_name_the_failed_message(rows: Rows, engine: Engine, check: Check) -> None:
    first, *_ = bad(rows, "k1", "k2")
    worked(rows)
    (said,) = page_one(engine).values()
    assert (said.name, dict(said.values)) == ("failed_heads", {"keys": "2", "due": "4", "id": first})
    assert said.query == {"state": "failed", "account": "default", "key": "k1"}
    assert parsed(said.command)
    assert [(press.verb, press.query) for press in said.acts] == [
        ("retry", {"id": str(first)}),
        ("discard", {"id": str(first)}),
    ]
    (warned,) = check()["backlog"]
    assert warned["state"] == "warn"
    assert warned["sentence"].startswith("4 due behind the failed message of their ordering key, of 2 keys, ")
    assert f"message {first}, isv.invalid-parameter" in warned["sentence"]
    assert f"relay retry {first} --reason" in warned["hint"]


def test_pages_lead_to_the_failed_message(
    rows: Rows, database_url: str, browse: Browse, show: Callable[[int], str]
) -> None:
    failed, *behind = bad(rows, "k")
    worked(rows)
    browser = browse(database_url, dashboard_allow_actions=True)
    for one in behind:
        for language in ("en", "zh-CN"):
            told = page(browser, f"/messages/{one}", language)
            assert f'<a href="/messages/{failed}">' in told
            assert "RELAY_ON_FAILED_HEAD=hold" in told
            assert f'href="/act/retry?id={failed}"' in told
            assert f'href="/act/discard?id={failed}"' in told
            told = page(browser, "/", language)
            assert f'href="/act/retry?id={failed}"' in told
            assert "RELAY_ON_FAILED_HEAD=hold" in told
        assert f"relay retry {failed} or relay discard {failed}" in " ".join(show(one).split())
    assert "RELAY_ON_FAILED_HEAD" not in page(browser, f"/messages/{failed}")
    assert "RELAY_ON_FAILED_HEAD" not in show(failed)


def test_once_it_is_discarded_nothing_is_said_of_it(
    rows: Rows, engine: Engine, check: Check, show: Callable[[int], str]
) -> None:
    failed, behind, _ = bad(rows, "k")
    worked(rows)
    rows.run("select relay.discard(array[cast(:id as bigint)], 'wrong', 'ann', null)", id=failed)
    assert set(page_one(engine)) == {"backlog_no_worker"}
    assert "Start a worker" in check()["backlog"][0]["hint"]
    assert "failed" not in show(behind)


def test_what_nothing_failed_before_is_no_part_of_it(
    rows: Rows, engine: Engine, check: Check, show: Callable[[int], str]
) -> None:
    """Another key, another account, an earlier message, none that has a key: none of them waits for the failed one."""
    earlier, later = old(rows, "k", "bad"), old(rows, "k", "bad")
    worked(rows, holds=False)
    rows.run("select relay.retry(array[cast(:id as bigint)], 'mended', 'ann', null, null)", id=earlier)
    others = [old(rows, "other"), old(rows, "k", account="other"), old(rows)]
    assert set(page_one(engine)) == {"backlog_no_worker"}
    assert len(check()["backlog"]) == 1
    for one in (earlier, later, *others):
        assert "behind failed" not in show(one)


def test_one_that_was_tried_since_does_not_wait_for_it(rows: Rows, show: Callable[[int], str]) -> None:
    _, behind, after = bad(rows, "k")
    worked(rows)
    for statement in TRIED:
        rows.run(statement, id=behind)
    assert "behind failed" not in show(behind)
    assert "behind failed" in show(after)


def test_beside_it_what_else_does_not_leave_is_told_too(rows: Rows, engine: Engine, check: Check) -> None:
    bad(rows, "k")
    worked(rows)
    old(rows)
    assert list(page_one(engine)) == ["failed_heads", "backlog_no_worker"]
    assert [fact["sentence"].partition(",")[0] for fact in check()["backlog"]] == [
        "3 due",
        "2 due behind the failed message of their ordering key",
    ]


def test_of_a_paused_account_it_says_nothing(rows: Rows, engine: Engine) -> None:
    """That waits for the pause first."""
    bad(rows, "k")
    worked(rows)
    rows.run("insert into relay.pause (scope, reason, by) values ('account:default', 'moving', 'ann')")
    old(rows, account="other")
    assert set(page_one(engine)) == {"backlog_no_worker"}


def test_a_bound_is_told(rows: Rows, engine: Engine) -> None:
    bad(rows, "k1", "k2", "k3")
    worked(rows)
    for most_keys, most_due, told in ((2, 9, (2, 4, False)), (9, 4, (3, 4, False)), (9, 9, (3, 6, True))):
        with Database(engine).reading() as connection:
            found = reports.failed_heads(connection, most_keys=most_keys, most_due=most_due)
        assert found is not None
        assert (found.keys, found.due, found.exact) == told
