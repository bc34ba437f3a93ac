"""What the relay promises, one test each, named after it. How each can be broken is in the body."""

from __future__ import annotations

import json
import random
import signal
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import make_url

import relay
from tests.acceptance.outbox import TOPIC, Outbox, assert_reconciled, numbered, overlapping_claims
from tests.acceptance.patience import eventually
from tests.fixtures.database import Server
from tests.fixtures.processes import StartRelay
from tests.fixtures.strict_platform import (
    Call,
    Reply,
    StrictPlatform,
    answer_when_let_go,
    cut_after_storing,
    cut_before_storing,
    error,
    hang_after_storing,
    honest,
    later,
    lie,
    raw,
)

INSERT = "insert into relay.outbox (topic, content, account, ordering_key) values (%s, %s, %s, %s)"


def test_promise_1_no_message_of_a_rolled_back_transaction_is_produced(
    outbox: Outbox, platform: StrictPlatform, env: dict[str, str], start_relay: StartRelay
) -> None:
    """Rolled back at once, to a savepoint, by a lost connection, and after the relay had long been looking."""
    worker = start_relay("run", env=env)
    worker.wait_for_line('"worker.started"')
    with psycopg.connect(outbox.libpq_url) as connection:
        relay.add(connection, TOPIC, {"tid": 1, "fate": "whole transaction"})
        connection.rollback()
        relay.add(connection, TOPIC, {"tid": 2, "fate": "kept"})
        with connection.transaction(force_rollback=True):
            relay.add(connection, TOPIC, {"tid": 3, "fate": "savepoint"})
    lost = psycopg.connect(outbox.libpq_url)
    relay.add(lost, TOPIC, {"tid": 4, "fate": "connection lost"})
    slow = psycopg.connect(outbox.libpq_url)
    relay.add(slow, TOPIC, {"tid": 5, "fate": "long open"})
    outbox.execute("select pg_terminate_backend(%s)", lost.info.backend_pid)
    lost.close()
    eventually(lambda: outbox.statuses() == {"done": 1})

    outbox.insert(numbered(1, "afterwards"))
    eventually(lambda: outbox.statuses() == {"done": 2})
    slow.rollback()
    slow.close()

    worker.terminate()
    assert worker.wait() == 0, worker.report()
    assert [next(iter(json.loads(content).items())) for content in platform.contents] == [("tid", 2), ("afterwards", 1)]
    assert_reconciled(outbox, platform)


class Moody:
    """Every answer a platform can give, most of them wrong, never twice in the same order."""

    def __init__(self, *, seed: int) -> None:
        self._rng = random.Random(seed)
        self.mishaps = [
            error(7, "accesscontrol.limited-by-api-access-count"),
            error(10),
            error(15, "isp.remote-service-error"),
            error(15, "isp.remote-service-timeout", keep=True),
            error(41, "isv.invalid-parameter"),
            error(50),
            raw("{", keep=True),
            raw("<html></html>", 502),
            raw("", 503, keep=False),
            lie(lambda r: r.update(results=r["results"][:1])),
            lie(lambda r: r.update(is_all_success=None, results=None)),
            lie(lambda r: r.update(results=[*r["results"], None])),
            cut_before_storing,
            cut_after_storing,
        ]

    def __call__(self, platform: StrictPlatform, call: Call) -> Reply | None:
        mishap = self._rng.random() < 0.4 and call.number < 150
        return later(0.005, self._rng.choice(self.mishaps) if mishap else honest)(platform, call)


def test_promise_2_every_committed_message_ends_done_or_failed(
    outbox: Outbox, platform: StrictPlatform, env: dict[str, str], start_relay: StartRelay
) -> None:
    """Whatever the platform answers; crashes of workers and of PostgreSQL are in test_crashes.py."""
    contents = numbered(400)
    outbox.insert(contents)
    platform.otherwise = Moody(seed=2)
    platform.refuses = lambda content: "isv.odd" if json.loads(content)["tid"] % 40 == 0 else None

    worker = start_relay("run", "--drain", "--batch-size", "20", env={**env, "RELAY_MAX_ATTEMPTS": "6"})

    assert worker.wait(60) == 0, worker.report()
    statuses = outbox.statuses()
    assert statuses.keys() <= {"done", "failed"}
    assert sum(statuses.values()) == 400
    assert all(row.error_code for row in outbox.rows() if row.status == "failed")
    assert_reconciled(outbox, platform)


