"""A sequence that was left behind its table loses no message and ends nobody; an id that was given stays."""

from __future__ import annotations

import time
from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy import Engine, create_engine, make_url, text

from tests.contract.writers import EVERY
from tests.fixtures.rows import Rows
from tests.fixtures.scripted import Bench, Scripted

LEFT_BEHIND = {
    "restarted": "alter sequence relay.outbox_id_seq restart",
    "restarted a little earlier": "alter sequence relay.outbox_id_seq restart with 4",
    "set back": "select setval('relay.outbox_id_seq', 1)",
    "set back by one": "select setval('relay.outbox_id_seq', 4)",
}
README = (
    "insert into relay.outbox (topic, content, dedupe_key) values ('t', '{}', %s) on conflict do nothing returning id"
)
WITH_ID = """
insert into relay.outbox (id, topic, content, ordering_key) overriding system value values (%s, 't', '{}', 'k')
returning id
"""


@pytest.fixture
def rows(engine: Engine) -> Rows:
    return Rows(engine)


@pytest.fixture
def session(database_url: str) -> Iterator[psycopg.Connection]:
    conninfo = make_url(database_url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(conninfo, autocommit=True) as made:
        yield made


@pytest.mark.parametrize("name", EVERY)
async def test_only_a_dedupe_key_is_silent(name: str, database_url: str, rows: Rows) -> None:
    """However a message is written."""
    rows.add(5)
    rows.run(LEFT_BEHIND["restarted"])
    async with EVERY[name](database_url) as transaction:
        for columns in ({"dedupe_key": "d"}, {}, {"ordering_key": "k"}):
            assert await transaction.add("t", "{}", **columns) is not None
        await transaction.commit()
    assert rows.one("select count(*) from relay.outbox") == 8


@pytest.mark.parametrize("how", LEFT_BEHIND)
@pytest.mark.parametrize("first", ["in a session that inserted", "in a new session"])
def test_used_ids_are_stepped_over(how: str, first: str, session: psycopg.Connection, rows: Rows) -> None:
    if first == "in a new session":
        rows.add(5)
    else:
        session.execute("insert into relay.outbox (topic, content) select 't', '{}' from generate_series(1, 5)")
    rows.run(LEFT_BEHIND[how])
    if first == "in a session that inserted" and how != "restarted":
        session.execute("select pg_sleep(0.11)")  # what a session knows of the sequence holds for a tenth of a second
    with session.transaction():
        added = [session.execute(README, (key,)).fetchone() for key in (None, "d", "d", None)]
    assert added[2] is None
    assert [row and row[0] for row in added[:2]] == [6, 7]
    assert rows.one("select count(*) from relay.outbox") == 8


def test_many_rows_of_one_statement_step_over_used_ids(session: psycopg.Connection, rows: Rows) -> None:
    rows.add(500)
    rows.run(LEFT_BEHIND["set back"])
    many = (
        "insert into relay.outbox (topic, content) select 't', '{}' from generate_series(1, 700) on conflict do nothing"
    )
    assert session.execute(many).rowcount == 700


def test_ids_in_the_archive_are_used(rows: Rows) -> None:
    rows.add(5)
    rows.run(
        "set local relay.pruning = 'on'; select relay.open_archive('2025-01-01');"
        "update relay.outbox set status = 'done', finished_at = '2025-01-15', call_id = 1, result_index = 0;"
        "with gone as (delete from relay.outbox returning *) insert into relay.outbox_archive select * from gone"
    )
    rows.run(LEFT_BEHIND["restarted"])
    assert rows.add(1) == [6]


async def test_claims_and_the_ledger_step_over_used_ids(engine: Engine, rows: Rows) -> None:
    """A worker goes on, and so does an operator."""
    for table in ("call", "action", "call"):
        number = rows.add(120)[-1]
        report = await Bench(engine, Scripted(), concurrency=1).drain()
        assert report.done == 120
        rows.run("select relay.pause_scope('account:x', null, 'why')")
        rows.run(f"alter sequence relay.{table}_id_seq restart")
    assert rows.one("select count(*) from relay.action") == 3
    assert rows.one("select status from relay.outbox where id = :id", id=number) == "done"
    twice = "select count(*) from (select from relay.call group by id having count(*) > 1) as used"
    assert rows.one(twice) == 0


@pytest.mark.parametrize("before", ["nothing", "an insert", "the sequence was set"])
def test_a_given_id_stays(before: str, session: psycopg.Connection, rows: Rows) -> None:
    """Also one with an ordering key, whose drawn id is drawn once more."""
    if before == "an insert":
        session.execute("insert into relay.outbox (topic, content, ordering_key) values ('t', '{}', 'k')")
    elif before == "the sequence was set":
        session.execute("select setval('relay.outbox_id_seq', 50)")
    assert session.execute(WITH_ID, (40,)).fetchone() == (40,)
    with (
        session.cursor() as cursor,
        cursor.copy("copy relay.outbox (id, topic, content, ordering_key, created_xid) from stdin") as copy,
    ):
        copy.write("50\tt\t{}\tk\t7\n51\tt\t{}\tk\t7\n")
    kept = [row.id for row in rows.read("select id from relay.outbox where id > 30 order by id")]
    assert kept == [40, 50, 51]
    added = session.execute(README, (None,)).fetchone()
    assert added == (52,)


def test_a_given_id_that_is_there_is_refused(session: psycopg.Connection) -> None:
    session.execute(WITH_ID, (40,))
    with pytest.raises(psycopg.errors.UniqueViolation, match="outbox_pkey"):
        session.execute(WITH_ID, (40,))


def test_a_key_draws_its_id_while_it_holds_the_order(session: psycopg.Connection, rows: Rows) -> None:
    """Otherwise an id could be older than the lock by which a claim knows that somebody writes."""
    keyed = "insert into relay.outbox (topic, content, ordering_key) values ('t', '{}', %s) returning id"
    first = session.execute(keyed, ("k",)).fetchone()
    second = session.execute(keyed, ("k",)).fetchone()
    assert first is not None
    assert second == (first[0] + 2,)


def test_nobody_needs_a_right_to_step_over_ids(engine: Engine) -> None:
    asked = "select bool_or(has_function_privilege('public', oid, 'execute')) from pg_proc where proname = any (:names)"
    names = ["unused_id", "unused_call_id", "step_over_used_ids"]
    with engine.connect() as connection:
        assert connection.scalar(text(asked), {"names": names}) is False


async def test_a_worker_goes_on_where_the_ids_of_its_calls_were_set_back_a_moment_ago(
    database_url: str, engine: Engine, rows: Rows
) -> None:
    """What its session knows of the sequence holds for a second; a used id is an error of a claim, and no loss."""
    rows.add(150)
    assert (await Bench(engine, Scripted(), concurrency=1).drain()).done == 150
    rows.run("select setval('relay.call_id_seq', 1)")
    rows.add(150)
    looked = int(time.time()) + 60
    knowing = create_engine(
        database_url, connect_args={"options": f"-c relay.last_call=1 -c relay.look_at_calls={looked}"}
    )
    assert (await Bench(knowing, Scripted(), concurrency=1).drain()).done == 150
    knowing.dispose()
