"""A worker's login writes times that nobody has a form for, or that are not so: refused, and honest ones are not."""

from __future__ import annotations

import random
from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.pool import NullPool

import relay
from relay.message import Fault, Refused, Scope
from relay.outcomes import Policy, decide
from relay.store import ClaimLimits, Store
from tests.fixtures.roles import Roles
from tests.fixtures.rows import Rows

Session = psycopg.Connection[tuple[object, ...]]
BEFORE_ALL = ("'-infinity'", "'4713-01-01 00:00+00 BC'", "'0044-03-15 00:00+00 BC'")
AFTER_ALL = ("'infinity'", "'294276-01-01 00:00+00'", "'55000-01-01 00:00+00'")
CALL = "insert into relay.call (account, worker, message_ids, lease_until) values ('default', 'w', '{{{id}}}', {time})"
SETTLED = "update relay.call set settled_at = now(), outcome = 'unknown', lease_until = {time} where settled_at is null"
ATTEMPT = """
insert into relay.attempt (message_id, call_id, result_index, outcome, retry_at)
select {id}, max(id), 0, 'unknown', {time} from relay.call
"""
# What a client reads that has no form for other times than those of the years 1 to 9999.
VIEWS = ("audit_call", "audit_delivery", "audit_in_flight", "audit_pause", "read_call", "read_attempt", "read_pause")


@pytest.fixture
def rows(engine: Engine) -> Rows:
    return Rows(engine)


def session(roles: Roles, part: str) -> Session:
    return psycopg.connect(roles.url(part).replace("+psycopg", ""), autocommit=True)


@pytest.fixture
def mallory(rows: Rows, roles: Roles) -> Iterator[Session]:
    with session(roles, "worker") as connection:
        yield connection


@pytest.fixture
def honest(rows: Rows, roles: Roles) -> Iterator[Store]:
    made = create_engine(roles.url("worker"), poolclass=NullPool)
    yield Store(made, worker="w", lease_seconds=60)
    made.dispose()


def taken(connection: Session, *statements: str) -> bool:
    """Whether the database takes them, one after another; undone either way."""
    try:
        with connection.transaction(force_rollback=True):
            for statement in statements:
                connection.execute(statement.encode())
    except (psycopg.errors.RestrictViolation, psycopg.errors.CheckViolation):
        return False
    return True


def everything_reads(roles: Roles) -> None:
    with session(roles, "auditor") as auditor:
        for view in VIEWS:
            auditor.execute(f"select * from relay.{view}".encode()).fetchall()


def test_no_lease_is_of_a_time_that_nobody_can_read(rows: Rows, mallory: Session) -> None:
    (first,) = rows.add(1)
    now = CALL.format(id=first, time="now()")
    for time in (*BEFORE_ALL, *AFTER_ALL):
        assert not taken(mallory, CALL.format(id=first, time=time)), time
        assert not taken(mallory, now, SETTLED.format(time=time)), time
    assert taken(mallory, now, SETTLED.format(time="now() + interval '1 minute'"))


def test_no_pause_lasts_until_a_time_that_nobody_can_read(rows: Rows, mallory: Session) -> None:
    pause = "insert into relay.pause (scope, until, reason, by) values ('app:k', {}, 'r', 'w')"
    assert [time for time in (*BEFORE_ALL, *AFTER_ALL) if taken(mallory, pause.format(time))] == []
    for time in ("now() + interval '1 hour'", "null", "'9999-12-30 23:00+00'"):
        assert taken(mallory, pause.format(time)), time


def test_an_attempt_says_when_its_message_is_due_and_nothing_else(rows: Rows, mallory: Session) -> None:
    (first,) = rows.add(1)
    settled = (CALL.format(id=first, time="now()"), SETTLED.format(time="now()"))
    for time in (*BEFORE_ALL, *AFTER_ALL, "now() + interval '1 hour'"):
        assert not taken(mallory, *settled, ATTEMPT.format(id=first, time=time)), time
    put_off = f"update relay.outbox set available_at = now() + interval '1 hour' where id = {first}"
    assert taken(mallory, *settled, put_off, ATTEMPT.format(id=first, time="now() + interval '1 hour'"))
    assert taken(mallory, *settled, ATTEMPT.format(id=first, time="null"))