def test_promise_3_done_only_on_proof_for_that_index_of_that_call(
    outbox: Outbox, platform: StrictPlatform, env: dict[str, str], start_relay: StartRelay
) -> None:
    """Which answers prove what is in test_lies.py; here each index of a full call has a fate of its own."""
    fates = ["accepted", "isv.refused", "isp.service-unavailable", None]  # the last one: nothing is said about it
    outbox.insert(json.dumps({"tid": number, "fate": fates[number % 4]}) for number in range(48))

    def told(platform: StrictPlatform, call: Call) -> Reply:
        def speak(response: dict[str, object]) -> None:
            said = (json.loads(element["content"])["fate"] for element in call.elements)
            response |= {"is_all_success": False, "results": [_entry(fate) for fate in said]}

        reply = lie(speak)(platform, call)
        assert reply
        return reply

    platform.script.append(told)
    platform.refuses = lambda content: (
        "isv.refused" if "isv" in content else "isp.service-unavailable" if "isp" in content else None
    )
    worker = start_relay("run", "--once", env=env)

    assert worker.wait() == 0, worker.report()
    outcomes = dict(outbox.select("select message_id, outcome from relay.attempt"))
    for row in outbox.rows():
        match json.loads(row.content)["fate"]:
            case "accepted":
                assert (row.status, row.result_index, outcomes.get(row.id)) == ("done", row.id - 1, None)
            case "isv.refused":
                assert (row.status, row.error_code, outcomes[row.id]) == ("failed", "isv.refused", "failed")
            case "isp.service-unavailable":
                assert (row.status, row.error_code, outcomes[row.id]) == ("pending", "isp.service-unavailable", "retry")
            case _:
                assert (row.status, row.error_code, outcomes[row.id]) == ("pending", "relay.unproven", "unknown")
    assert_reconciled(outbox, platform)


def test_promise_4_two_workers_never_hold_one_message(
    outbox: Outbox, platform: StrictPlatform, env: dict[str, str], start_relay: StartRelay
) -> None:
    contents = numbered(600)
    outbox.insert(contents)
    platform.otherwise = later(0.05)  # so that the last one to start finds something left
    workers = [start_relay("run", "--drain", "--batch-size", "5", env=env) for _ in range(3)]

    assert [worker.wait() for worker in workers] == [0, 0, 0]
    assert sorted(platform.contents) == sorted(contents)  # each once
    assert overlapping_claims(outbox) == []
    assert outbox.scalar("select count(distinct worker) from relay.call") > 1
    assert_reconciled(outbox, platform)


def test_promise_4_a_worker_that_lost_its_claim_changes_nothing(
    outbox: Outbox, platform: StrictPlatform, env: dict[str, str], start_relay: StartRelay
) -> None:
    """Its process is frozen until the lease is over; it wakes up with a good answer in hand."""
    outbox.insert(numbered(10))
    env |= {"RELAY_TMC_TIMEOUT_SECONDS": "1", "RELAY_LEASE_SECONDS": "2"}
    platform.script.append(answer_when_let_go)
    frozen = start_relay("run", env=env)
    eventually(lambda: platform.waiting)
    frozen.send_signal(signal.SIGSTOP)
    heir = start_relay("run", "--drain", env=env)
    assert heir.wait() == 0, heir.report()
    before = _everything(outbox)

    platform.let_go.set()
    frozen.send_signal(signal.SIGCONT)
    frozen.wait_for_line('"call.lost"')
    frozen.terminate()

    assert frozen.wait() == 0, frozen.report()
    assert _everything(outbox) == before
    assert outbox.statuses() == {"done": 10}
    assert len(platform.contents) == 20
    assert_reconciled(outbox, platform)


