"""Moving what finished into the archive: nothing is lost, doubled or held up, and every view says the same."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

import relay
from relay.database import Database
from relay.message import ACCEPTED, Answered
from relay.operators import actions, archive, retention
from relay.operators.archive import Moved
from relay.operators.ledger import Order
from relay.outcomes import Policy, decide
from relay.roles import VIEWS
from relay.store import ClaimLimits, Store
from tests.fixtures.drained import drain
from tests.fixtures.processes import StartRelay
from tests.fixtures.rows import Rows
from tests.fixtures.waiting import eventually

ALL = "select * from relay.archive_messages(now(), 10000, false, 'a', 'r', 0)"
DONE = (
    "update relay.outbox set status = 'done', finished_at = now(), call_id = 1, result_index = 0 where id = any (:ids)"
)
FAILED = "update relay.outbox set status = 'failed', finished_at = now(), error_code = 'isv.x' where id = any (:ids)"
PLACES = """
select id, count(*) from (select id from relay.outbox union all select id from relay.outbox_archive) as m group by id
"""


@pytest.fixture
def rows(engine: Engine) -> Rows:
    return Rows(engine)


@pytest.fixture
def store(engine: Engine) -> Store:
    return Store(engine, worker="w", lease_seconds=60)


@pytest.fixture
def impatient(database_url: str) -> Iterator[Engine]:
    """Whoever would wait for a lock on this engine gets an error instead."""
    made = create_engine(database_url, poolclass=NullPool, connect_args={"options": "-c lock_timeout=1ms"})
    yield made
    made.dispose()


def archived(engine: Engine, schema: str = "relay", **how: Any) -> Iterator[Moved]:
    return archive.archive(Database(engine, schema).engine.begin, timedelta(0), actor="ann", reason="retention", **how)


def everything(engine: Engine, **how: Any) -> Moved:
    """All of its batches together."""
    batches = list(archived(engine, **how))
    return Moved(*(sum(getattr(one, name) for one in batches) for name in ("messages", "attempts", "calls")))


def open_months(rows: Rows) -> None:
    """Those of what is finished now, as the first batch of a month does, which does nothing else."""
    days = "select cast(finished_at at time zone 'UTC' as date) from relay.outbox where finished_at is not null"
    rows.run(
        f"select relay.open_archive(day) from ({days} union select cast(now() at time zone 'UTC' as date)) as d (day)"
    )


def ids(rows: Rows, table: str) -> list[int]:
    return [row.id for row in rows.read(f"select id from relay.{table} order by id")]


def shown(reader: Connection) -> dict[str, Counter[str]]:
    """What every view says; of the ledger only what is not the archiving itself."""
    conditions = {"audit_action": " where action <> 'archive'"}
    return {
        view: Counter(map(str, reader.execute(text(f"select * from relay.{view}{conditions.get(view, '')}"))))
        for view in VIEWS
    }


def test_five_thousand_messages_drained_and_archived_look_the_same_in_every_view(
    rows: Rows, store: Store, engine: Engine
) -> None:
    rows.add(4_000)
    rows.add(1_000, key_each="k", account="shop")
    drain(store, rows)
    rows.run("update relay.outbox set finished_at = finished_at - make_interval(days => 31 * cast(id % 3 as integer))")
    with engine.begin() as connection:
        actions.redact(connection, [1, 2], Order("ann", "erasure", {}))
        actions.pause(connection, "account:b", Order("ann", "asked", {}))
    open_ones = [*rows.add(60), *rows.add(2, key="held", due_in_seconds=1e6)]
    store.claim(ClaimLimits(slots=1))
    open_months(rows)
    with engine.connect().execution_options(isolation_level="READ COMMITTED") as reader:  # its now() stands still
        before = shown(reader)
        assert {view for view, lines in before.items() if not lines} == set()
        moved = []
        for number, one in enumerate(archived(engine, batch=700)):
            moved.append(one)
            if number in (2, 8):
                assert shown(reader) == before
        assert shown(reader) == before
    assert sum(one.messages for one in moved) == 5_000
    assert sum(one.calls for one in moved) == rows.one("select count(*) from relay.call_archive") > 100
    assert sum(one.attempts for one in moved) == rows.one("select count(*) from relay.attempt_archive") > 300
    assert ids(rows, "outbox") == open_ones
    assert rows.one("select count(*) from relay.attempt") == 0
    assert rows.one("select count(*) from relay.call") == 1
    assert rows.one("select count(distinct tableoid) from relay.outbox_archive") == 3
    assert rows.one("select count(*) from relay.audit_integrity where not intact") == 0


def test_what_is_open_young_held_or_locked_stays(rows: Rows, engine: Engine) -> None:
    open_months(rows)
    pending, held, named, young, locked, done = rows.add(6)
    rows.run(DONE, ids=[named, locked, done])
    rows.run("update relay.outbox set available_at = 'infinity' where id = :id", id=held)
    rows.run("insert into relay.call (account, worker, message_ids, lease_until) values ('a', 'w', :ids, now())",
             ids=[named])  # fmt: skip
    batches = archived(engine)
    with engine.begin() as somebody:
        somebody.execute(text("select from relay.outbox where id = :id for update"), {"id": locked})
        first = next(batches)
        rows.run(FAILED, ids=[young])
        rest = list(batches)
    assert (first.messages, sum(one.messages for one in rest)) == (1, 0)
    assert (ids(rows, "outbox_archive"), ids(rows, "outbox")) == ([done], [pending, held, named, young, locked])


def test_a_failed_message_that_holds_its_key_stays_where_that_is_wanted(rows: Rows, engine: Engine) -> None:
    holding, discarded, done = rows.add(3, key="k")
    (keyless,) = rows.add()
    rows.run(FAILED, ids=[holding, discarded, keyless])
    rows.run("update relay.outbox set error_code = 'relay.discarded' where id = :id", id=discarded)
    rows.run(DONE, ids=[done])
    with engine.connect() as connection:
        found = archive.archivable(connection, timedelta(0), failed_holds=True)
    assert (found.messages, found.dedupe_keys) == (3, 0)
    assert everything(engine, failed_holds=True).messages == 3
    assert ids(rows, "outbox") == [holding]
    assert everything(engine).messages == 1


def test_attempts_go_with_their_message_and_a_call_with_its_last_one(rows: Rows, engine: Engine) -> None:
    first, second, still_open = rows.add(3)
    for number, named in ((1, [first]), (2, [first, second]), (3, [second, still_open])):
        rows.run(
            "insert into relay.call (account, worker, message_ids, lease_until, settled_at, outcome) "
            "values ('a', 'w', :ids, now(), now() - interval '40 days', 'rejected')",
            ids=named,
        )
        for id_ in named:
            rows.run("insert into relay.attempt values (:id, :call, 0, 'retry')", id=id_, call=number)
    rows.run(DONE, ids=[first])
    assert everything(engine) == Moved(messages=1, attempts=2, calls=1)
    assert (ids(rows, "call_archive"), ids(rows, "call")) == ([1], [2, 3])
    rows.run(DONE, ids=[second])
    assert everything(engine) == Moved(messages=1, attempts=2, calls=1)
    assert (ids(rows, "call_archive"), ids(rows, "call")) == ([1, 2], [3])
    apart = "select c.id from relay.call_archive c join relay.outbox_archive o on o.id = any (c.message_ids) and "
    assert rows.read(f"{apart} o.finished_at > c.finished_at") == [], "its month is that of its last message"


def test_each_batch_is_committed_with_its_row_in_the_ledger(rows: Rows, engine: Engine) -> None:
    open_months(rows)
    rows.run(DONE, ids=rows.add(7))
    rows.run(
        "insert into relay.call (account, worker, message_ids, lease_until, settled_at, outcome) "
        "values ('a', 'w', '{1,2,3,4,5,6,7}', now(), now(), 'ok')"
    )
    batches = archived(engine, batch=3)
    assert next(batches) == Moved(messages=3)
    assert (ids(rows, "outbox_archive"), ids(rows, "outbox")) == ([1, 2, 3], [4, 5, 6, 7])
    list(batches)
    list(archived(engine))
    ledger = rows.read(
        "select actor, reason, count as number, selection ->> 'table' as what, selection ->> 'first_id' as first, "
        "selection ->> 'last_id' as last from relay.action where action = 'archive' order by id"
    )
    assert [tuple(row) for row in ledger] == [
        ("ann", "retention", 3, "outbox", "1", "3"),
        ("ann", "retention", 3, "outbox", "4", "6"),
        ("ann", "retention", 1, "outbox", "7", "7"),
        ("ann", "retention", 1, "call", "1", "1"),
    ]


def test_claims_settling_and_reading_never_wait_for_an_archiver(
    rows: Rows, store: Store, engine: Engine, impatient: Engine
) -> None:
    """Nor does the archiver wait for them, in the middle of a batch."""
    open_months(rows)
    rows.add(120)
    drain(store, rows)
    rows.add(500)
    busy = Store(impatient, worker="x", lease_seconds=60)
    before = rows.one("select count(*) from relay.audit_message")
    with engine.begin() as archiver:
        assert archiver.execute(text(ALL)).one().messages == 120
        claim = busy.claim(ClaimLimits(slots=8))
        assert sum(map(len, claim.batches)) == 400
        assert busy.extend([batch.key for batch in claim.batches])
        accepted = Answered((ACCEPTED,) * len(claim.batches[0]), "r", 200)
        assert not busy.settle([decide(claim.batches[0], accepted, Policy(), random.Random(1))], {}).lost
        with impatient.begin() as reader:
            assert len(shown(reader)["audit_message"]) == before
            assert reader.execute(text("insert into relay.outbox (topic, content) values ('t', '{}')")).rowcount == 1
            actions.pause(reader, "account:b", Order("ann", "asked", {}))
    with engine.begin() as claimant:
        claimant.execute(text("select from relay.outbox where status = 'pending' for update"))
        drained = list(archive.archive(impatient.begin, timedelta(0), actor="a", reason="r"))
    assert (any(one.busy for one in drained), sum(one.messages for one in drained)) == (False, 50)


def test_a_month_begins_when_nobody_has_the_archive_open(rows: Rows, engine: Engine) -> None:
    """A reader that had would not learn of it, and would see what moves there in neither place."""
    done = rows.add(3)
    rows.run(DONE, ids=done)
    with engine.connect().execution_options(isolation_level="READ COMMITTED") as reader:
        before = shown(reader)["audit_message"]
        assert everything(engine) == Moved()
        assert shown(reader)["audit_message"] == before
        assert ids(rows, "outbox") == done
    first, second, *rest = archived(engine)
    assert (first, second, rest) == (Moved(), Moved(messages=3), [Moved()] * len(rest))


def test_a_second_archiver_is_told_and_moves_nothing(rows: Rows, engine: Engine) -> None:
    open_months(rows)
    rows.run(DONE, ids=rows.add(4))
    with engine.begin() as first:
        first.execute(text("select * from relay.archive_messages(now(), 2, false, 'a', 'r', 0)"))
        (told,) = archived(engine)
        assert (told.busy, told.messages, told.calls) == (True, 0, 0)
        assert told.archiver is not None, "whoever has the lock is named"
        assert rows.one("select count(*) from relay.action") == 0
    assert everything(engine).messages == 2
    assert dict(tuple(row) for row in rows.read(PLACES)) == dict.fromkeys(range(1, 5), 1)


def test_sigkill_in_the_middle_of_a_batch_loses_and_doubles_nothing(
    rows: Rows, engine: Engine, database_url: str, start_relay: StartRelay
) -> None:
    open_months(rows)
    rows.run(DONE, ids=rows.add(50))
    next(archived(engine, batch=10))
    waiting = "select pid from pg_stat_activity where wait_event_type = 'Lock' and query ~ 'archive_messages'"
    with engine.begin() as somebody:
        somebody.execute(text("lock table relay.action in exclusive mode"))  # the last thing a batch writes to
        run = start_relay("archive", "--older-than", "0s", "--batch", "10", env={"RELAY_DATABASE_URL": database_url})
        eventually(lambda: rows.read(waiting), 20)
        run.kill()
    gone = "select not exists (select from pg_locks where locktype = 'advisory' and objid = 257)"
    eventually(lambda: rows.one(gone))
    assert (len(ids(rows, "outbox_archive")), len(ids(rows, "outbox"))) == (10, 40)
    assert rows.one("select sum(count) from relay.action") == 10
    assert everything(engine).messages == 40
    assert dict(tuple(row) for row in rows.read(PLACES)) == dict.fromkeys(range(1, 51), 1)


def test_a_worker_drains_while_somebody_archives(rows: Rows, store: Store, engine: Engine) -> None:
    rows.add(1_500)
    drained = threading.Event()

    def work() -> None:
        try:
            drain(store, rows)
        finally:
            drained.set()

    worker = threading.Thread(target=work)
    worker.start()
    moved = 0
    while not drained.is_set():
        moved += everything(engine, batch=50).messages
    worker.join()
    assert moved > 0
    everything(engine)
    assert dict(tuple(row) for row in rows.read(PLACES)) == dict.fromkeys(range(1, 1_501), 1)
    assert ids(rows, "outbox") == []
    assert ids(rows, "call") == []
    done = rows.one("select count(*) from relay.outbox_archive where status = 'done'")
    assert (
        done == rows.one("select count(distinct message_id) from relay.audit_delivery where outcome = 'done'") > 1_000
    )


@pytest.mark.parametrize("table", ["outbox_archive", "call_archive", "attempt_archive"])
@pytest.mark.parametrize("month", ["", "_y2026m01"])
@pytest.mark.parametrize("change", ["delete from {}", "truncate {}", "update {} set finished_at = now()"])
def test_the_archive_stays_as_it_is(engine: Engine, table: str, month: str, change: str) -> None:
    columns = {
        "outbox_archive": "id, topic, content, account, available_at, status, attempts, created_at, created_by, "
        "created_xid, content_sha256, finished_at) values (1, 't', '{}', 'a', now(), 'done', 1, now(), 'a', '1', ''",
        "call_archive": "id, account, worker, message_ids, claimed_at, lease_until, settled_at, outcome, nonce, "
        "finished_at) values (1, 'a', 'w', '{1}', now(), now(), now(), 'ok', 7",
        "attempt_archive": "message_id, call_id, result_index, outcome, at, finished_at) "
        "values (1, 1, 0, 'retry', now()",
    }[table]
    with engine.connect() as connection:
        connection.execute(text("select relay.open_archive('2026-01-01')"))
        connection.execute(text(f"insert into relay.{table} ({columns}, '2026-01-31')"))
        with pytest.raises(DBAPIError, match=r"nothing is removed from relay\.|stays as it is"):
            connection.execute(text(change.format(f"relay.{table}{month}")))


@pytest.mark.parametrize("removal", ["delete from", "truncate"])
def test_messages_are_not_removed_by_accident(rows: Rows, removal: str) -> None:
    rows.add()
    with pytest.raises(DBAPIError, match=r"nothing is removed from relay\.outbox"):
        rows.run(f"{removal} relay.outbox")


def test_a_prune_leaves_the_calls_of_archived_messages(rows: Rows, engine: Engine) -> None:
    open_months(rows)
    rows.run(DONE, ids=rows.add(2))
    rows.run(
        "insert into relay.call (account, worker, message_ids, lease_until, settled_at, outcome) "
        "values ('a', 'w', '{1}', now(), now(), 'ok'), ('a', 'w', '{99}', now(), now(), 'ok')"
    )
    with engine.begin() as connection:  # and then the archiver was stopped
        connection.execute(text("select * from relay.archive_messages(now(), 1, false, 'a', 'r', 0)"))
    list(retention.prune(engine, timedelta(0), Order("ann", "retention", {}), batch=10))
    assert (ids(rows, "outbox"), ids(rows, "outbox_archive"), ids(rows, "call")) == ([], [1], [1])


def test_a_dedupe_key_is_remembered_when_its_message_is_archived(engine: Engine, rows: Rows) -> None:
    def add() -> int | None:
        with engine.begin() as connection:
            return relay.add(connection, "t", {}, dedupe_key="once")

    first = add()
    assert first is not None
    rows.run(DONE, ids=[first])
    assert add() is None
    with engine.connect() as connection:
        assert archive.archivable(connection, timedelta(0), failed_holds=False).dedupe_keys == 1
    everything(engine)
    assert add() is None


def test_in_a_schema_of_another_name(empty_url: str) -> None:
    schema = 'my "relay'
    relay.migrate(empty_url, schema=schema)
    engine = create_engine(empty_url, poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(
            text(
                'insert into "my ""relay".outbox (topic, content, status, finished_at, error_code) '
                "values ('t', '{}', 'failed', '2026-01-31 12:00+00', 'isv.x')"
            )
        )
    assert sum(one.messages for one in archived(engine, schema)) == 1
    with Database(engine, schema).engine.begin() as connection:
        (month,) = archive.months(connection)
        assert month.month == "2026-01"
        assert archive.drop_month(connection, "2026-01", actor="a", reason="r") == month


def test_the_door_for_deleting_is_open_only_while_rows_move(rows: Rows, engine: Engine) -> None:
    """Whoever archives inside a transaction of their own may delete nothing more by that, also after an error."""
    door, delete = text("select current_setting('relay.pruning', true)"), text("delete from relay.call")
    calls = text("select * from relay.archive_calls(now(), 10000, 'a', 'r', 0)")
    open_months(rows)
    rows.run(DONE, ids=rows.add(2))
    open_months(rows)
    with engine.connect() as connection:
        for statement in (text(ALL), calls):
            connection.execute(statement)
            assert connection.scalar(door) in (None, "")
        with pytest.raises(DBAPIError, match=r"nothing is removed from relay\.call"):
            connection.execute(delete)
        connection.rollback()
        connection.execute(text("set local relay.pruning = 'on'"))
        connection.execute(text(ALL))
        assert connection.scalar(door) == "on"
        connection.rollback()
        connection.execute(text("create function pg_temp.no() returns trigger language plpgsql as 'begin raise; end'"))
        connection.execute(
            text("create trigger no before insert on relay.outbox_archive for each row execute function pg_temp.no()")
        )
        with pytest.raises(DBAPIError), connection.begin_nested():
            connection.execute(text(ALL))
        assert connection.scalar(door) in (None, "")