def test_nobody_but_the_owner_brings_the_next_call_of_an_app_key_forward(
    rows: Rows, honest: Store, mallory: Session
) -> None:
    """Each time somebody did, all the others made one call more than the platform allows."""
    for _ in range(3):
        honest.reserve("12345678", 10)
    for time in (*BEFORE_ALL, "now()", "next_at - interval '1 microsecond'"):
        with pytest.raises(psycopg.errors.RestrictViolation, match="never brought forward"):
            mallory.execute(f"update relay.pace set next_at = {time} where app_key = '12345678'".encode())
    assert 29 < honest.reserve("12345678", 10) <= 30
    rows.run("update relay.pace set next_at = now()")
    assert honest.reserve("12345678", 10) == 0


def test_what_waits_since_ever_is_settled_and_every_reader_can_read_it(
    rows: Rows, roles: Roles, honest: Store, engine: Engine
) -> None:
    """An application may leave a message due at '-infinity', and a throttled one keeps that time."""
    rows.run("insert into relay.outbox (topic, content, available_at) values ('t', '{}', '-infinity')")
    (batch,) = honest.claim(ClaimLimits(slots=1)).batches
    throttled = decide(batch, Refused(Fault.THROTTLED, "7", scope=Scope.APP), Policy(), random.Random(1))
    assert not honest.settle([throttled], {}).lost
    assert rows.one("select retry_at = '-infinity' from relay.attempt") is True
    everything_reads(roles)


def test_leases_and_pauses_of_before_are_such_as_everybody_can_settle_and_read(empty_url: str) -> None:
    relay.migrate(empty_url, to="0007")
    made = create_engine(empty_url, poolclass=NullPool)
    with made.begin() as connection:
        connection.execute(
            text("insert into relay.outbox (topic, content) select 't', '{}' from generate_series(1, 4)")
        )
        for number, time in enumerate(("'-infinity'", "'0044-03-15 BC'", "'infinity'", "now() + interval '1 hour'"), 1):
            connection.execute(text(CALL.format(id=number, time=time)))
            if time != "'infinity'":
                pause = f"insert into relay.pause (scope, until, reason, by) values ('app:{number}', {time}, 'r', 'w')"
                connection.execute(text(pause))
        connection.execute(
            text("insert into relay.pause (scope, until, reason, by) values ('app:f', '55000-1-1', 'r', 'w')")
        )
    relay.migrate(empty_url)
    with made.connect() as connection:
        assert connection.execute(text("select id from relay.call where lease_until <= now() order by id")).all() == [
            (1,), (2,), (3,),
        ]  # fmt: skip
        assert connection.execute(text("select scope, until is null from relay.pause order by scope")).all() == [
            ("app:4", False), ("app:f", True),
        ]  # fmt: skip
    made.dispose()


def test_the_ledger_has_how_many_messages_went_to_the_archive_that_may_have_held_their_key(
    rows: Rows, mallory: Session
) -> None:
    holds, discarded, keyless, _ = [rows.add(1, key=key)[0] for key in ("1", "2", None, None)]
    rows.run(
        "update relay.outbox set status = 'failed', attempts = 1, finished_at = now() - interval '9 days', "
        "error_code = case when id = :discarded then 'relay.discarded' else 'isv.x' end where id = any (:ended)",
        discarded=discarded,
        ended=[holds, discarded, keyless],
    )
    archive = "select messages from relay.archive_messages(now() - interval '2 days', 10, {}, 'w', 'r', 0)"
    mallory.execute(archive.format("true").encode())  # the first one makes the month
    assert mallory.execute(archive.format("true").encode()).fetchone() == (2,)
    assert mallory.execute(archive.format("false").encode()).fetchone() == (1,)
    told = "selection ->> 'failed_holds', selection ->> 'failed_with_key', count, db_user"
    assert rows.read(f"select {told} from relay.action where action = 'archive' order by id") == [
        ("true", "0", 2, mallory.info.user),
        ("false", "1", 1, mallory.info.user),
    ]