def test_promise_5_every_duplicate_is_explained_by_an_unknown_outcome(
    outbox: Outbox, platform: StrictPlatform, env: dict[str, str], start_relay: StartRelay
) -> None:
    """Also one that arrives after everybody had given up on it."""
    outbox.insert(numbered(200))
    doubtful = [cut_after_storing, raw("?"), answer_when_let_go, hang_after_storing]
    platform.script.extend([honest, *doubtful, honest, *doubtful])
    env |= {"RELAY_TMC_TIMEOUT_SECONDS": "1.5"}

    worker = start_relay("run", "--drain", "--batch-size", "20", env=env)

    assert worker.wait() == 0, worker.report()
    platform.let_go.set()  # what hangs is accepted now, long after its second delivery
    assert outbox.statuses() == {"done": 200}
    # Every call without a usable answer was stored all the same. How many messages that are depends on how soon the
    # relay grows careful and sends small batches.
    unknown = sum(outbox.attempts("unknown").values())
    assert unknown >= len(doubtful)
    eventually(lambda: len(platform.contents) == 200 + unknown)
    assert_reconciled(outbox, platform)


def test_promise_6_one_key_is_accepted_in_id_order(
    outbox: Outbox, platform: StrictPlatform, env: dict[str, str], start_relay: StartRelay
) -> None:
    keys = [f"order-{number}" for number in range(40)]
    contents = [json.dumps({"key": key, "step": step}) for step in range(8) for key in keys]
    with psycopg.connect(outbox.libpq_url) as connection, connection.cursor() as cursor:
        rows = [(TOPIC, content, "default", json.loads(content)["key"]) for content in contents]
        cursor.executemany(INSERT, rows)
    platform.otherwise = Moody(seed=6)
    env |= {"RELAY_MAX_ATTEMPTS": "50", "RELAY_RETRY_MAX_SECONDS": "0.1"}

    workers = [start_relay("run", "--drain", "--batch-size", "15", env=env) for _ in range(2)]

    assert [worker.wait(60) for worker in workers] == [0, 0], workers[0].report()
    first: dict[str, dict[int, None]] = defaultdict(dict)  # a dict keeps the order of first acceptance
    for content in platform.contents:
        message = json.loads(content)
        first[message["key"]].setdefault(message["step"])
    failed = {row.content for row in outbox.rows() if row.status == "failed"}
    assert {key: list(steps) for key, steps in first.items()} == {key: sorted(steps) for key, steps in first.items()}
    assert set(platform.contents) | failed == set(contents)
    assert_reconciled(outbox, platform)


def test_promise_6_one_keys_trouble_stops_no_other_key(
    outbox: Outbox, platform: StrictPlatform, env: dict[str, str], start_relay: StartRelay
) -> None:
    with psycopg.connect(outbox.libpq_url) as connection:
        for number in range(30):
            for key in ("ill", "well", None):
                content = json.dumps({"key": key, "number": number})
                connection.execute(INSERT, (TOPIC, content, "default", key))
    platform.refuses = lambda content: "isp.service-unavailable" if '"ill", "number": 0}' in content else None
    worker = start_relay("run", env={**env, "RELAY_MAX_ATTEMPTS": "1000"})

    eventually(lambda: outbox.statuses() == {"done": 60, "pending": 30})
    assert not any('"ill"' in content for content in platform.contents)
    platform.refuses = lambda _content: None

    eventually(lambda: outbox.statuses() == {"done": 90})
    worker.terminate()
    assert worker.wait() == 0
    ill = [json.loads(content)["number"] for content in platform.contents if '"ill"' in content]
    assert ill == list(range(30))
    assert_reconciled(outbox, platform)


def test_promise_7_one_bad_message_costs_its_neighbours_no_attempt(
    outbox: Outbox, platform: StrictPlatform, env: dict[str, str], start_relay: StartRelay
) -> None:
    """The platform refuses a whole call for one message and does not say for which."""
    contents = numbered(50)
    outbox.insert([*contents[:17], '{"poison":true}', *contents[17:]])

    def refuse_the_whole_call(platform: StrictPlatform, call: Call) -> Reply | None:
        poisoned = any("poison" in element["content"] for element in call.elements)
        return (error(41, "isv.invalid-parameter") if poisoned else honest)(platform, call)

    platform.otherwise = refuse_the_whole_call
    worker = start_relay("run", "--drain", env=env)

    assert worker.wait() == 0, worker.report()
    assert outbox.statuses() == {"done": 50, "failed": 1}
    assert {row.attempts for row in outbox.rows()} == {1}
    assert outbox.select("select message_id, outcome, error_code from relay.attempt") == [
        (18, "failed", "isv.invalid-parameter")
    ]
    assert sorted(platform.contents) == sorted(contents)
    assert_reconciled(outbox, platform)


