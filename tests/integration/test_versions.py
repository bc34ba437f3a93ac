"""What a person looked at is what is changed. Of two who look at the same the second is told, and both are recorded."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, Row, create_engine, text
from sqlalchemy.exc import DBAPIError

import relay
from relay.errors import RelayError
from relay.message import CHANGED_SINCE, Answered, Batch, Fault, Result
from relay.operators import actions, archive, retention
from relay.operators.ledger import Order
from relay.outcomes import Policy, decide, released
from relay.store import ClaimLimits, Store
from tests.fixtures.roles import Roles
from tests.fixtures.rows import Rows

ANN, BOB = Order("ann", "the platform is back", {}), Order("bob", "sent again", {})
FAILED = "update relay.outbox set status = 'failed', error_code = 'isp.down', finished_at = now() where id = any (:ids)"
HELD = "update relay.outbox set available_at = 'infinity', error_code = 'relay.timeout' where id = any (:ids)"
Acting = Callable[[Connection], Any]


@pytest.fixture
def rows(engine: Engine, independent: None) -> Rows:
    return Rows(engine)


@pytest.fixture
def store(engine: Engine) -> Store:
    return Store(engine, worker="w1", lease_seconds=60)


@pytest.fixture
def operator(roles: Roles) -> Iterator[Engine]:
    """A login that may call the functions and has no right on a table."""
    engine = create_engine(roles.url("operator"))
    yield engine
    engine.dispose()


def look(engine: Engine, verb: actions.Verb, ids: Sequence[int]) -> actions.Preview:
    with engine.connect() as connection:
        return actions.preview(connection, verb, ids)


def act(engine: Engine, verb: str, seen: actions.Preview, order: Order = BOB, **how: Any) -> actions.Changed:
    with engine.begin() as connection:
        done = getattr(actions, verb)(connection, seen.changing, order, versions=seen.versions, **how)
    assert isinstance(done, actions.Changed)
    return done


def do(engine: Engine, what: Acting) -> Any:
    with engine.begin() as connection:
        return what(connection)


def failed(rows: Rows, number: int = 1) -> list[int]:
    ids = rows.add(number)
    rows.run(FAILED, ids=ids)
    return ids


def claim(store: Store) -> Batch:
    (batch,) = store.claim(ClaimLimits(slots=1)).batches
    return batch


def answer(store: Store, batch: Batch, result: Result) -> None:
    answered = Answered(tuple(result for _ in batch.messages), http_status=200)
    store.settle([decide(batch, answered, Policy(), random.Random(1))], {})


def ledger(rows: Rows) -> list[Row[Any]]:
    return list(
        rows.read("select id, action, actor, selection, message_ids, count as number from relay.action order by id")
    )


def test_two_people_who_retry_the_same_at_once_retry_each_message_once(rows: Rows, operator: Engine) -> None:
    ids = failed(rows, 37)
    seen = look(operator, "retry", ids)
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda order: act(operator, "retry", seen, order), [ANN, BOB]))
    first, second = sorted(both, key=lambda one: len(one.changed), reverse=True)
    assert (list(first.changed), first.skipped) == (ids, {})
    assert (second.changed, list(second.skipped), set(second.skipped.values())) == (
        (),
        ids,
        {"it is pending already"},
    )
    acts = {act.id: act for act in ledger(rows)}
    won, lost = acts[first.action], acts[second.action]
    assert (won.number, won.message_ids, won.selection) == (37, ids, {"given": 37, "changed": 37, "stated": {}})
    assert (lost.number, lost.message_ids) == (0, [])
    assert lost.selection == {
        "given": 37,
        "changed": 0,
        "left_alone": ids,
        "left_alone_why": {"it is pending already": 37},
        "stated": {},
    }
    assert {won.actor, lost.actor} == {"ann", "bob"}


def test_what_failed_anew_is_not_retried_by_who_saw_it_fail_before(rows: Rows, operator: Engine, store: Store) -> None:
    again, still = failed(rows, 2)
    seen = look(operator, "retry", [again, still])
    do(operator, lambda connection: actions.retry(connection, [again], ANN))
    answer(store, claim(store), Result(Fault.MESSAGE, "isv.bad", "no"))
    assert rows.one("select status from relay.outbox where id = :id", id=again) == "failed"
    done = act(operator, "retry", seen)
    assert (done.changed, done.skipped) == ((still,), {again: CHANGED_SINCE})
    assert rows.one("select status from relay.outbox where id = :id", id=again) == "failed"
    told = ledger(rows)[-1].selection
    assert (told["left_alone"], told["left_alone_why"]) == ([again], {CHANGED_SINCE: 1})
    assert act(operator, "retry", look(operator, "retry", [again])).changed == (again,)


def test_what_was_discarded_meanwhile_stays_discarded(rows: Rows, operator: Engine) -> None:
    (number,) = failed(rows)
    seen = look(operator, "retry", [number])
    do(operator, lambda connection: actions.discard(connection, [number], ANN))
    done = act(operator, "retry", seen)
    assert (done.changed, done.skipped) == ((), {number: CHANGED_SINCE})
    assert rows.one("select error_code from relay.outbox") == "relay.discarded"
    assert [(act.id, act.action, act.actor, act.number) for act in ledger(rows)] == [
        (1, "discard", "ann", 1),
        (done.action, "retry", "bob", 0),
    ]


def test_a_held_message_that_was_released_meanwhile_is_not_discarded(rows: Rows, operator: Engine) -> None:
    numbers = rows.add(2)
    rows.run(HELD, ids=numbers)
    seen = look(operator, "discard", numbers)
    do(operator, lambda connection: actions.retry(connection, numbers[:1], ANN))
    done = act(operator, "discard", seen)
    assert (done.changed, done.skipped) == ((numbers[1],), {numbers[0]: CHANGED_SINCE})


def test_a_claim_is_no_change_and_an_open_call_leaves_alone_as_ever(rows: Rows, operator: Engine, store: Store) -> None:
    (number,) = rows.add()
    seen = look(operator, "discard", [number])
    batch = claim(store)
    in_flight = act(operator, "discard", seen)
    assert in_flight.skipped == {number: f"it is in flight: try again when call {batch.call_id} is settled"}
    assert ledger(rows)[-1].selection["left_alone_why"] == {"it is in flight": 1}
    store.settle([released(batch)], {})
    assert act(operator, "discard", seen).changed == (number,)


def test_what_tells_more_than_a_change_is_told(rows: Rows, operator: Engine, store: Store, engine: Engine) -> None:
    sent, archived, gone = failed(rows, 3)
    seen = look(operator, "retry", [sent, archived, gone])
    do(operator, lambda connection: actions.retry(connection, [sent], ANN))
    answer(store, claim(store), Result(None))
    rows.run("update relay.outbox set finished_at = now() - interval '9 days' where id = :id", id=gone)
    list(retention.prune(engine, timedelta(days=8), ANN, batch=10))
    list(archive.archive(engine.begin, timedelta(0), actor="a", reason="r"))
    skipped = act(operator, "retry", seen).skipped
    assert skipped[sent].startswith("it is done")
    assert skipped[archived].startswith("it is archived")
    assert skipped[gone] == "there is no such message"


def test_freezing_a_row_is_no_change(rows: Rows, operator: Engine, engine: Engine) -> None:
    ids = failed(rows, 3)
    seen = look(operator, "retry", ids)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("vacuum (freeze) relay.outbox"))
        connection.execute(text("vacuum (full, freeze) relay.outbox"))
    frozen = "select cast(cast(relfrozenxid as text) as bigint) from pg_class where oid = 'relay.outbox'::regclass"
    assert rows.one(frozen) > max(seen.versions)
    assert look(operator, "retry", ids).versions == seen.versions
    assert list(act(operator, "retry", seen).changed) == ids


def test_a_change_that_was_undone_is_none(rows: Rows, operator: Engine) -> None:
    ids = failed(rows, 2)
    seen = look(operator, "discard", ids)
    with operator.connect() as connection:
        actions.retry(connection, ids, ANN)
        connection.rollback()
    assert list(act(operator, "discard", seen).changed) == ids
    assert [act.action for act in ledger(rows)] == ["discard"]


def test_versions_go_with_the_ids_in_whatever_order(rows: Rows, operator: Engine) -> None:
    first, second, third = failed(rows) + failed(rows) + failed(rows)
    one, two, three = look(operator, "retry", [first, second, third]).versions
    assert len({one, two, three}) == 3

    def retry(ids: list[int], versions: list[int | None]) -> tuple[list[int], list[int]]:
        asked = "select changed, left_alone from relay.retry(:ids, 'r', 'ann', null, null, :versions)"
        changed, left_alone = do(
            operator, lambda connection: connection.execute(text(asked), {"ids": ids, "versions": versions}).one()
        )
        return changed, left_alone

    assert retry([first, second], [two, one]) == ([], [first, second])
    assert retry([first, first], [one, two]) == ([], [first])
    assert retry([first], [None]) == ([], [first])
    assert retry([third, first, third], [three, one, three]) == ([first, third], [])


def test_as_many_versions_as_ids(rows: Rows, operator: Engine) -> None:
    first, second = failed(rows, 2)
    with pytest.raises(RelayError, match="2 ids and 1 versions were given") as refused:
        do(operator, lambda connection: actions.retry(connection, [first, second], ANN, versions=[1]))
    assert "one preview" in refused.value.hint
    for asked in ("retry('{1,2}', 'r', 'ann', null, null, '{1}')", "discard('{1}', 'r', 'ann', null, '{1,2}')"):
        with operator.connect() as connection, pytest.raises(DBAPIError, match="a version for each id") as told:
            connection.execute(text(f"select relay.{asked}"))
        assert "Take both from why_not" in str(told.value)
    assert (ledger(rows), rows.counts()) == ([], {"failed": 2})


def test_nothing_asked_is_nothing_recorded_and_without_versions_all_is_as_it_was(rows: Rows, operator: Engine) -> None:
    (number,) = rows.add()
    nothing = actions.Changed((), {}, None)
    assert act(operator, "retry", look(operator, "retry", [])) == nothing
    assert act(operator, "discard", look(operator, "discard", [])) == nothing
    left = do(operator, lambda connection: actions.retry(connection, [number], BOB))
    assert left == actions.Changed((), {number: "it is pending already"}, None)
    assert ledger(rows) == []


CALLS = [
    "retry('{1}', 'r')",
    "retry('{1}', 'r', 'ann', null, null)",
    "retry('{1}', 'r', 'ann', null, 5)",
    "retry(ids => '{1}', reason => 'r')",
    "retry(ids => '{1}', reason => 'r', actor => 'ann', selection => null, per_second => null)",
    "retry(ids => '{1}', reason => 'r', actor => 'ann', selection => null, per_second => null, versions => null)",
    "discard('{1}', 'r')",
    "discard('{1}', 'r', 'ann', null)",
    "discard(ids => '{1}', reason => 'r', actor => 'ann', selection => null, versions => null)",
    "pause_scope('account:a', null, 'r')",
    "pause_scope('account:a', null, 'r', 'ann', null)",
    "pause_scope('account:a', null, 'r', 'ann', null, seen => null)",
    "resume_scope('account:a', 'r')",
    "resume_scope('account:a', 'r', 'ann', null)",
    "resume_scope('account:a', 'r', 'ann', null, seen => null)",
]


def test_every_way_of_calling_works_as_it_did(rows: Rows, operator: Engine) -> None:
    failed(rows)
    for call in CALLS:
        with operator.begin() as connection:
            connection.execute(text("select relay.pause_scope('account:a', null, 'r')"))
            assert connection.execute(text(f"select relay.{call} is not null")).scalar_one(), call
            connection.rollback()


def test_who_might_call_the_former_functions_may_call_these_and_on_the_way_back_those(
    rows: Rows, operator: Engine, database_url: str
) -> None:
    """Without ``relay roles`` being run in between."""
    failed(rows)
    before = ("retry('{1}', 'r', 'ann', null, null)", "discard('{1}', 'r', 'ann', null)", *CALLS[10:11], *CALLS[13:14])
    for version in ("0007", "head"):
        if version == "head":
            relay.migrate(database_url)
        else:
            relay.downgrade(database_url, to=version)
        operator.dispose()
        for call in before:
            with operator.connect() as connection:
                connection.execute(text("select relay.pause_scope('account:a', null, 'r')"))
                assert connection.execute(text(f"select relay.{call} is not null")).scalar_one(), (version, call)
                looked = "select age_seconds is not null from relay.why_not('retry', '{1}')"
                assert connection.execute(text(looked)).scalar_one()
    assert look(operator, "retry", [1]).versions
    with operator.connect() as connection, pytest.raises(DBAPIError, match="permission denied"):
        connection.execute(text("select relay.lock_messages('retry', '{1}')"))


def test_what_stands_outside_says_it_in_the_words_of_the_database() -> None:
    """Django's part imports nothing but the doors, so it has the sentence a second time."""
    body = (Path(__file__).parents[1] / "golden" / "functions" / "lock_messages.sql").read_text()
    django = (Path(relay.__file__).parent / "integrations" / "django" / "acting.py").read_text()
    assert f"'{CHANGED_SINCE}'" in body
    assert f'CHANGED = "{CHANGED_SINCE}"' in django


def test_looking_reads_no_large_content(engine: Engine, rows: Rows) -> None:
    """100 contents of 110,000 characters are 1,400 pages of their own."""
    digits = "select string_agg(md5(concat(id, n)), '') from generate_series(1, 3440) as n"
    with engine.begin() as connection:
        connection.execute(
            text(
                "insert into relay.outbox (topic, content)"
                f" select 't', json_build_object('x', ({digits})) from generate_series(1, 100) as id"
            )
        )
        ids = list(connection.execute(text("select id from relay.outbox")).scalars())
        connection.execute(text(FAILED), {"ids": ids})
    with engine.connect() as connection:
        asked = text("explain (analyze, buffers, format json) select * from relay.why_not('retry', :ids)")
        plan = connection.execute(asked, {"ids": ids}).scalar_one()[0]["Plan"]
        assert actions.preview(connection, "retry", ids).changing == tuple(ids)
    assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < 1_000
