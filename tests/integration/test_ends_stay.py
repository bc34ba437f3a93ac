"""With a worker's login and no scruples: what has ended stays, times are true, nobody's pause is cut short."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import timedelta

import psycopg
import pytest
from sqlalchemy import create_engine
from sqlalchemy.engine import Engine
from sqlalchemy.pool import NullPool

from relay.message import ACCEPTED, Answered, Fault, Refused
from relay.operators import actions, archive
from relay.operators.ledger import Order
from relay.outcomes import PauseOrder, Policy, decide
from relay.store import ClaimLimits, Store
from tests.fixtures.roles import Roles
from tests.fixtures.rows import Rows

Worker = psycopg.Connection[tuple[object, ...]]
ORDER = Order("ann", "asked", {})
ENDED = "update relay.outbox set status = 'failed', finished_at = now(), error_code = 'isv.x', attempts = 1"
CALL = "insert into relay.call (account, worker, message_ids, lease_until) values ('a', 'w', '{1}', %s) returning id"

FORGED = {
    "which call it was": "update relay.outbox set call_id = 9 where id = 1",
    "when it ended": "update relay.outbox set finished_at = now() - interval '1 year' where id = 1",
    "an end before all months": "update relay.outbox set finished_at = '-infinity' where id = 1",
    "failed that is done": "update relay.outbox set status = 'done', call_id = 1, result_index = 0 where id = 1",
    "a failed one back": "update relay.outbox set status = 'pending', finished_at = null where id = 1",
    "why it failed": "update relay.outbox set error_message = 'other' where id = 1",
    "attempts of what ended": "update relay.outbox set attempts = 0 where id = 1",
    "an end long ago": "update relay.outbox set status = 'failed', finished_at = now() - interval '1 h' where id = 2",
    "an end to come": "update relay.outbox set status = 'failed', finished_at = now() + interval '1 h' where id = 2",
    "a blocked archive": "update relay.outbox set status = 'failed', finished_at = '-infinity' where id = 2",
    "a person's discard": "update relay.outbox set status = 'failed', finished_at = now(), "
    "error_code = 'relay.discarded' where id = 2",
    "a person's word": "update relay.outbox set error_code = 'relay.discarded' where id = 2",
    "attempts that never were": "update relay.outbox set attempts = attempts + 2 where id = 2",
    "attempts forgotten": "update relay.outbox set attempts = attempts - 1 where id = 2",
    "due before all times": "update relay.outbox set available_at = '-infinity' where id = 2",
    "due after all times": "update relay.outbox set available_at = '20000-01-01' where id = 2",
    "a call for ever": "update relay.call set lease_until = 'infinity' where id = 1",
    "a new call for ever": "insert into relay.call (account, worker, message_ids, lease_until) "
    "values ('a', 'w', '{1}', 'infinity')",
    "a call settled before": "update relay.call set outcome = 'ok', settled_at = now() - interval '1 h' where id = 1",
    "a call settled later": "update relay.call set outcome = 'ok', settled_at = now() + interval '1 h' where id = 1",
    "an attempt of last year": "insert into relay.attempt (message_id, call_id, result_index, outcome, at) "
    "values (1, 1, 0, 'unknown', now() - interval '1 year')",
    "a pace for ever": "insert into relay.pace values ('1', 'infinity')",
    "a pause of last year": "insert into relay.pause (scope, reason, by, since) "
    "values ('account:b', 'r', 'ann', now() - interval '1 year')",
    "a pause under a login": "insert into relay.pause (scope, reason, by, db_user) values ('account:b', 'r', 'a', 'a')",
    "another scope": "update relay.pause set scope = 'account:other'",
    "a person's pause": "delete from relay.pause where scope = 'account:held'",
    "a shorter ban": "update relay.pause set until = now() where scope = 'account:banned'",
    "an end by a deadline that is none": "update relay.outbox set status = 'failed', finished_at = now(), "
    "error_code = 'relay.expired' where id = 2",
    "a ban away": "delete from relay.pause where scope = 'account:banned'",
    "a past": "delete from relay.pause_past",
    "another past": "insert into relay.pause_past select * from relay.pause_past",
}


@pytest.fixture
def rows(engine: Engine) -> Rows:
    """1 has failed, 2 is pending, call 1 is open, a person holds one account, the platform has banned another."""
    rows = Rows(engine)
    rows.add(2)
    rows.run(f"{ENDED} where id = 1")
    rows.run("update relay.outbox set attempts = 3 where id = 2")
    rows.run("insert into relay.call (account, worker, message_ids, lease_until) values ('a', 'w', '{2}', now())")
    rows.run("insert into relay.pause (scope, reason, by) values ('account:held', 'holiday', 'ann')")
    rows.run(
        "insert into relay.pause (scope, until, reason, error_code, by) "
        "values ('account:banned', now() + interval '1 hour', 'throttled', '7', 'w')"
    )
    return rows


@pytest.fixture
def worker(roles: Roles) -> Iterator[Worker]:
    with psycopg.connect(roles.url("worker").replace("+psycopg", ""), autocommit=True) as connection:
        yield connection


def test_a_worker_rewrites_nothing_and_makes_up_no_time(rows: Rows, worker: Worker) -> None:
    before = rows.read("select * from relay.outbox order by id"), rows.read("select * from relay.pause order by scope")
    done = []
    for name, statement in FORGED.items():
        try:
            worker.execute(statement.encode())
        except (psycopg.errors.RestrictViolation, psycopg.errors.InsufficientPrivilege):
            continue
        except psycopg.errors.CheckViolation:
            assert name == "a call for ever"
            continue
        done.append(name)
    assert done == []
    after = rows.read("select * from relay.outbox order by id"), rows.read("select * from relay.pause order by scope")
    assert after == before


@pytest.mark.parametrize(
    "statement",
    [
        "update relay.outbox set status = 'failed', finished_at = now() where id = 2",
        "update relay.call set outcome = 'unknown', settled_at = now() where id = 1",
        "insert into relay.call (account, worker, message_ids, lease_until) values ('a', 'w', '{1}', now())",
        "insert into relay.attempt (message_id, call_id, result_index, outcome) values (2, 1, 0, 'retry')",
    ],
    ids=["an end", "a settled call", "a call", "an attempt"],
)
def test_a_transaction_that_was_kept_open_writes_no_old_time(rows: Rows, worker: Worker, statement: str) -> None:
    """What asks the clock is told here that a transaction is old at once, for nobody waits ten minutes."""
    table = statement.split("relay.")[1].split()[0]
    (asked,) = rows.read(
        "select pg_get_functiondef(tgfoid) as made from pg_trigger join pg_proc on pg_proc.oid = tgfoid "
        "where tgrelid = to_regclass(:name) and prosrc like '%interval ''10 minutes''%'",
        name=f"relay.{table}",
    )
    (trigger,) = rows.read("select pg_get_triggerdef(oid) as made from pg_trigger where tgname = 'outbox_ends_stay'")
    assert "00:10:00" in trigger.made
    settle = "update relay.call set outcome = 'unknown', settled_at = now() where id = 1" if table == "attempt" else ""
    with worker.transaction(force_rollback=True):
        worker.execute(settle.encode())
        worker.execute(statement.encode())
    rows.run(asked.made.replace("interval '10 minutes'", "interval '0 minutes'"))
    rows.run("drop trigger outbox_ends_stay on relay.outbox")
    rows.run(trigger.made.replace("'00:10:00'", "'00:00:00'"))
    late = r"the time at which|the time of its|is claimed now"
    with worker.transaction(force_rollback=True):
        worker.execute(settle.encode())
        with pytest.raises(psycopg.errors.RestrictViolation, match=late):
            worker.execute(statement.encode())


def test_when_a_call_was_sent_is_between_claim_and_settling(rows: Rows, worker: Worker) -> None:
    for said in ("-infinity", "infinity"):
        made = worker.execute(CALL, ["now"]).fetchone()
        assert made is not None
        settle = "update relay.call set outcome = 'ok', settled_at = now(), sent_at = %s where id = %s"
        worker.execute(settle, [said, made[0]])
        assert rows.one("select sent_at between claimed_at and settled_at from relay.call where id = :id", id=made[0])


def test_whoever_pauses_is_known_by_the_login_and_the_time(rows: Rows, roles: Roles, worker: Worker) -> None:
    worker.execute("insert into relay.pause (scope, reason, by) values ('account:b', 'ann says so', 'ann')")
    worker.execute("update relay.pause set since = now() - interval '1 year' where scope = 'account:banned'")
    found = rows.read(
        "select scope, by, db_user, now() - since < interval '1 minute' as new from relay.audit_pause "
        "where scope in ('account:b', 'account:banned') and in_force order by scope"
    )
    login = roles.login("worker")
    assert [tuple(row) for row in found] == [
        ("account:b", "ann", login, True),
        ("account:banned", "w", login, True),
    ]


def test_a_persons_pause_is_not_made_a_workers_own(rows: Rows, worker: Worker) -> None:
    """By steps: longer, with a code, with a credential, and then away."""
    rows.run("update relay.pause set until = now() + interval '1 hour' where scope = 'account:held'")
    worker.execute(
        "update relay.pause set until = now() + interval '2 hours', error_code = '27', credential = 'c', by = 'w' "
        "where scope = 'account:held'"
    )
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        worker.execute("delete from relay.pause where scope = 'account:held'")
    assert worker.execute("select relay.lift_pauses('{account:held}', '{c}')").fetchall() == []
    (pause,) = rows.read("select by, reason, credential from relay.pause where scope = 'account:held'")
    assert tuple(pause) == ("ann", "holiday", None)


def test_what_a_worker_does_it_still_does(roles: Roles, engine: Engine) -> None:
    """Also where a pause by hand is in the way of the one that an answer orders."""
    rows = Rows(engine)
    store = Store(create_engine(roles.url("worker"), poolclass=NullPool), worker="w", lease_seconds=60)
    rng = random.Random(1)

    rows.add(3, account="a")
    (batch,) = store.claim(ClaimLimits(slots=1)).batches
    rows.run("select relay.pause_scope('account:a', now() + interval '1 hour', 'holiday')")
    refused = Refused(Fault.CREDENTIALS, "27", credential="c")
    assert not store.settle([decide(batch, refused, Policy(), rng)], {}).lost
    assert [pause.fingerprint for pause in store.pauses()] == [None]
    rows.run("select relay.resume_scope('account:a', 'over')")
    (batch,) = store.claim(ClaimLimits(slots=1)).batches
    store.settle([decide(batch, refused, Policy(), rng)], {})
    assert store.lift_pause("account:a", "c")
    rows.run("select relay.discard('{1}', 'no'); select relay.retry('{1}', 'yes')")
    (batch,) = store.claim(ClaimLimits(slots=1)).batches
    store.settle([decide(batch, Answered((ACCEPTED,) * len(batch)), Policy(), rng)], {})
    assert rows.counts() == {"done": 3}


def test_the_owner_and_the_owners_functions_change_what_has_ended(rows: Rows, roles: Roles) -> None:
    owner = create_engine(roles.url("owner"), poolclass=NullPool)
    with owner.begin() as connection:
        assert actions.redact(connection, [1], ORDER).changed == (1,)
    with psycopg.connect(roles.url("operator").replace("+psycopg", ""), autocommit=True) as operator:
        rows.add()
        rows.run(f"{ENDED} where id = 3")
        assert operator.execute("select relay.retry('{3}', 'again')").fetchone() == ([3],)
    rows.run("update relay.call set outcome = 'released', settled_at = now()")
    moved = list(archive.archive(owner.begin, timedelta(0), actor="a", reason="r"))
    assert sum(batch.messages for batch in moved) == 1


def test_a_pause_order_of_a_ban_makes_it_longer(rows: Rows, roles: Roles) -> None:
    store = Store(create_engine(roles.url("worker"), poolclass=NullPool), worker="w2", lease_seconds=60)
    rows.run("update relay.pause set scope = 'account:default', until = now() + interval '10 s' where error_code = '7'")
    rows.run("update relay.call set outcome = 'released', settled_at = now()")
    rows.run("delete from relay.pause where scope = 'account:held'")
    rows.run("update relay.pause set scope = 'account:aside'")
    (batch,) = store.claim(ClaimLimits(slots=1)).batches
    rows.run("update relay.pause set scope = 'account:default'")
    banned = decide(batch, Refused(Fault.THROTTLED, "7", pause_seconds=600.0), Policy(), random.Random(1))
    assert isinstance(banned.pause, PauseOrder)
    store.settle([banned], {})
    assert rows.one("select until > now() + interval '9 minutes' from relay.pause") is True
