"""Plans that are kept: made once on a direct connection, good whatever becomes of the tables, and given up in time."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence
from random import Random
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.exc import DBAPIError

from relay.errors import UnreachableError
from relay.message import ACCEPTED, Answered, Batch
from relay.outcomes import Policy, decide
from relay.store import ClaimLimits, Store
from relay.store.claim.floors import Floors
from relay.store.preparing import choose, give_up_if_outdated
from tests.fixtures.rows import Rows

EIGHT = ClaimLimits(slots=8)
READ_THROUGH = "select sum(seq_tup_read) from pg_stat_user_tables where schemaname = 'relay' and relname <> 'pause'"
PREPARED = "select statement from pg_prepared_statements where statement ~ 'relay.' and statement !~ 'pg_prepared'"
FORGOTTEN = "do $$ begin execute 'deallocate all'; end $$"  # not so that the driver notices


@pytest.fixture
def alone(database_url: str) -> Iterator[Engine]:
    """An engine with one connection, so that a test sees the session of the store."""
    made = create_engine(database_url, pool_size=1, max_overflow=0)
    yield made
    made.dispose()


@pytest.fixture
def store(alone: Engine) -> Store:
    return Store(alone, worker="w", lease_seconds=60, floors=Floors(ordinary_seconds=600))


def prepared(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        return list(connection.scalars(text(PREPARED)))


def setting(engine: Engine, name: str) -> str:
    with engine.connect() as connection:
        return str(connection.scalar(text(f"show {name}")))


def test_each_statement_is_planned_once(store: Store, alone: Engine) -> None:
    for _ in range(3):
        store.claim(EIGHT)
        store.pauses()
    assert len(prepared(alone)) == 2
    assert setting(alone, "plan_cache_mode") == "force_generic_plan"
    assert setting(alone, "jit") == "off"


def test_plans_made_while_the_tables_were_empty_are_good_when_they_are_full(
    store: Store, alone: Engine, engine: Engine
) -> None:
    rows = Rows(engine)
    rows.add(2)
    settle(store, store.claim(EIGHT).batches)
    store.recover(Policy(), Random(1))
    assert store.still_moving() is False
    rows.run(
        """insert into relay.outbox (topic, content, status, finished_at, call_id, result_index)
        select 't', '{}', 'done', now(), 1, 0 from generate_series(1, 50000)"""
    )
    rows.add(400, key_each="k")
    rows.add(400)
    before = read_through(alone)
    settle(store, store.claim(EIGHT).batches)
    settle(store, store.claim(EIGHT).batches)
    store.recover(Policy(), Random(1))
    assert (store.still_moving(), store.pending()) == (False, 0)
    assert read_through(alone) == before


def settle(store: Store, batches: Sequence[Batch]) -> None:
    answers = [(batch, Answered((ACCEPTED,) * len(batch))) for batch in batches]
    store.settle([decide(batch, answer, Policy(), Random(1)) for batch, answer in answers], {})


def read_through(alone: Engine) -> int:
    """Rows that sequential scans of this session have read so far."""
    with alone.connect() as connection:
        connection.execute(text("select pg_stat_force_next_flush()"))
        connection.commit()
        return int(connection.scalar(text(READ_THROUGH)))


def test_what_a_pooler_has_mixed_up_is_planned_anew_from_then_on(store: Store, alone: Engine) -> None:
    store.pauses()
    with alone.connect() as connection:
        connection.execute(text(FORGOTTEN))
        connection.commit()
    with pytest.raises(UnreachableError):
        store.pauses()
    for _ in range(2):
        assert store.pauses() == ()
    assert prepared(alone) == []
    assert setting(alone, "plan_cache_mode") == "auto"


def test_a_migration_meanwhile_costs_one_try(store: Store, alone: Engine, engine: Engine) -> None:
    store.pauses()
    Rows(engine).run(
        "drop view relay.audit_pause, relay.read_pause; drop trigger pause_words_are_short on relay.pause; "
        "alter table relay.pause alter column reason type varchar"
    )
    with pytest.raises(UnreachableError):
        store.pauses()
    assert store.pauses() == ()
    assert len(prepared(alone)) == 1


def test_behind_a_pooler_nothing_is_kept() -> None:
    pooled = SimpleNamespace(prepare_threshold=5)
    choose(pooled, SimpleNamespace(info={"server behind the pooler": 180000}))
    assert pooled.prepare_threshold is None


def test_a_connection_that_is_lost_as_soon_as_it_is_made_is_worth_another_try(alone: Engine, store: Store) -> None:
    """As when the server goes down just then. What is left of it must not be used: the driver refuses otherwise."""
    lost: list[int] = []

    def cut(raw: psycopg.Connection[Any], _record: object) -> None:
        if not lost:
            lost.append(raw.info.backend_pid)
            with socket.socket(fileno=os.dup(raw.fileno())) as borrowed:
                borrowed.shutdown(socket.SHUT_RDWR)

    event.listen(alone, "connect", cut, insert=True)
    with pytest.raises(UnreachableError):
        store.pauses()
    assert store.pauses() == ()
    assert lost


def test_other_errors_are_none_of_its_business(alone: Engine) -> None:
    with pytest.raises(DBAPIError) as caught, alone.connect() as connection:
        connection.execute(text("select nothing"))
    assert not give_up_if_outdated(alone, caught.value)
