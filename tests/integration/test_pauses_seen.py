"""A pause is ended, or replaced, that was looked at: another one that stands there meanwhile is left alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Connection, Engine, create_engine

from relay import statements
from relay.errors import RelayError
from relay.message import CHANGED_SINCE
from relay.operators import actions
from relay.operators.actions import SAW_NONE, Seen
from relay.operators.ledger import Order
from relay.sql import run
from tests.fixtures.roles import Roles
from tests.fixtures.rows import Rows

ANN, BOB = Order("ann", "maintenance", {}), Order("bob", "it is over", {})
A, B = "account:a", "app:12345678"


@pytest.fixture
def rows(engine: Engine, independent: None) -> Rows:
    return Rows(engine)


@pytest.fixture
def operator(roles: Roles) -> Iterator[Engine]:
    """A login that may call the functions and has no right on a table."""
    engine = create_engine(roles.url("operator"))
    yield engine
    engine.dispose()


@pytest.fixture
def pause(operator: Engine) -> Callable[..., int | None]:
    def pause(order: Order = ANN, seen: Seen | None = None, lasting: timedelta | None = None) -> int | None:
        with operator.begin() as connection:
            return actions.pause(connection, A, order, seen=seen, lasting=lasting)[1]

    return pause


def since(operator: Engine, scope: str = A) -> datetime:
    with operator.connect() as connection:
        found = actions.pause_in_force(connection, scope)
    assert found is not None
    return found.since


def who(rows: Rows) -> list[str]:
    return list(rows.one("select array(select by from relay.pause order by scope)"))


def acts(rows: Rows) -> list[tuple[str, str]]:
    return [(act.action, act.actor) for act in rows.read("select action, actor from relay.action order by id")]


def forestalled(rows: Rows) -> dict[str, object]:
    """What the newest row of the ledger says of itself, where that is of an attempt that came to nothing."""
    row = rows.read("select selection, message_ids, count from relay.action order by id desc limit 1")[0]
    assert (row.message_ids, row.count) == (None, 0)
    return dict(row.selection)


def test_who_looks_at_nothing_and_finds_nothing_leaves_no_row(rows: Rows, operator: Engine) -> None:
    with operator.begin() as connection:
        assert actions.resume(connection, A, ANN) is None
    assert acts(rows) == []


def test_another_pause_than_the_one_seen_is_not_ended(
    rows: Rows, operator: Engine, pause: Callable[..., int | None]
) -> None:
    pause()
    seen = since(operator)
    with operator.begin() as connection:
        assert actions.resume(connection, A, ANN)
    pause()
    with operator.begin() as connection:
        assert actions.resume(connection, A, BOB, seen=seen) is None
    assert who(rows) == ["ann"]
    assert acts(rows) == [("pause", "ann"), ("resume", "ann"), ("pause", "ann"), ("resume", "bob")]
    assert forestalled(rows) == {"scope": A, "left_alone_why": {CHANGED_SINCE: 1}, "stated": {}}
    with operator.begin() as connection:
        assert actions.resume(connection, A, BOB, seen=since(operator))
    assert who(rows) == []


def test_of_many_those_that_were_seen_are_ended(rows: Rows, operator: Engine, pause: Callable[..., int | None]) -> None:
    pause()
    with operator.begin() as connection:
        actions.pause(connection, B, ANN)
    with operator.connect() as connection:
        seen = {scope: one.since for scope, one in actions.pauses_in_force(connection).items()}
    pause(lasting=timedelta(hours=1))
    with operator.begin() as connection:
        assert list(actions.resume_all(connection, [A, B, A], BOB, seen=seen)) == [B]
        with pytest.raises(RelayError, match="which pause was seen"):
            actions.resume_all(connection, [A, B], BOB, seen={A: seen[A]})
        assert list(actions.resume_all(connection, [B, A, A], BOB)) == [A]


def test_who_saw_no_pause_replaces_none_that_somebody_made_meanwhile(
    rows: Rows, pause: Callable[..., int | None]
) -> None:
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda order: pause(order, SAW_NONE), [ANN, BOB]))
    assert sorted(action is None for action in both) == [False, True]
    (winner,) = who(rows)
    assert acts(rows) == [("pause", winner), ("pause", "bob" if winner == "ann" else "ann")]
    assert forestalled(rows) == {"scope": A, "left_alone_why": {CHANGED_SINCE: 1}, "stated": {}}


def test_the_pause_that_was_seen_is_replaced_and_no_other(
    rows: Rows, operator: Engine, pause: Callable[..., int | None]
) -> None:
    pause(ANN)
    seen = since(operator)
    assert pause(BOB, seen)
    assert pause(ANN, seen) is None
    assert who(rows) == ["bob"]
    assert pause(ANN) is not None, "without a word of what was seen any pause is replaced"
    assert who(rows) == ["ann"]


def test_a_pause_that_somebody_ended_is_not_brought_back(
    rows: Rows, operator: Engine, pause: Callable[..., int | None]
) -> None:
    pause()
    seen = since(operator)
    with operator.begin() as connection:
        actions.resume(connection, A, ANN)
    assert pause(BOB, seen) is None
    assert who(rows) == []
    assert pause(BOB, SAW_NONE)


def test_a_pause_that_is_over_is_none_and_is_still_the_one_that_was_seen(
    rows: Rows, operator: Engine, pause: Callable[..., int | None]
) -> None:
    for again in (lambda _: SAW_NONE, lambda seen: seen):
        rows.run("delete from relay.pause")
        pause(ANN, lasting=timedelta(hours=1))
        seen = since(operator)
        rows.run("update relay.pause set until = now() - interval '1 second'")
        assert pause(BOB, again(seen))
        assert who(rows) == ["bob"]


def test_a_workers_pause_that_goes_on_is_the_one_that_was_seen_and_for_another_code_is_not(
    rows: Rows, operator: Engine, roles: Roles, engine: Engine
) -> None:
    worker = create_engine(roles.url("worker"))

    def ordered(by: Engine, error_code: str, seconds: float | None) -> datetime:
        told = {"scope": A, "seconds": seconds, "reason": "r", "error_code": error_code, "credential": None, "by": "w"}
        with by.begin() as connection:
            run(connection, statements.PAUSE, **told)
        return since(operator)

    for by in (worker, engine):
        rows.run("delete from relay.pause")
        seen = ordered(by, "7", 60)
        assert ordered(by, "7", 90) == seen
        assert ordered(by, "27", None) > seen
        with operator.begin() as connection:
            assert actions.resume(connection, A, BOB, seen=seen) is None
        assert who(rows) == ["w"]
    worker.dispose()


def test_what_was_seen_is_known_to_the_microsecond(
    rows: Rows, operator: Engine, pause: Callable[..., int | None]
) -> None:
    pause()
    seen = since(operator).astimezone(UTC)

    def resume(connection: Connection, off: int) -> int | None:
        return actions.resume(connection, A, BOB, seen=seen + timedelta(microseconds=off))

    with operator.begin() as connection:
        assert [resume(connection, off) is not None for off in (-1, 1, 0)] == [False, False, True]
