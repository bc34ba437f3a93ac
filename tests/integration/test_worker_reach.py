"""How far a worker's login reaches: into calls of other logins, into what has just ended, into the pace of others."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import timedelta

import psycopg
import pytest
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.pool import NullPool

from relay.message import Fault, Refused
from relay.operators import archive
from relay.outcomes import Policy, decide
from relay.store import ClaimLimits, Store
from tests.fixtures.roles import Roles
from tests.fixtures.rows import Rows

ARCHIVE = {
    "messages": "select messages from relay.archive_messages({before}, 10, false, 'w', 'r', 0)",
    "calls": "select calls from relay.archive_calls({before}, 10, 'w', 'r', 0)",
}


@pytest.fixture
def rows(engine: Engine) -> Rows:
    return Rows(engine)


@pytest.fixture
def worker(rows: Rows, roles: Roles) -> Iterator[psycopg.Connection]:
    with psycopg.connect(roles.url("worker").replace("+psycopg", ""), autocommit=True) as connection:
        yield connection


@pytest.fixture
def as_worker(rows: Rows, roles: Roles) -> Iterator[Engine]:
    made = create_engine(roles.url("worker"), poolclass=NullPool)
    yield made
    made.dispose()


def fail(store: Store) -> None:
    (batch,) = store.claim(ClaimLimits(slots=1)).batches
    store.settle([decide(batch, Refused(Fault.MESSAGE, "isv.x"), Policy(), random.Random(1))], {})


@pytest.mark.parametrize("what", ARCHIVE)
def test_a_worker_archives_nothing_that_ended_within_a_day(
    rows: Rows, roles: Roles, worker: psycopg.Connection, as_worker: Engine, what: str
) -> None:
    rows.add(2)
    fail(Store(as_worker, worker="w", lease_seconds=60))
    for before in ("now()", "now() - interval '23 hours 59 minutes'"):
        with pytest.raises(psycopg.errors.InvalidParameterValue, match="only the owner archives") as refused:
            worker.execute(ARCHIVE[what].format(before=before).encode())
        assert "--older-than 1d" in str(refused.value.diag.message_hint)
    assert worker.execute(ARCHIVE[what].format(before="now() - interval '1 day'").encode()).fetchone() == (0,)
    assert rows.counts() == {"failed": 2}


def test_a_member_of_the_owner_archives_at_once_also_where_it_has_to_set_its_role(rows: Rows, roles: Roles) -> None:
    rows.add(2)
    fail(Store(rows.engine, worker="w", lease_seconds=60))
    rows.run(f"alter role {roles.login('owner')} noinherit")
    made = create_engine(roles.url("owner"), poolclass=NullPool)
    event.listen(made, "begin", lambda connection: connection.exec_driver_sql(f"set role {roles.names.owner}"))
    moved = list(archive.archive(made.begin, timedelta(0), actor="ann", reason="r"))
    assert sum(batch.messages for batch in moved) == 2


def test_a_worker_that_archives_after_a_day_still_does(rows: Rows, as_worker: Engine) -> None:
    rows.add(2)
    store = Store(as_worker, worker="w", lease_seconds=60)
    fail(store)
    rows.run("update relay.outbox set finished_at = now() - interval '25 hours'")
    assert sum(batch.messages for batch in store.archive(timedelta(days=1))) == 2


def test_a_worker_leaves_messages_out_of_no_call_but_those_of_its_own_login(
    rows: Rows, roles: Roles, worker: psycopg.Connection, as_worker: Engine
) -> None:
    """Whose call is in flight would take the positions of its answer for other messages."""
    added = rows.add(2, deliver_within_seconds=60)
    (theirs,) = Store(rows.engine, worker="v", lease_seconds=60).claim(ClaimLimits(slots=1)).batches
    rows.add(2, deliver_within_seconds=60)
    (ours,) = Store(as_worker, worker="w", lease_seconds=60).claim(ClaimLimits(slots=1)).batches
    rows.run("alter table relay.outbox disable trigger user")
    rows.run("update relay.outbox set deliver_before = now() where id % 2 = 0")
    rows.run("alter table relay.outbox enable trigger user")
    leave_out = "select relay.leave_out_expired(%s, (select nonce from relay.call where id = %s))"
    assert worker.execute(leave_out, (ours.call_id, ours.call_id)).fetchone() == ([3],)
    assert worker.execute(leave_out, (theirs.call_id, theirs.call_id)).fetchone() == ([],)
    rows.run("update relay.call set created_by = null where id = :id", id=theirs.call_id)
    assert worker.execute(leave_out, (theirs.call_id, theirs.call_id)).fetchone() == ([],)
    assert rows.call(theirs.call_id).message_ids == added