def test_promise_7_one_bad_account_costs_other_accounts_no_time(
    outbox: Outbox, platform: StrictPlatform, env: dict[str, str], start_relay: StartRelay
) -> None:
    """The other account has no credentials here, its messages wait; nobody else's do, and no attempt is paid."""
    with psycopg.connect(outbox.libpq_url) as connection:
        for number in range(200):
            connection.execute(INSERT, (TOPIC, json.dumps({"unknown shop": number}), "a-shop", None))
    outbox.insert(numbered(100))
    worker = start_relay("run", env=env)

    eventually(lambda: outbox.statuses() == {"done": 100, "pending": 200})
    worker.terminate()

    assert worker.wait() == 0
    assert sorted(platform.contents) == sorted(numbered(100))
    assert outbox.select("select scope, until from relay.pause") == [("account:a-shop", None)]
    assert outbox.scalar("select sum(attempts) from relay.outbox where account = 'a-shop'") == 0
    assert_reconciled(outbox, platform)


@contextmanager
def _role(postgres: Server, outbox: Outbox) -> Iterator[str]:
    """The URL of a role that can log in and do nothing, but for what a database gives everybody."""
    name = f"relay_test_{uuid4().hex[:8]}"
    admin = Outbox(postgres.admin_url(make_url(outbox.url).database or ""))
    admin.execute(f"create role {name} login password 'p'")
    try:
        yield make_url(outbox.libpq_url).set(username=name, password="p").render_as_string(hide_password=False)
    finally:
        admin.execute(f"drop owned by {name}")
        admin.execute(f"drop role {name}")


FORBIDDEN = [
    "select content from relay.outbox",
    "update relay.outbox set status = 'done'",
    "delete from relay.outbox",
    "truncate relay.outbox",
    "select * from relay.call",
    "select * from relay.attempt",
    "delete from relay.pause",
    "insert into relay.action (actor, action, reason, count) values ('me', 'discard', 'x', 1)",
]


def test_promise_10_the_insert_needs_insert_alone(postgres: Server, outbox: Outbox) -> None:
    with _role(postgres, outbox) as url, psycopg.connect(url, autocommit=True) as application:
        role = application.info.user
        outbox.execute(f"grant usage on schema relay to {role}")
        outbox.execute(f"grant insert on relay.outbox to {role}")
        application.execute("INSERT INTO relay.outbox (topic, content) VALUES (%s, %s)", (TOPIC, "{}"))
        outbox.execute(f"grant select (id) on relay.outbox to {role}")  # to give back the new id
        with application.transaction():
            assert relay.add(application, TOPIC, {"tid": 1}, dedupe_key="1") == 2
            assert relay.add(application, TOPIC, {"tid": 1}, dedupe_key="1") is None
        for statement in FORBIDDEN:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                application.execute(statement)
        assert outbox.select("select distinct created_by from relay.outbox") == [(role,)]


def test_promise_10_the_relay_cannot_change_content(outbox: Outbox) -> None:
    outbox.insert(numbered(1))
    for change in ("content = '{}'", "topic = 'other'", "account = 'other'", "created_at = now()"):
        with pytest.raises(psycopg.errors.RestrictViolation):
            outbox.execute(f"update relay.outbox set {change}")
    assert [row.content for row in outbox.rows()] == numbered(1)


def _entry(fate: str | None) -> dict[str, object]:
    if fate is None:
        return {}
    return {"is_success": True} if fate == "accepted" else {"is_success": False, "error_code": fate}


def _everything(outbox: Outbox) -> list[object]:
    return [outbox.select(f"select * from relay.{table} order by 1, 2") for table in ("call", "attempt")] + [
        outbox.select("select id, status, attempts, call_id, result_index, error_code, finished_at from relay.outbox")
    ]
